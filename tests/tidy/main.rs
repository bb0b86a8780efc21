//! What is written twice agrees: the documents with the code, the code with its own layers. Needs
//! nothing installed.
//!
//! - `contributing`: what CONTRIBUTING.md names exists.
//! - `deploy`: what docs/deploy.md names exists, and packages tell the licences.
//! - `layers`: who may use whom.
//! - `rings`: no files use each other; `imports` and `source` read who uses whom.
//!
//! A table of docs/contract.md is known by its section and the first word of its heading; a row
//! that is marked *Reserved* must not be in the code yet.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

mod contributing;
mod deploy;
mod imports;
mod layers;
mod rings;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use reelq::job::ErrorCode;
use reelq::job::lifecycle::State;
use reelq::queue::KEYS;
use reelq::telemetry::METRICS;

const DOCUMENTS: [&str; 6] = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/contract.md",
    "docs/deploy.md",
    "docs/performance.md",
];

const LONGEST: usize = 400;

#[test]
fn every_source_file_has_a_header_and_a_bearable_length() {
    for (path, text) in sources().into_iter().chain(rust_under("tests")) {
        let header: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
        bearable(&path, &text, &header);
    }
    let lua = |path: &String| path.ends_with(".lua");
    for path in files_under("src/queue/lua").into_iter().filter(lua) {
        let text = read(&path);
        let begin = text.lines().skip_while(|line| line.starts_with("#!"));
        let header: Vec<&str> = begin.take_while(|line| line.starts_with("-- ")).collect();
        bearable(&path, &text, &header);
    }
}

fn bearable(path: &str, text: &str, header: &[&str]) {
    assert!(!header.is_empty(), "{path} does not begin with what it is for");
    let lines = text.lines().count();
    assert!(lines <= LONGEST, "{path} has {lines} lines: split it");
}

/// An `expect` fails when it is not needed any more; an `allow` would stay.
#[test]
fn exceptions_end_when_they_are_not_needed() {
    for (path, text) in sources().into_iter().chain(rust_under("tests")) {
        let forms = ["#[allow", "#![allow"];
        let found = code(&text).find(|line| forms.iter().any(|it| line.trim().starts_with(it)));
        assert_eq!(found, None, "{path}: expect instead of allow, with a reason");
    }
}

#[test]
fn the_readme_shows_the_examples_as_they_are() {
    let readme = read("README.md");
    for path in files_under("tests/examples") {
        let language = match Path::new(&path).extension().and_then(|it| it.to_str()) {
            Some("py") => "python",
            Some("mjs") => "js",
            _ => panic!("{path}: an example in which language?"),
        };
        let block = format!("\n```{language}\n{}```\n", read(&path));
        assert!(readme.contains(&block), "the README does not show {path} as it is");
        assert!(readme.contains(&format!("({path})")), "the README does not link to {path}");
    }
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    for document in DOCUMENTS {
        let text = read(document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = root().join(document).with_file_name(file);
            assert!(target.exists(), "{document} links to {link}");
            if !heading.is_empty() {
                let text = std::fs::read_to_string(target).unwrap().to_lowercase();
                let is_there = text.contains(&format!("\n## {}\n", heading.replace('-', " ")));
                assert!(is_there, "{document} links to {link}");
            }
        }
    }
}

#[test]
fn the_commands_in_the_documents_exist_with_these_options() {
    let existing = commands();
    let readme = read("README.md");
    for rest in readme.split("`reelq ").skip(1) {
        let command = rest.split(['`', ' ']).next().unwrap();
        assert!(existing.contains(command), "the README names `reelq {command}`");
    }
    let contract = Contract::read();
    let mut documented = BTreeSet::new();
    for row in contract.table(6, "command") {
        let command = names(&row[0])[0].split(' ').next().unwrap();
        let usage = match command {
            "sandbox" => contract.section(9),
            _ => row[0].clone(),
        };
        assert_eq!(options(&usage), options(&help(&[command])), "the options of {command}");
        documented.insert(command.to_owned());
    }
    assert_eq!(documented, existing);
}

#[test]
fn the_contract_names_the_keys() {
    let mut documented = BTreeMap::new();
    for row in Contract::read().table(2, "key").into_iter().filter(|row| !is_reserved(row)) {
        for name in names(&row[0]) {
            let name = name.split('<').next().unwrap();
            documented.insert(name.to_owned(), row[1].clone());
        }
    }
    let existing = KEYS.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned()));
    assert_eq!(documented, existing.collect());
}

#[test]
fn the_contract_names_states_and_error_codes() {
    let contract = Contract::read();
    let states: Vec<_> = State::ALL.iter().map(|state| state.as_str()).collect();
    assert_eq!(first_names(&contract.table(4, "state")), states);
    let codes: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(first_names(&contract.table(5, "error")), codes);
}

#[test]
fn the_contract_names_the_fields_of_a_result() {
    let library = read("src/queue/lua/lib/result.lua");
    let carried = between(&library, "local CARRIED = {", "}");
    let added = between(&library, "local ADDED = {", "}");
    let lists = [carried, added].into_iter();
    let mut written: BTreeSet<_> =
        lists.flat_map(|list| list.split('\'').skip(1).step_by(2)).collect();
    written.extend(["client-request-id", "status", "ended-at"]);
    let section = Contract::read().section(5);
    let documented = between(&section, "Fields, absent", "\n`status` is");
    assert_eq!(names(documented).into_iter().collect::<BTreeSet<_>>(), written);
}

