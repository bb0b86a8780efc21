//! CONTRIBUTING.md names tests and paths that exist, and says of each thing to add which test
//! reminds of it.

use std::collections::BTreeSet;

use super::{read, root, rust_under, sources};

/// The names of all tests, of the crate and beside it.
pub(super) fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, text) in sources().into_iter().chain(rust_under("tests")) {
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        for (at, line) in lines.iter().enumerate() {
            if !line.starts_with("#[test]") && !line.starts_with("#[tokio::test") {
                continue;
            }
            let signature = lines[at..].iter().find_map(|line| line.split_once("fn "));
            let name = signature.and_then(|(_, rest)| rest.split('(').next());
            found.insert(name.unwrap().to_owned());
        }
    }
    found
}

/// Whether a word in backticks is a path of this tree, by its looks.
pub(super) fn is_path(word: &str) -> bool {
    let folders = ["src/", "tests/", "docs/", "config/", "deploy/", ".ci/"];
    folders.iter().any(|folder| word.starts_with(folder)) || word.ends_with(".rs")
}

/// Whether it is the name of a test, by its looks.
pub(super) fn is_test(word: &str) -> bool {
    word.contains('_') && word.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

#[test]
fn the_guide_names_tests_and_paths_that_exist() {
    let existing = tests();
    let guide = read("CONTRIBUTING.md");
    let sections: Vec<&str> = guide.split("\n## ").skip(1).collect();
    for section in &sections {
        let words = || section.split('`').skip(1).step_by(2).filter(|word| !word.contains(' '));
        for path in words().filter(|word| is_path(word)) {
            assert!(root().join(path).exists(), "CONTRIBUTING.md names {path}");
        }
        for test in words().filter(|word| is_test(word)) {
            assert!(existing.contains(test), "CONTRIBUTING.md names a test {test}");
        }
        let title = section.lines().next().unwrap();
        assert!(words().any(is_test), "CONTRIBUTING.md names no test for {title:?}");
    }
    let titles = [
        "Add a state",
        "Add a script",
        "Add a command",
        "Give an answer of the API a meaning",
        "Add a role of the worker",
        "Add a setting",
        "Add a metric",
    ];
    for title in titles {
        assert!(sections.iter().any(|it| it.starts_with(&format!("{title}\n"))), "{title:?}");
    }
}
