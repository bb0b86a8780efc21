//! What one source file names, read from its tokens: comments, texts and what is there for tests only
//! are no part of it.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A module's path from the crate's root.
pub(crate) type ModulePath = Vec<String>;

/// What a file says of itself.
pub(crate) struct Module {
    pub(crate) file: String,
    /// Paths that it names, each as written and from the module inside the file where it stands.
    pub(crate) paths: Vec<Path>,
    /// Names that its own `use`s bring in.
    pub(crate) names: BTreeMap<String, Path>,
    /// Modules of which its `use`s bring in everything.
    pub(crate) globs: Vec<Path>,
    /// What it defines itself.
    pub(crate) defines: BTreeSet<String>,
    /// Names that its code outside of `use`s says.
    pub(crate) says: BTreeSet<String>,
    /// Child modules that are tests only.
    pub(crate) tests: BTreeSet<String>,
}

/// A path in a file.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    /// Modules inside the file, in which it stands.
    pub(crate) inside: Vec<String>,
    /// As written; a `use` of everything ends with `*`.
    pub(crate) segments: Vec<String>,
    /// In a `use` that is no re-export, in a re-export, or elsewhere.
    pub(crate) place: Place,
    /// The name under which a `use` brings it in.
    pub(crate) name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Use,
    ReExport,
    Code,
}

impl Module {
    /// Reads a file.
    pub(crate) fn read(file: String, text: &str) -> Self {
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut module = Self {
            file,
            paths: Vec::new(),
            names: BTreeMap::new(),
            globs: Vec::new(),
            defines: BTreeSet::new(),
            says: BTreeSet::new(),
            tests: BTreeSet::new(),
        };
        module.walk(&tokens.into_iter().collect::<Vec<_>>(), &[], true);
        module
    }

    /// Takes in what stands in one block of tokens, inside those modules of the file.
    fn walk(&mut self, tokens: &[TokenTree], inside: &[String], is_top: bool) {
        let mut at = 0;
        while at < tokens.len() {
            let rest = &tokens[at..];
            at += if let Some(length) = self.test_item(rest, is_top && inside.is_empty()) {
                length
            } else if is_word(&rest[0], "use") {
                let is_re_export = re_exports(&tokens[..at]);
                self.use_item(rest, inside, is_re_export, is_top)
            } else if let [
                TokenTree::Ident(word),
                TokenTree::Ident(name),
                TokenTree::Group(block),
                ..,
            ] = rest
                && word == "mod"
            {
                let inside = joined(inside, &name.to_string());
                self.walk(&block.stream().into_iter().collect::<Vec<_>>(), &inside, true);
                3
            } else if let TokenTree::Group(group) = &rest[0] {
                self.walk(&group.stream().into_iter().collect::<Vec<_>>(), inside, false);
                1
            } else if matches!(rest[0], TokenTree::Ident(_)) {
                self.path(rest, &tokens[..at], inside, is_top)
            } else {
                1
            };
        }
    }

    /// How long an item is that is there for tests only, if one begins here.
    fn test_item(&mut self, tokens: &[TokenTree], is_file_level: bool) -> Option<usize> {
        let [TokenTree::Punct(hash), TokenTree::Group(attribute), ..] = tokens else { return None };
        let words: Vec<String> = words(attribute.stream());
        let is_test = words.first().is_some_and(|it| it == "cfg")
            && words.iter().any(|it| it == "test")
            && !words.iter().any(|it| it == "not");
        if hash.as_char() != '#' || !is_test {
            return None;
        }
        let end = tokens.iter().position(|token| match token {
            TokenTree::Punct(punct) => punct.as_char() == ';',
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            TokenTree::Ident(_) | TokenTree::Literal(_) => false,
        })?;
        let module = tokens[..end].windows(2).find(|pair| is_word(&pair[0], "mod"));
        if let Some([_, name]) = module.filter(|_| is_file_level) {
            self.tests.insert(name.to_string());
        }
        Some(end + 1)
    }

