//! No two files of the crate use each other, be it directly or around a ring of others: what each
//! needs can then be read without it.
//!
//! A file uses another when it names something that is defined there. A `mod.rs` that merely
//! declares its files and passes their names on (`pub use`) does not use them; whoever takes such a
//! name uses the file that defines it. Test modules do not count.

use std::collections::{BTreeMap, BTreeSet};

use super::{code, sources};

/// The files of the crate by their module paths, such as `["queue", "keys"]`.
struct Tree {
    files: BTreeMap<Vec<String>, File>,
}

struct File {
    path: String,
    /// Its code without comments and tests.
    code: String,
    /// What it passes on: each name, with the path of where that comes from.
    passed_on: Vec<Vec<String>>,
}

#[test]
fn no_files_use_each_other() {
    let tree = Tree::read();
    let uses: BTreeMap<&str, BTreeSet<&str>> = tree
        .files
        .iter()
        .map(|(module, file)| (file.path.as_str(), tree.used_by(module)))
        .collect();
    assert!(uses.values().map(BTreeSet::len).sum::<usize>() > 100, "hardly any uses were found");
    for file in uses.keys() {
        if let Some(ring) = ring_from(file, &uses) {
            panic!("these files use each other: {}", ring.join(" -> "));
        }
    }
}

#[test]
fn a_ring_is_found_and_told_from_a_fork() {
    let uses = |pairs: &[(&'static str, &'static str)]| {
        let mut uses: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (file, used) in pairs {
            uses.entry(file).or_default().insert(used);
        }
        uses
    };
    let fork = uses(&[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]);
    assert_eq!(ring_from("a", &fork), None);
    let ring = uses(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")]);
    assert_eq!(ring_from("b", &ring), Some(vec!["b", "c", "a", "b"]));
    assert_eq!(ring_from("d", &ring), None);
}

#[test]
fn every_form_of_a_use_is_read() {
    let paths = |text: &str| {
        let all = paths_in(text).into_iter().map(|path| path.join("::"));
        all.collect::<Vec<_>>()
    };
    assert_eq!(
        paths("use super::{a::{B, C as D}, e};"),
        ["super::a::B", "super::a::C", "super::e"]
    );
    assert_eq!(paths("use crate::job::Id;"), ["crate::job::Id"]);
    assert_eq!(paths("fn f(it: super::keys::Keys) {}"), ["super::keys::Keys"]);
    assert_eq!(paths("pub(crate) use self::a::B;\nuse std::{\n    fmt,\n};"), ["std::fmt"]);
}

/// A way from this file back to itself.
fn ring_from<'a>(
    file: &'a str,
    uses: &BTreeMap<&'a str, BTreeSet<&'a str>>,
) -> Option<Vec<&'a str>> {
    let mut seen = BTreeSet::new();
    let mut ways = vec![vec![file]];
    while let Some(way) = ways.pop() {
        for used in way.last().and_then(|last| uses.get(last)).into_iter().flatten() {
            let longer: Vec<&str> = way.iter().chain([used]).copied().collect();
            if *used == file {
                return Some(longer);
            }
            if seen.insert(*used) {
                ways.push(longer);
            }
        }
    }
    None
}

impl Tree {
    fn read() -> Self {
        let mut files = BTreeMap::new();
        for (path, text) in sources() {
            let module = path.trim_start_matches("src/").trim_end_matches(".rs");
            let module = module.trim_end_matches("/mod").split('/').map(str::to_owned);
            let module: Vec<String> = module.collect();
            let is_test = module.iter().any(|part| part.ends_with("tests"));
            if is_test || module == ["lib"] || module == ["main"] {
                continue;
            }
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let code = code(text).collect::<Vec<_>>().join("\n");
            let passed_on = passed_on(&code);
            files.insert(module, File { path, code, passed_on });
        }
        Self { files }
    }

    /// The files that a file uses.
    fn used_by(&self, module: &[String]) -> BTreeSet<&str> {
        let paths = paths_in(&self.files[module].code);
        let used = paths.iter().filter_map(|path| self.defining(&absolute(module, path)?));
        used.filter(|used| *used != self.files[module].path).collect()
    }

