//! No files use each other, directly or around a ring. Tests may use what they like.
//!
//! To declare a module or, above it, to re-export from it is no use of it; to use what one re-exports
//! is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::imports::{Graph, Import};

#[test]
fn no_files_use_each_other() {
    let graph = Graph::read();
    assert!(graph.imports.len() > 100, "hardly any imports were found");
    let rings: Vec<String> = rings(&graph)
        .into_iter()
        .map(|ring| ring.iter().map(|import| format!("\n    {import}")).collect())
        .collect();
    assert!(rings.is_empty(), "files use each other in a ring:{}", rings.join("\n"));
}

/// For each file that is in one, the shortest ring of files that use each other; no ring twice.
fn rings(graph: &Graph) -> BTreeSet<Vec<&Import>> {
    let mut begins = BTreeMap::<&str, Vec<&Import>>::new();
    for import in &graph.imports {
        begins.entry(&import.from).or_default().push(import);
    }
    begins.keys().filter_map(|file| shortest_ring(file, &begins)).collect()
}

/// The way from a file back to itself, begun at its first file by name.
fn shortest_ring<'a>(
    file: &str,
    begins: &BTreeMap<&str, Vec<&'a Import>>,
) -> Option<Vec<&'a Import>> {
    let mut seen = BTreeSet::new();
    let mut ways = VecDeque::from([Vec::<&Import>::new()]);
    while let Some(way) = ways.pop_front() {
        let at = way.last().map_or(file, |import| import.to.as_str());
        if at == file && !way.is_empty() {
            let first = (0..way.len()).min_by_key(|index| &way[*index].from)?;
            return Some([&way[first..], &way[..first]].concat());
        }
        for import in begins.get(at).into_iter().flatten() {
            if seen.insert(&import.to) {
                ways.push_back([&way[..], &[*import]].concat());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rings(files: &[(&str, &str)]) -> Vec<String> {
        let own = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        let graph = Graph::of(files.iter().map(own).collect());
        let words = |ring: Vec<&Import>| {
            let files = ring.iter().map(|import| import.from.trim_start_matches("src/"));
            files.collect::<Vec<_>>().join(" ")
        };
        super::rings(&graph).into_iter().map(words).collect()
    }

    const MOD: &str = "mod a; mod b; mod c; pub use self::a::A; pub(crate) use b::B;";

    #[test]
    fn every_form_of_an_import_is_followed_to_its_file() {
        let to_b = [
            "use super::b::B;",
            "use super::B;",
            "use crate::m::B as Other;",
            "use crate::m::{\n    c::C,\n    b::{self, B},\n};",
            "fn f() { match 1 { _ => super::b::f() } }",
            "fn f() { log!(\"{}\", crate::m::B::new()) }",
            "mod inner { use super::super::b::B; }",
            "use super::*;",
        ];
        for import in to_b {
            let files = [
                ("src/lib.rs", "pub mod m;"),
                ("src/m/mod.rs", MOD),
                ("src/m/a.rs", &format!("{import} pub struct A;")),
                ("src/m/b.rs", "use super::a::A; pub struct B; pub fn f() {}"),
                ("src/m/c.rs", "pub struct C;"),
            ];
            assert_eq!(rings(&files), ["m/a.rs m/b.rs"], "{import}");
        }
    }

    #[test]
    fn what_is_no_import_makes_no_ring() {
        let no_use = [
            "// use super::b::B;",
            "const TEXT: &str = \"super::b::B\";",
            "#[cfg(test)] mod tests { use super::super::b::B; }",
            "#[cfg(test)] use super::b::B;",
            "use std::collections::b::B;",
        ];
        for text in no_use {
            let files = [
                ("src/m/mod.rs", MOD),
                ("src/m/a.rs", &format!("{text} pub struct A;")),
                ("src/m/b.rs", "use super::A; pub struct B;"),
                ("src/m/c.rs", "pub struct C;"),
            ];
            assert_eq!(rings(&files), Vec::<String>::new(), "{text}");
        }
        let files = [
            ("src/m/mod.rs", "mod a; #[cfg(test)] mod tests; pub use a::A;"),
            ("src/m/a.rs", "pub struct A;"),
            ("src/m/tests/mod.rs", "mod more; use super::a::A; pub struct T;"),
            ("src/m/tests/more.rs", "use super::T;"),
        ];
        assert_eq!(rings(&files), Vec::<String>::new());
    }

    #[test]
    fn a_module_that_uses_a_child_must_not_be_used_by_it() {
        let child = ("src/m/a.rs", "use super::Own; pub struct A;");
        for (text, is_ring) in [
            ("mod a; pub use a::A; pub struct Own;", false),
            ("mod a; pub use a::A; pub struct Own(A);", true),
            ("mod a; use self::a::A; pub struct Own(A);", true),
            ("mod a; pub struct Own(a::A);", true),
        ] {
            let found = rings(&[("src/m/mod.rs", text), child]);
            assert_eq!(!found.is_empty(), is_ring, "{text}: {found:?}");
        }
    }

    #[test]
    fn a_ring_of_several_files_is_named_once_and_told_from_a_fork() {
        let files = [
            ("src/m/mod.rs", "mod a; mod b; mod c;"),
            ("src/m/b.rs", "use super::c::C; pub struct B;"),
            ("src/m/c.rs", "use super::a::A; pub struct C;"),
            ("src/m/a.rs", "use super::b::B; pub struct A;"),
        ];
        assert_eq!(rings(&files), ["m/a.rs m/b.rs m/c.rs"]);
        let fork = [
            ("src/m/mod.rs", "mod a; mod b; mod c;"),
            ("src/m/a.rs", "use super::b::B; use super::c::C; pub struct A;"),
            ("src/m/b.rs", "use super::c::C; pub struct B;"),
            ("src/m/c.rs", "pub struct C;"),
        ];
        assert_eq!(rings(&fork), Vec::<String>::new());
    }
}
