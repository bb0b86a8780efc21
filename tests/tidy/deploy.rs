//! What is written about deploying reelq, and what a package is made by, agrees with the rest.

use std::collections::BTreeSet;

use super::contributing::{is_path, is_test, tests};
use super::{read, root, settings};

#[test]
fn the_document_names_tests_paths_and_settings_that_exist() {
    let (existing, document) = (tests(), read("docs/deploy.md"));
    let sample = settings(&read("config/reelq.toml"));
    let section = |name: &str| name.split_once('.').map(|(section, _)| section.to_owned());
    let sections: BTreeSet<_> = sample.keys().filter_map(|name| section(name)).collect();
    let mut named = 0;
    for word in document.split('`').skip(1).step_by(2).filter(|word| !word.contains(' ')) {
        assert!(!is_path(word) || root().join(word).exists(), "{word} is no path");
        // A file of a secret is called in two words at most.
        let is_test = is_test(word) && word.split('_').count() > 2;
        assert!(!is_test || existing.contains(word), "{word} is no test");
        let is_setting = section(word).is_some_and(|it| sections.contains(&it));
        let is_file = [".conf", ".yaml"].iter().any(|it| word.ends_with(it));
        if is_setting && !is_file {
            named += 1;
            assert!(sample.contains_key(word), "{word} is no setting");
        }
    }
    assert!(named > 5, "the document names settings");
}

/// `make check` refuses what `make dist` cannot tell the licence of, and the other way round.
#[test]
fn the_licences_that_are_allowed_are_those_that_are_told() {
    let list = |file: &str, path: &[&str]| -> BTreeSet<String> {
        let table: toml::Table = read(file).parse().unwrap();
        let whole = toml::Value::Table(table);
        let found = path.iter().fold(&whole, |table, key| &table[*key]);
        found.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    let (deny, about) = (".config/deny.toml", ".config/about.toml");
    assert_eq!(list(deny, &["licenses", "allow"]), list(about, &["accepted"]));
    assert_eq!(list(deny, &["graph", "targets"]), list(about, &["targets"]));
}