#[test]
fn the_contract_names_the_settings_of_the_sample() {
    let sample = settings(&read("config/reelq.toml"));
    let mut documented = BTreeSet::new();
    for row in Contract::read().table(10, "key") {
        let key = names(&row[0])[0].to_owned();
        let value = sample.get(&key).unwrap_or_else(|| panic!("{key} is not in the sample"));
        if let [default] = names(&row[1])[..] {
            assert_eq!(value, default, "the default of {key}");
        }
        documented.insert(key);
    }
    for key in sample.keys() {
        let secret = key.trim_end_matches("_file");
        assert!(documented.contains(key) || documented.contains(secret), "{key} of the sample");
    }
}

#[test]
fn the_contract_names_the_metrics() {
    let rows = Contract::read().table(11, "metric");
    let documented: Vec<_> = rows
        .iter()
        .filter(|row| !is_reserved(row))
        .map(|row| (names(&row[0])[0], names(&row[1]), row[2].replace('`', "")))
        .collect();
    let existing: Vec<_> = METRICS
        .iter()
        .map(|metric| (metric.name, metric.labels.to_vec(), metric.help.to_owned()))
        .collect();
    assert_eq!(documented, existing);
    // A name in quotes anywhere but in that table would be a metric that it does not know.
    let quoted = sources().into_iter().flat_map(|(_, text)| {
        let names = code(&text).flat_map(|line| line.split("\"reelq_").skip(1));
        names.map(|rest| format!("reelq_{}", rest.split('"').next().unwrap())).collect::<Vec<_>>()
    });
    let quoted: Vec<_> = quoted.collect();
    assert_eq!(quoted, METRICS.iter().map(|metric| metric.name).collect::<Vec<_>>());
}

/// docs/contract.md, cut into its sections.
struct Contract(String);

impl Contract {
    fn read() -> Self {
        Self(read("docs/contract.md"))
    }

    /// The text of a section.
    fn section(&self, number: usize) -> String {
        between(&format!("{}\n## ", self.0), &format!("\n## {number}. "), "\n## ").to_owned()
    }

    /// The rows, each of its cells, of the table whose heading begins with this word.
    fn table(&self, section: usize, heading: &str) -> Vec<Vec<String>> {
        let section = self.section(section);
        let rows = section.lines().skip_while(|line| !line.starts_with(&format!("| {heading}")));
        let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
        let cells = |line: &str| line.split('|').skip(1).map(|it| it.trim().to_owned()).collect();
        let rows: Vec<_> = rows.map(cells).collect();
        assert!(!rows.is_empty(), "no table of {heading}s");
        rows
    }
}

fn is_reserved(row: &[String]) -> bool {
    row.iter().any(|cell| cell.starts_with("*Reserved*"))
}

/// What stands between backticks.
fn names(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn first_names(rows: &[Vec<String>]) -> Vec<&str> {
    rows.iter().map(|row| names(&row[0])[0]).collect()
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let rest = text.split_once(from).unwrap_or_else(|| panic!("no {from:?}")).1;
    rest.split_once(to).unwrap_or_else(|| panic!("no {to:?} after {from:?}")).0
}

/// The settings of a sample, `section.key` with the value as text, commented ones included.
fn settings(sample: &str) -> BTreeMap<String, String> {
    let mut section = String::new();
    let mut settings = BTreeMap::new();
    for line in sample.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            name.clone_into(&mut section);
        }
        let Some((key, value)) = line.trim_start_matches(['#', ' ']).split_once(" = ") else {
            continue;
        };
        if key.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            let value = value.split(" #").next().unwrap().trim().trim_matches('"');
            settings.insert(format!("{section}.{key}"), value.to_owned());
        }
    }
    settings
}

fn help(arguments: &[&str]) -> String {
    let mut reelq = Command::new(env!("CARGO_BIN_EXE_reelq"));
    let output = reelq.args(arguments).arg("--help").output().unwrap();
    assert!(output.status.success(), "reelq {arguments:?} --help");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that `reelq --help` lists.
fn commands() -> BTreeSet<String> {
    let help = help(&[]);
    let list = between(&help, "Commands:\n", "\n\n");
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

/// The long options in a text, without those of every command.
fn options(text: &str) -> BTreeSet<String> {
    let everywhere = ["help", "config", "verbose", "version"];
    let ends = |c: char| !c.is_ascii_lowercase() && c != '-';
    let words = text.split("--").skip(1).filter_map(|rest| rest.split(ends).next());
    let names = words.filter(|it| it.starts_with(|c: char| c.is_ascii_lowercase()));
    names.filter(|it| !everywhere.contains(it)).map(str::to_owned).collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files under a folder, by their paths from the root.
fn files_under(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_under(&path));
        } else {
            found.push(path);
        }
    }
    assert!(!found.is_empty(), "nothing in {folder}");
    found
}

/// Every Rust file under src with its text.
fn sources() -> Vec<(String, String)> {
    rust_under("src")
}

/// Every Rust file under a folder with its text.
fn rust_under(folder: &str) -> Vec<(String, String)> {
    let paths = files_under(folder).into_iter().filter(|path| path.ends_with(".rs"));
    paths.map(|path| (path.clone(), read(&path))).collect()
}

/// The lines of a source file that are no comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}
