//! Who may use whom: modules from above to below, folders inside a module likewise, and some names
//! stand in one place only.
//!
//! Each list here must be needed as it stands: an entry that fits nothing fails, too.

use std::collections::BTreeSet;

use super::imports::{Graph, Import};
use super::{code, sources};

/// Which modules of the crate a module may use; those that are not listed may use all.
const LAYERS: &[(&str, &[&str])] = &[
    ("job", &[]),
    ("sandbox", &[]),
    ("queue", &["job"]),
    ("config", &["job"]),
    ("setup", &["config", "queue"]),
    ("telemetry", &["job", "config"]),
    ("whilter", &["job", "config", "telemetry"]),
    ("worker", &["job", "config", "telemetry", "queue", "whilter"]),
    ("http", &["job", "config", "telemetry", "queue", "worker"]),
];

/// The roles' own tests start a server, and set the queue up as a process does.
const TESTS_OF_ROLES: [(&str, &str); 2] =
    [("src/worker/tests.rs", "cli"), ("src/worker/tests.rs", "setup")];

/// Which files and folders beside it a folder inside a module may use.
const INNER_LAYERS: &[(&str, &[&str])] = &[
    ("src/worker/api_health/", &[]),
    (
        "src/worker/stages/",
        &[
            "src/worker/alarm.rs",
            "src/worker/api_health/",
            "src/worker/policies.rs",
            "src/worker/redis_retry.rs",
            "src/worker/rights.rs",
            "src/worker/settler.rs",
            "src/worker/supervisor.rs",
            "src/worker/watchdog.rs",
        ],
    ),
];

/// Names that only one place may use: crates, so that they can be replaced there, and words that
/// stand there once.
const ONE_PLACE: &[(&str, &[&str])] = &[
    ("apalis::", &["src/worker/stages/"]),
    ("apalis_core::", &["src/worker/stages/"]),
    ("use backoff::", &["src/job/backoff.rs"]),
    ("metrics_exporter_prometheus::", &["src/telemetry/metrics.rs"]),
    ("use metrics::", &["src/telemetry/metric.rs"]),
    ("\"reelq_", &["src/telemetry/table.rs"]),
];

/// The module of the crate in which a file is.
fn module(path: &str) -> &str {
    path.trim_start_matches("src/").split(['/', '.']).next().unwrap()
}

/// What a file names after `crate::`, in its tests too.
fn modules_named(path: &str, text: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for line in code(text) {
        for used in line.split("crate::").skip(1) {
            let used = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            assert!(!used.is_empty(), "{path}: one `use` for each module, please: {line}");
            named.insert(used.to_owned());
        }
    }
    named
}

#[test]
fn a_module_uses_only_what_lies_below_it() {
    let mut used = BTreeSet::new();
    for (path, text) in sources() {
        let module = module(&path);
        let Some((_, below)) = LAYERS.iter().find(|(name, _)| *name == module) else { continue };
        for other in modules_named(&path, &text) {
            let may = other == module
                || below.contains(&other.as_str())
                || TESTS_OF_ROLES.contains(&(&path, &other));
            assert!(may, "{path} may not use {other}");
            used.insert((module.to_owned(), other));
        }
    }
    for (module, below) in LAYERS {
        let is_there = sources().iter().any(|(path, _)| self::module(path) == *module);
        assert!(is_there, "LAYERS: there is no {module}");
        for other in *below {
            let needed = used.contains(&((*module).to_owned(), (*other).to_owned()));
            assert!(needed, "LAYERS: {module} does not use {other}");
        }
    }
}

#[test]
fn a_folder_inside_a_module_uses_only_what_lies_below_it() {
    let graph = Graph::read();
    for (folder, below) in INNER_LAYERS {
        let inside: Vec<_> =
            graph.imports.iter().filter(|it| it.from.starts_with(folder)).collect();
        assert!(!inside.is_empty(), "INNER_LAYERS: nothing in {folder} uses anything");
        let beside = |it: &&&Import| module(&it.to) == module(folder) && !it.to.starts_with(folder);
        for import in inside.iter().filter(beside) {
            let may = below.iter().any(|place| import.to.starts_with(place));
            assert!(may, "{folder} lies below: {import}");
        }
        for place in *below {
            let needed = inside.iter().any(|import| import.to.starts_with(place));
            assert!(needed, "INNER_LAYERS: nothing in {folder} uses {place}");
        }
    }
}

#[test]
fn names_that_stand_in_one_place_stand_nowhere_else() {
    for (name, places) in ONE_PLACE {
        let mut unneeded: BTreeSet<_> = places.iter().collect();
        for (path, text) in sources() {
            if code(&text).any(|line| line.contains(name)) {
                let place = places.iter().find(|place| path.starts_with(**place));
                let place = place.unwrap_or_else(|| panic!("{path} says {name}: see ONE_PLACE"));
                unneeded.remove(place);
            }
        }
        assert!(unneeded.is_empty(), "ONE_PLACE: {name} is not in {unneeded:?}");
    }
}
