//! Looks settings up in the environment, then in the file, then takes the default; remembers
//! where each came from and collects every mistake instead of stopping at the first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::document::{self, Given};
use super::mask::MASK;
use super::secret::Secret;
use super::values::duration;

/// What stands before every variable of the environment.
pub(super) const PREFIX: &str = "REELQ_";

/// Every mistake of a configuration, each with the setting's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub(super) Vec<String>);

impl ConfigErrors {
    /// A single mistake, found where the setting is used.
    pub(crate) fn one(mistake: String) -> Self {
        Self(vec![mistake])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration cannot be used:")?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// One setting as `reelq config` shows it; secrets are masked already.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Shown {
    /// `section.name`
    pub key: String,
    /// Its effective value.
    pub value: String,
    /// `default`, the file, or the variable.
    pub origin: String,
}

pub(super) struct Reader {
    file: Given,
    file_name: String,
    environment: BTreeMap<String, String>,
    known: BTreeSet<String>,
    pub(super) errors: Vec<String>,
    pub(super) shown: Vec<Shown>,
}

/// Says that a setting was refused, which is among the errors already.
pub(super) struct Noted;

impl Reader {
    pub(super) fn new(
        file_name: &str,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let (file, errors) = match document::read(text) {
            Ok((settings, mistakes)) => (settings, mistakes),
            Err(why) => (BTreeMap::new(), vec![format!("{file_name}: {why}")]),
        };
        let environment = environment.into_iter().filter_map(|(name, value)| {
            let (section, key) = name.strip_prefix(PREFIX)?.split_once("__")?;
            Some((format!("{}.{}", section.to_lowercase(), key.to_lowercase()), value))
        });
        Self {
            file,
            file_name: file_name.to_owned(),
            environment: environment.collect(),
            known: BTreeSet::new(),
            errors,
            shown: Vec::new(),
        }
    }

    /// A setting as text and its origin; `None`: not given.
    fn given(&mut self, key: &str) -> Option<(String, String)> {
        self.known.insert(key.to_owned());
        if let Some(value) = self.environment.get(key) {
            return Some((value.clone(), format!("{PREFIX}{}", variable(key))));
        }
        let text = self.file.get(key)?;
        if text.is_none() {
            self.errors.push(format!("{key}: must be a single value"));
        }
        Some((text.clone()?, self.file_name.clone()))
    }

    fn show(&mut self, key: &str, value: &str, origin: &str) {
        let (key, value, origin) = (key.to_owned(), value.to_owned(), origin.to_owned());
        self.shown.push(Shown { key, value, origin });
    }

    /// A setting by its parser; a mistake is noted and the default taken, so that reading goes on.
    pub(super) fn parsed<T, E: fmt::Debug + fmt::Display>(
        &mut self,
        key: &str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> T {
        self.masked(key, default, parse, str::to_owned)
    }

    /// Likewise, for a setting that may hold a secret: it is shown as `mask` makes it.
    pub(super) fn masked<T, E: fmt::Debug + fmt::Display>(
        &mut self,
        key: &str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, E>,
        mask: fn(&str) -> String,
    ) -> T {
        let given = self.given(key).map(|given| self.accept(key, given, &parse, mask));
        match given {
            Some(Ok(value)) => return value,
            Some(Err(Noted)) => {}
            None => self.show(key, &mask(default), "default"),
        }
        parse(default).expect("every default is valid, by test")
    }

    /// A setting without a default; `Ok(None)`: not given, or empty.
    pub(super) fn optional<T, E: fmt::Debug + fmt::Display>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
        mask: fn(&str) -> String,
    ) -> Result<Option<T>, Noted> {
        let errors = self.errors.len();
        match self.given(key) {
            Some(given) if !given.0.is_empty() => self.accept(key, given, &parse, mask).map(Some),
            _ if self.errors.len() > errors => Err(Noted),
            _ => {
                self.show(key, "", "default");
                Ok(None)
            }
        }
    }

    fn accept<T, E: fmt::Debug + fmt::Display>(
        &mut self,
        key: &str,
        (text, origin): (String, String),
        parse: impl Fn(&str) -> Result<T, E>,
        mask: fn(&str) -> String,
    ) -> Result<T, Noted> {
        match parse(&text) {
            Ok(value) => {
                self.show(key, &mask(&text), &origin);
                Ok(value)
            }
            Err(why) => {
                self.errors.push(format!("{key}: {why} (from {origin})"));
                Err(Noted)
            }
        }
    }

    pub(super) fn number<T: FromStr>(&mut self, key: &str, default: &str, what: &str) -> T {
        self.parsed(key, default, |text| text.parse().map_err(|_| format!("must be {what}")))
    }

    pub(super) fn positive(&mut self, key: &str, default: &str) -> usize {
        self.parsed(key, default, |text| match text.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err("must be a whole number of 1 or more".to_owned()),
        })
    }

    pub(super) fn between(&mut self, key: &str, default: &str, least: f64, most: f64) -> f64 {
        self.parsed(key, default, |text| match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(format!("must be a number from {least} to {most}")),
        })
    }

    pub(super) fn duration(&mut self, key: &str, default: &str) -> Duration {
        self.parsed(key, default, duration)
    }

    pub(super) fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> T {
        let default = words.first().map_or("", |(word, _)| *word);
        self.parsed(key, default, |text| {
            let found = words.iter().find(|(word, _)| *word == text);
            let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            found.map(|(_, value)| *value).ok_or(format!("must be one of {}", all.join(", ")))
        })
    }

    /// A text without a default.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let given = self.given(key);
        match &given {
            Some((text, origin)) => self.show(key, text, origin),
            None => self.show(key, "", "default"),
        }
        given.map(|(text, _)| text).filter(|text| !text.is_empty())
    }

    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    /// A secret, given as text or as a file, not both.
    pub(super) fn secret(&mut self, key: &str) -> Option<Secret> {
        let file_key = format!("{key}_file");
        let text = self.given(key).filter(|(text, _)| !text.is_empty());
        let file_origin = self.given(&file_key).map(|(_, origin)| origin).unwrap_or_default();
        match &text {
            Some((_, origin)) => self.show(key, MASK, origin),
            None => self.show(key, "", "default"),
        }
        let path = self.path(&file_key);
        let Some((text, origin)) = text else { return path.map(Secret::File) };
        if path.is_some() {
            self.errors.push(format!(
                "{key}: given as text (from {origin}) and as {file_key} (from {file_origin}); \
                 choose one"
            ));
        }
        Some(Secret::Text(SecretString::from(text)))
    }

    /// Notes what was given and means nothing.
    pub(super) fn note_unknown(&mut self) {
        let file = self.file.keys().map(|key| (key, self.file_name.clone()));
        let environment = self.environment.keys();
        let environment = environment.map(|key| (key, format!("{PREFIX}{}", variable(key))));
        for (key, origin) in file.chain(environment) {
            if self.known.contains(key) {
                continue;
            }
            let near = self.known.iter().max_by(|one, other| {
                strsim::jaro_winkler(one, key).total_cmp(&strsim::jaro_winkler(other, key))
            });
            let near = near.filter(|near| strsim::jaro_winkler(near, key) > 0.85);
            let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
            self.errors.push(format!("{key}: unknown setting{hint} (from {origin})"));
        }
    }
}

fn variable(key: &str) -> String {
    key.replacen('.', "__", 1).to_uppercase()
}
