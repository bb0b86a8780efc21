//! Which file uses which: every path that one names is followed to where its item stands, through
//! what a module re-exports.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::source::{Module, ModulePath, Path, Place, joined};
use super::sources;

/// A file uses something that stands in another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Import {
    /// The file that uses.
    pub(crate) from: String,
    /// The file that is used.
    pub(crate) to: String,
    /// By which words.
    by: String,
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} uses {} ({})", self.from, self.to, self.by)
    }
}

/// All files with what they use.
pub(crate) struct Graph {
    /// One for each pair of files.
    pub(crate) imports: Vec<Import>,
}

impl Graph {
    /// Reads the crate.
    pub(crate) fn read() -> Self {
        Self::of(sources())
    }

    /// Reads files, each by its path and its text.
    pub(crate) fn of(files: Vec<(String, String)>) -> Self {
        let crate_files = files.into_iter().filter(|(path, _)| path != "src/main.rs");
        let mut modules: BTreeMap<ModulePath, Module> = crate_files
            .map(|(path, text)| (module_path(&path), Module::read(path, &text)))
            .collect();
        let tests: Vec<ModulePath> = modules
            .iter()
            .flat_map(|(at, module)| module.tests.iter().map(|name| joined(at, name)))
            .collect();
        modules.retain(|at, _| !tests.iter().any(|test| at.starts_with(test)));
        let modules = Modules(modules);
        let mut found = BTreeMap::new();
        for (at, module) in &modules.0 {
            for (path, is_import) in modules.paths_used(at, module) {
                let Some(base) = modules.base(at, &path) else { continue };
                for to in modules.resolve(&base.0, base.1, 0) {
                    if is_import && to != module.file {
                        let pair = (module.file.clone(), to);
                        found.entry(pair).or_insert_with(|| path.segments.join("::"));
                    }
                }
            }
        }
        let imports = found.into_iter().map(|((from, to), by)| Import { from, to, by }).collect();
        Self { imports }
    }
}

/// The modules that are files, by their paths.
struct Modules(BTreeMap<ModulePath, Module>);

fn module_path(file: &str) -> ModulePath {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut segments: ModulePath = path.split('/').map(str::to_owned).collect();
    segments.pop_if(|last| last == "mod" || last == "lib");
    segments
}

impl Modules {
    /// Each path, and whether naming it is a use of the file where it leads.
    fn paths_used(&self, at: &[String], module: &Module) -> Vec<(Path, bool)> {
        let below = |path: &Path| {
            let lead = self.base(at, path).map(|(base, rest)| [&base[..], rest].concat());
            lead.is_some_and(|it| it.starts_with(at) && it.len() > at.len() + 1)
        };
        let is_use = |path: &Path| match path.place {
            Place::Use | Place::Code => true,
            // What a module hands out of its children it may use itself as well.
            Place::ReExport => !below(path) || module.says.contains(&path.name),
        };
        module.paths.iter().map(|path| (path.clone(), is_use(path))).collect()
    }

    /// The module where a path begins and what follows; `None`: in another crate or a local name.
    fn base<'a>(&self, at: &[String], path: &'a Path) -> Option<(ModulePath, &'a [String])> {
        let mut base = [at, &path.inside[..]].concat();
        let mut rest = &path.segments[..];
        match rest.first()?.as_str() {
            "crate" => {
                base.clear();
                rest = &rest[1..];
            }
            "super" | "self" => {
                while let Some(word) = rest.first().filter(|it| *it == "super" || *it == "self") {
                    if word == "super" {
                        base.pop();
                    }
                    rest = &rest[1..];
                }
            }
            first => {
                // A child module may be named as it is, an item only by what precedes it.
                self.0.get(&joined(&base, first))?;
            }
        }
        Some((base, rest))
    }

    /// The files where that stands which is so called in a module; of a glob, all that it may mean.
    fn resolve(&self, base: &[String], rest: &[String], depth: usize) -> BTreeSet<String> {
        const DEEPEST: usize = 16;
        assert!(depth < DEEPEST, "{base:?} {rest:?}: re-exported in a circle");
        let Some((name, after)) = rest.split_first() else {
            return self.file_around(base).into_iter().collect();
        };
        if self.0.contains_key(&joined(base, name)) {
            return self.resolve(&joined(base, name), after, depth + 1);
        }
        let Some(module) = self.0.get(base) else {
            return self.file_around(base).into_iter().collect();
        };
        let follow = |path: &Path| {
            let (base, rest) = self.base(base, path)?;
            let rest = rest.strip_suffix(&["*".to_owned()]).unwrap_or(rest);
            Some((base, rest.to_vec()))
        };
        if name == "*" {
            let brought = module.names.values().chain(&module.globs).filter_map(follow);
            let mut files: BTreeSet<_> =
                brought.flat_map(|(base, rest)| self.resolve(&base, &rest, depth + 1)).collect();
            files.insert(module.file.clone());
            return files;
        }
        if module.defines.contains(name) {
            return [module.file.clone()].into();
        }
        if let Some((base, rest)) = module.names.get(name).and_then(follow) {
            return self.resolve(&base, &[&rest[..], after].concat(), depth + 1);
        }
        let in_glob = module.globs.iter().filter_map(follow).find_map(|(base, rest)| {
            let at = [&base[..], &rest].concat();
            let there = self.0.get(&at)?;
            let is_there = there.defines.contains(name) || there.names.contains_key(name);
            is_there.then(|| self.resolve(&at, std::slice::from_ref(name), depth + 1))
        });
        in_glob.unwrap_or_else(|| [module.file.clone()].into())
    }

    /// The file that holds a module, which may be one inside it.
    fn file_around(&self, path: &[String]) -> Option<String> {
        (0..=path.len()).rev().find_map(|len| Some(self.0.get(&path[..len])?.file.clone()))
    }
}
