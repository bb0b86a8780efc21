//! The Lua scripts: one per transition, each registered here once and called through [`Call`].
//!
//! A script's file begins with its engine line and a header (purpose, `Transition:`, KEYS, ARGV,
//! Returns). `lua/lib.lua` is put behind the engine line of each. The slot order of a script's
//! arguments is written in the one function that builds its call.

use std::sync::LazyLock;

use redis::{Cmd, ToRedisArgs};

use super::connection::command;
use super::keys::Keys;

/// Which script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Admit,
    ClaimSubmit,
    Accept,
    Requeue,
    Unconfirm,
    ClaimPoll,
    Repoll,
    Finish,
    Reclaim,
    Tick,
    Forget,
    Cancel,
    Retry,
    Resolve,
    Stage,
}

/// A script as the server gets it.
pub(crate) struct Script {
    /// Its file's name without the ending.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests compare it with the table"))]
    pub(crate) name: &'static str,
    /// Its file as it stands in the repository.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests read the headers"))]
    pub(crate) file: &'static str,
    /// What is loaded: engine line, shared functions, body.
    pub(crate) source: String,
    digest: String,
}

const LIBRARY: &str = include_str!("lua/lib.lua");

/// All scripts, in the order of [`Name`].
pub(crate) static SCRIPTS: LazyLock<[Script; 15]> = LazyLock::new(|| {
    [
        script("admit", include_str!("lua/admit.lua")),
        script("claim_submit", include_str!("lua/claim_submit.lua")),
        script("accept", include_str!("lua/accept.lua")),
        script("requeue", include_str!("lua/requeue.lua")),
        script("unconfirm", include_str!("lua/unconfirm.lua")),
        script("claim_poll", include_str!("lua/claim_poll.lua")),
        script("repoll", include_str!("lua/repoll.lua")),
        script("finish", include_str!("lua/finish.lua")),
        script("reclaim", include_str!("lua/reclaim.lua")),
        script("tick", include_str!("lua/tick.lua")),
        script("forget", include_str!("lua/forget.lua")),
        script("cancel", include_str!("lua/cancel.lua")),
        script("retry", include_str!("lua/retry.lua")),
        script("resolve", include_str!("lua/resolve.lua")),
        script("stage", include_str!("lua/stage.lua")),
    ]
});

fn script(name: &'static str, file: &'static str) -> Script {
    let (engine, body) = file.split_once('\n').expect("every script has an engine line");
    let source = format!("{engine}\n{LIBRARY}\n{body}");
    let digest = redis::Script::new(&source).get_hash().to_owned();
    Script { name, file, source, digest }
}

/// One call of a script, with its arguments in slot order.
pub(crate) struct Call {
    command: Cmd,
}

impl Call {
    /// A call on the keys of one queue. `now_ms` is a test's time; `None` asks the server.
    pub(crate) fn new(name: Name, keys: &Keys, now_ms: Option<u64>) -> Self {
        let mut evalsha = command("EVALSHA");
        evalsha.arg(&SCRIPTS[name as usize].digest).arg(1).arg(keys.prefix());
        let call = Self { command: evalsha };
        match now_ms {
            Some(now_ms) => call.arg(now_ms),
            None => call.arg(""),
        }
    }

    /// Adds the next argument.
    pub(crate) fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        self.push(argument);
        self
    }

    /// Adds the next argument in place.
    pub(crate) fn push(&mut self, argument: impl ToRedisArgs) {
        self.command.arg(argument);
    }

    /// The command that runs it.
    pub(super) fn command(&self) -> &Cmd {
        &self.command
    }

    /// The command that runs it, for a pipeline.
    pub(super) fn into_command(self) -> Cmd {
        self.command
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::job::lifecycle::LIFE;

    /// The comment lines at a script's begin.
    fn header(script: &Script) -> Vec<&str> {
        let lines = script.file.lines().skip(1);
        lines
            .map_while(|line| line.strip_prefix("-- ").or_else(|| line.strip_prefix("--")))
            .collect()
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

    #[test]
    fn every_row_of_the_life_cycle_is_named_by_its_script_and_no_other() {
        for script in &*SCRIPTS {
            let rows: BTreeSet<String> = LIFE
                .iter()
                .filter(|row| row.script == script.name)
                .map(ToString::to_string)
                .collect();
            assert_eq!(transitions(script), rows, "{}.lua", script.name);
        }
        for row in LIFE {
            assert!(SCRIPTS.iter().any(|script| script.name == row.script), "{row}");
        }
    }

    #[test]
    fn every_file_is_registered() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/queue/lua");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "lib.lua")
            .collect();
        let registered = SCRIPTS.iter().map(|script| format!("{}.lua", script.name)).collect();
        assert_eq!(files, registered);
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

    /// Slots are bound to names at the top; only a loop over items reads ARGV later, by `at`.
    #[test]
    fn slots_are_named_where_they_are_documented() {
        for script in &*SCRIPTS {
            let documented = header(script)
                .iter()
                .filter_map(|line| {
                    line.strip_prefix("ARGV[")?.split([']', '.']).next()?.parse().ok()
                })
                .max()
                .unwrap_or(0_usize);
            let body = script.file.lines().filter(|line| !line.starts_with("--"));
            let body: Vec<&str> = body.collect();
            let checks = body.iter().position(|line| line.contains("checks")).unwrap_or(body.len());
            let mut used = 0;
            for (number, line) in body.iter().enumerate() {
                for slot in line.split("ARGV[").skip(1) {
                    let Some(slot) = slot.split(']').next().and_then(|it| it.parse::<usize>().ok())
                    else {
                        continue;
                    };
                    used = used.max(slot);
                    assert!(number < checks || slot == 1, "{}.lua: {line:?}", script.name);
                }
            }
            let repeating = body.iter().any(|line| line.contains("ARGV[at"));
            assert_eq!(used + usize::from(repeating), documented, "{}.lua: ARGV", script.name);
        }
    }
}