    /// Takes in a `use` and says how long it is.
    fn use_item(
        &mut self,
        tokens: &[TokenTree],
        inside: &[String],
        is_re_export: bool,
        is_top: bool,
    ) -> usize {
        let is_end = |it: &TokenTree| matches!(it, TokenTree::Punct(end) if end.as_char() == ';');
        let end = tokens.iter().position(is_end).unwrap_or(tokens.len());
        let place = if is_re_export { Place::ReExport } else { Place::Use };
        for (segments, name) in leaves(&tokens[1..end], &[]) {
            let path = Path { inside: inside.to_vec(), segments, place, name };
            if is_top && inside.is_empty() {
                if path.name == "*" {
                    self.globs.push(path.clone());
                } else {
                    self.names.insert(path.name.clone(), path.clone());
                }
            }
            self.paths.push(path);
        }
        end + 1
    }

    /// Takes in a word with what is tied to it by `::`, and says how long that is.
    fn path(
        &mut self,
        tokens: &[TokenTree],
        before: &[TokenTree],
        inside: &[String],
        is_top: bool,
    ) -> usize {
        let mut segments = vec![tokens[0].to_string()];
        let mut length = 1;
        while let [first, second, TokenTree::Ident(name), ..] = &tokens[length..]
            && is_colon(first)
            && is_colon(second)
        {
            segments.push(name.to_string());
            length += 3;
        }
        let tied = matches!(before.last(), Some(TokenTree::Punct(it)) if ".:".contains(it.as_char()) && !is_type_colon(before));
        if tied {
            return length;
        }
        const DEFINE: [&str; 8] =
            ["fn", "struct", "enum", "trait", "const", "static", "type", "union"];
        let defines = |it: &TokenTree| DEFINE.iter().any(|word| is_word(it, word));
        let is_defined = before.last().is_some_and(defines);
        if is_defined && is_top && inside.is_empty() {
            self.defines.insert(segments[0].clone());
        } else {
            self.says.insert(segments[0].clone());
        }
        if segments.len() > 1 {
            let name = String::new();
            self.paths.push(Path { inside: inside.to_vec(), segments, place: Place::Code, name });
        }
        length
    }
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if *ident == word)
}

fn is_colon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':')
}

/// Whether the last token is the colon before a type, and not the second one of a path.
fn is_type_colon(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [.., other, last] if is_colon(last) && !is_colon(other))
}

/// Whether `pub` or `pub(..)` stands before an item.
fn re_exports(before: &[TokenTree]) -> bool {
    match before {
        [.., TokenTree::Ident(word), TokenTree::Group(group)] => {
            *word == "pub" && group.delimiter() == Delimiter::Parenthesis
        }
        [.., TokenTree::Ident(word)] => *word == "pub",
        _ => false,
    }
}

fn words(tokens: TokenStream) -> Vec<String> {
    tokens
        .into_iter()
        .flat_map(|token| match token {
            TokenTree::Group(group) => words(group.stream()),
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {
                vec![token.to_string()]
            }
        })
        .collect()
}

/// The paths of a tree of `use`s, each with the name that it brings in.
fn leaves(tokens: &[TokenTree], before: &[String]) -> Vec<(Vec<String>, String)> {
    let is_comma = |it: &TokenTree| matches!(it, TokenTree::Punct(it) if it.as_char() == ',');
    let mut found = Vec::new();
    for branch in tokens.split(is_comma).filter(|branch| !branch.is_empty()) {
        let mut path = before.to_vec();
        let mut alias = None;
        let mut is_list = false;
        let mut at = 0;
        while at < branch.len() {
            match &branch[at] {
                TokenTree::Ident(word) if word == "as" => {
                    alias = branch.get(at + 1).map(ToString::to_string);
                    break;
                }
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Punct(punct) if punct.as_char() == '*' => path.push("*".to_owned()),
                TokenTree::Group(list) => {
                    found.extend(leaves(&list.stream().into_iter().collect::<Vec<_>>(), &path));
                    is_list = true;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
        if is_list {
            continue;
        }
        // `use a::{self}` brings in `a`.
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let name = alias.or_else(|| path.last().cloned()).unwrap_or_default();
        found.push((path, name));
    }
    found
}

/// A module in another.
pub(crate) fn joined(path: &[String], name: &str) -> ModulePath {
    [path, &[name.to_owned()]].concat()
}
