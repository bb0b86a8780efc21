//! The scripts as texts: their headers, their shape, and what they share with the life-cycle table
//! and the error codes. What they do is tested beside a server.

use std::collections::BTreeSet;

use super::*;
use crate::job::ErrorCode;
use crate::job::lifecycle::LIFE;
use crate::queue::held::MOST_GRACES;

/// The most lines of code of one script; the aim is about 60.
const LONGEST: usize = 110;
const CHECKS: &str = "-- checks";
const WRITES: &str = "-- writes";
/// Instead of the two, in a script that moves each job before it looks at the next.
const JOB_BY_JOB: &str = "-- checks and writes, job by job";
/// Commands that read; all others write.
const READING: [&str; 10] =
    ["EXISTS", "GET", "HGET", "HMGET", "PTTL", "TIME", "XPENDING", "XRANGE", "ZRANGE", "ZSCORE"];
/// Shared functions that write.
const WRITING: [&str; 11] = [
    "conclude(",
    "count(",
    "heal(",
    "heal_result(",
    "lease(",
    "leave(",
    "pass(",
    "put_right(",
    "take_out(",
    "to_unconfirmed(",
    "wind_up(",
];

/// The commands in a line.
fn commands(line: &str) -> impl Iterator<Item = &str> {
    let begins = ["redis.call('", "redis.pcall('", "ask('"];
    begins
        .into_iter()
        .flat_map(|begin| line.split(begin).skip(1).filter_map(|rest| rest.split('\'').next()))
}

/// Whether a line of code writes; a wake-up is no write.
fn writes(line: &str) -> bool {
    is_code(line)
        && (WRITING.iter().any(|it| line.contains(it))
            || commands(line).any(|command| !READING.contains(&command)))
}

/// The comment lines at a script's begin.
fn header(script: &Script) -> Vec<&str> {
    let lines = script.file.lines().skip(1);
    lines.map_while(|line| line.strip_prefix("-- ").or_else(|| line.strip_prefix("--"))).collect()
}

/// What follows the header: the names, then the rest from the first marker on.
fn body(script: &Script) -> (Vec<&str>, Vec<&str>) {
    let lines = script.file.lines().skip(1 + header(script).len());
    let (mut names, mut rest) = (Vec::new(), Vec::new());
    for line in lines {
        let at_marker = [CHECKS, WRITES, JOB_BY_JOB].contains(&line);
        if rest.is_empty() && !at_marker { names.push(line) } else { rest.push(line) }
    }
    (names, rest)
}

fn is_code(line: &str) -> bool {
    !line.trim().is_empty() && !line.trim_start().starts_with("--")
}

/// The numbers between `[` and `]` behind a word, such as the 3 of `ARGV[3]`.
fn slots<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    line.split(word).skip(1).filter_map(|rest| rest.split(']').next()?.parse().ok())
}

/// The value of a constant in lines such as `local ITEM, FIRST = 6, 5`.
fn constant(names: &[&str], wanted: &str) -> Option<usize> {
    names.iter().find_map(|line| {
        let (left, right) = line.strip_prefix("local ")?.split_once(" = ")?;
        let at = left.split(", ").position(|name| name == wanted)?;
        right.split(", ").nth(at)?.parse().ok()
    })
}

fn transitions(script: &Script) -> BTreeSet<String> {
    header(script)
        .iter()
        .filter_map(|line| line.strip_prefix("Transition: "))
        .flat_map(|rows| rows.split(", "))
        .filter(|row| *row != "none")
        .map(str::to_owned)
        .collect()
}