    /// The file that defines what this path from the crate's root leads to; a path to a folder leads
    /// to what its `mod.rs` defines or passes on.
    fn defining(&self, path: &[String]) -> Option<&str> {
        let depth =
            (1..=path.len()).rev().find(|depth| self.files.contains_key(&path[..*depth]))?;
        let (module, rest) = path.split_at(depth);
        let file = &self.files[module];
        let from = rest.first().and_then(|name| {
            let from = file.passed_on.iter().find(|from| from.last() == Some(name))?;
            let from = absolute(module, from)?;
            // A name of the folder itself, or of one of its files.
            let below = [module, from.as_slice()].concat();
            [from, below].into_iter().find(|it| self.files.contains_key(&it[..it.len() - 1]))
        });
        match from {
            Some(from) => self.defining(&from),
            None => Some(&file.path),
        }
    }
}

/// A path from the crate's root; `None`: it leads out of the crate.
fn absolute(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let up = path.iter().take_while(|part| ["self", "super"].contains(&part.as_str()));
    let supers = up.clone().filter(|part| *part == "super").count();
    let rest = &path[up.count()..];
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" | "super" => Some([&module[..module.len().checked_sub(supers)?], rest].concat()),
        // As `pub use file::Name;` has it.
        _ => Some(path.to_vec()),
    }
}

/// The `use` statements of a text, each with whether it passes its names on, and all other lines.
fn uses_and_rest(code: &str) -> (Vec<(bool, String)>, String) {
    let (mut uses, mut rest) = (Vec::new(), String::new());
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let statement = line.trim_start();
        let begins = ["use ", "pub use ", "pub(crate) use ", "pub(super) use "];
        let Some(begin) = begins.into_iter().find(|it| statement.starts_with(it)) else {
            rest.push_str(line);
            rest.push('\n');
            continue;
        };
        let mut tree = statement.trim_start_matches(begin).to_owned();
        while !tree.contains(';') {
            tree.push_str(lines.next().expect("a use ends with a semicolon").trim());
        }
        uses.push((begin != "use ", tree.trim_end_matches(';').to_owned()));
    }
    (uses, rest)
}

/// The paths that are passed on by `pub use` and its kin.
fn passed_on(code: &str) -> Vec<Vec<String>> {
    let uses = uses_and_rest(code).0.into_iter().filter(|(is_passing, _)| *is_passing);
    uses.flat_map(|(_, tree)| expand(&tree)).collect()
}

/// All paths that a text uses without passing them on.
fn paths_in(code: &str) -> Vec<Vec<String>> {
    let (uses, rest) = uses_and_rest(code);
    let uses = uses.into_iter().filter(|(is_passing, _)| !is_passing);
    let mut paths: Vec<_> = uses.flat_map(|(_, tree)| expand(&tree)).collect();
    let ends = |c: char| !c.is_alphanumeric() && c != '_' && c != ':';
    let named = rest.split(ends).filter(|word| {
        ["crate::", "super::", "self::"].iter().any(|begin| word.starts_with(begin))
    });
    paths.extend(named.map(|word| word.split("::").map(str::to_owned).collect()));
    paths
}

/// The single paths of a `use` tree.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some((begin, list)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return vec![path.split("::").map(|part| part.trim().to_owned()).collect()];
    };
    let list = list.trim_end().strip_suffix('}').unwrap_or(list);
    let (mut items, mut depth) = (vec![String::new()], 0_u32);
    for c in list.chars() {
        match c {
            ',' if depth == 0 => items.push(String::new()),
            _ => {
                depth = depth + u32::from(c == '{') - u32::from(c == '}');
                items.last_mut().expect("there is always one").push(c);
            }
        }
    }
    let items = items.iter().filter(|item| !item.trim().is_empty());
    items.flat_map(|item| expand(&format!("{begin}{}", item.trim()))).collect()
}