/// Every Lua file of the project, by its path under `lua/`.
fn files() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/queue/lua");
    let mut found = Vec::new();
    for under in ["", "lib/"] {
        for entry in std::fs::read_dir(format!("{folder}/{under}")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                found.push((format!("{under}{name}"), std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    found
}

#[test]
fn every_row_of_the_life_cycle_is_named_by_its_script_and_no_other() {
    for script in &*SCRIPTS {
        let rows: BTreeSet<String> =
            LIFE.iter().filter(|row| row.script == script.name).map(ToString::to_string).collect();
        assert_eq!(transitions(script), rows, "{}.lua", script.name);
    }
    for row in LIFE {
        assert!(SCRIPTS.iter().any(|script| script.name == row.script), "{row}");
    }
}

#[test]
fn every_file_is_used() {
    for (path, text) in files() {
        let used = SCRIPTS.iter().any(|script| match path.strip_prefix("lib/") {
            Some(_) => script.source.contains(&text),
            None => format!("{}.lua", script.name) == path,
        });
        assert!(used, "{path}");
    }
}

#[test]
fn a_header_says_what_a_caller_must_know() {
    for script in &*SCRIPTS {
        assert!(script.file.starts_with("#!lua"), "{}: engine line", script.name);
        let header = header(script);
        for part in ["Transition: ", "KEYS[1] P", "ARGV[1] now", "Returns: "] {
            let found = header.iter().any(|line| line.starts_with(part));
            assert!(found, "{}.lua: no {part:?} in its header", script.name);
        }
    }
}

/// Each slot is bound to a name at the top; items are read by the constants FIRST and ITEM.
#[test]
fn slots_are_named_where_they_are_documented() {
    for script in &*SCRIPTS {
        let name = script.name;
        let documented: Vec<&str> =
            header(script).into_iter().filter(|line| line.starts_with("ARGV[")).collect();
        let single: BTreeSet<usize> = documented.iter().flat_map(|it| slots(it, "ARGV[")).collect();
        let items = documented.iter().find_map(|line| {
            let (first, rest) = line.strip_prefix("ARGV[")?.split_once("..] items of ")?;
            let size = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            Some((first.parse::<usize>().unwrap(), size.parse::<usize>().unwrap()))
        });
        let (names, rest) = body(script);
        let named: BTreeSet<usize> = names.iter().flat_map(|it| slots(it, "ARGV[")).collect();
        let unused = single.iter().filter(|slot| !named.contains(*slot));
        let unused: Vec<_> = unused
            .filter(|slot| !(**slot == 1 && header(script).contains(&"ARGV[1] now: not used")))
            .collect();
        assert!(unused.is_empty(), "{name}.lua: {unused:?} of its header have no name");
        assert!(named.is_subset(&single), "{name}.lua: {named:?} are not in its header");
        let read_by = constant(&names, "FIRST").zip(constant(&names, "ITEM"));
        assert_eq!(read_by, items, "{name}.lua: FIRST and ITEM");
        for line in rest.into_iter().filter(|line| is_code(line)) {
            assert_eq!(slots(line, "ARGV[").next(), None, "{name}.lua: {line}");
        }
    }
}

/// A number in brackets tells nobody what it means; `unpack` gives names instead.
#[test]
fn values_have_names() {
    for (path, text) in files() {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| is_code(line)) {
            let place = format!("{path}:{}: {line}", number + 1);
            for index in line.split('[').skip(1).filter_map(|piece| piece.split(']').next()) {
                let is_number = index.parse::<usize>().is_ok();
                let slot = ["ARGV", "KEYS"].map(|name| format!("{name}[{index}]"));
                assert!(!is_number || slot.iter().any(|slot| line.contains(slot)), "{place}");
            }
            assert!(!line.contains("ARGV[at "), "{place}");
        }
    }
}

/// What is refused after a write leaves a job half moved.
#[test]
fn checks_come_before_writes_and_the_old_place_is_left_last() {
    for script in &*SCRIPTS {
        let name = script.name;
        let (names, rest) = body(script);
        let marker = *rest.first().unwrap_or_else(|| panic!("{name}.lua has no {CHECKS:?}"));
        let writes_at = rest.iter().position(|line| *line == WRITES);
        let read_only = match marker {
            JOB_BY_JOB => 0,
            WRITES => panic!("{name}.lua has no {CHECKS:?}"),
            _ => writes_at.unwrap_or(rest.len()),
        };
        let early = names.iter().chain(&rest[..read_only]).find(|line| writes(line));
        assert_eq!(early, None, "{name}.lua writes above {WRITES:?}");
        let left = rest.iter().rposition(|line| line.contains("leave("));
        let late = rest[left.map_or(rest.len(), |at| at + 1)..].iter().find(|line| writes(line));
        assert_eq!(late, None, "{name}.lua writes after it has left the old place");
    }
}

#[test]
fn a_script_can_be_read_at_once() {
    for (path, text) in files() {
        let lines = text.lines().filter(|line| is_code(line)).count();
        assert!(lines <= LONGEST, "{path} has {lines} lines of code");
        for line in text.lines() {
            assert!(line.chars().count() <= 105, "{path}: {line}");
        }
    }
}

/// The longest wait of a repeat is the second's, when a push came before it.
#[test]
fn the_longest_wait_of_a_repeat_is_the_same_everywhere() {
    let lines: Vec<&str> = UNCONFIRMED.lines().collect();
    let most = usize::try_from(MOST_GRACES).unwrap();
    assert_eq!(constant(&lines, "LATER_GRACES").map(|it| it + 1), Some(most));
    let tick: Vec<&str> = SCRIPTS[Name::Tick as usize].file.lines().collect();
    assert_eq!(constant(&tick, "MOST_GRACES"), Some(most));
}

/// An error field begins with a code; those that are written in Lua are the same.
#[test]
fn error_codes_are_those_of_the_contract() {
    let mut codes: BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    // The reason why an entry is kept aside, which is no error of a job.
    codes.insert("conflict");
    let mut seen = 0;
    for (path, text) in files() {
        for line in text.lines().filter(|line| is_code(line)) {
            for text in line.split('\'').skip(1).step_by(2) {
                let text = text.trim_start_matches('^').replace("%-", "-");
                let Some((code, _)) = text.split_once(": ") else { continue };
                if !code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
                    continue;
                }
                seen += 1;
                assert!(codes.contains(code), "{path}: {code:?} in {line}");
            }
        }
    }
    assert!(seen >= 5, "only {seen} error codes were found");
}
