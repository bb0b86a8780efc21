//! Looks settings up in the environment, then in the file, then takes the default; remembers
//! where each came from and collects every mistake instead of stopping at the first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use config::{Config, File, FileFormat};
use jiff::{Span, SpanRelativeTo};
use secrecy::SecretString;

use super::Secret;

/// What stands before every variable of the environment.
pub(super) const PREFIX: &str = "REELQ_";

/// Every mistake of a configuration, each with the setting's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub(super) Vec<String>);

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
    file: BTreeMap<String, config::Value>,
    file_name: String,
    environment: BTreeMap<String, String>,
    known: BTreeSet<String>,
    pub(super) errors: Vec<String>,
    pub(super) shown: Vec<Shown>,
}

impl Reader {
    pub(super) fn new(
        file_name: &str,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut errors = Vec::new();
        let built = Config::builder().add_source(File::from_str(text, FileFormat::Toml)).build();
        let sections = built.and_then(|it| it.try_deserialize::<BTreeMap<String, config::Value>>());
        let mut file = BTreeMap::new();
        match sections {
            Ok(sections) => {
                for (section, content) in sections {
                    match content.into_table() {
                        Ok(table) => file.extend(
                            table.into_iter().map(|(name, it)| (format!("{section}.{name}"), it)),
                        ),
                        Err(_) => errors.push(format!("{section}: must be a section of settings")),
                    }
                }
            }
            // Between its first line, the place, and its last, the reason, the error repeats the
            // line of the file and a secret that may be in it.
            Err(error) => {
                let error = error.to_string();
                let place = error.lines().next().unwrap_or_default();
                let reason = error.trim_end().lines().skip(1).last().unwrap_or_default();
                errors.push(format!("{file_name}: {place}: {reason}"));
            }
        }
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
        let value = self.file.get(key)?.clone();
        let list = value.clone().into_array().ok().map(|items| {
            let items = items.into_iter().filter_map(|item| item.into_string().ok());
            items.collect::<Vec<_>>().join(",")
        });
        match list.map_or_else(|| value.into_string(), Ok) {
            Ok(text) => Some((text, self.file_name.clone())),
            Err(_) => {
                self.errors.push(format!("{key}: must be a single value"));
                None
            }
        }
    }

    fn show(&mut self, key: &str, value: &str, origin: &str) {
        let (key, value, origin) = (key.to_owned(), value.to_owned(), origin.to_owned());
        self.shown.push(Shown { key, value, origin });
    }

    /// A setting by its parser; a mistake is noted and the default taken, so that reading goes on.
    pub(super) fn parsed<T>(
        &mut self,
        key: &str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        if let Some((text, origin)) = self.given(key) {
            match parse(&text) {
                Ok(value) => {
                    self.show(key, &text, &origin);
                    return value;
                }
                Err(why) => self.errors.push(format!("{key}: {why} (from {origin})")),
            }
        } else {
            self.show(key, default, "default");
        }
        parse(default).expect("every default is valid, by test")
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
    pub(super) fn optional(&mut self, key: &str) -> Option<String> {
        let given = self.given(key);
        match &given {
            Some((text, origin)) => self.show(key, text, origin),
            None => self.show(key, "", "default"),
        }
        given.map(|(text, _)| text).filter(|text| !text.is_empty())
    }

    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.optional(key).map(PathBuf::from)
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

    /// A text that may hold a secret: shown as `mask` makes it.
    pub(super) fn masked(&mut self, key: &str, default: &str, mask: fn(&str) -> String) -> String {
        let (text, origin) =
            self.given(key).unwrap_or_else(|| (default.to_owned(), "default".to_owned()));
        self.show(key, &mask(&text), &origin);
        text
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

/// What is shown of a secret.
pub(super) const MASK: &str = "********";

fn variable(key: &str) -> String {
    key.replacen('.', "__", 1).to_uppercase()
}

/// A duration with its unit, as in `250ms`, `30s`, `1h`, `14d`; a day has 24 hours.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let refuse = || "must be a duration like 250ms, 30s, 1h or 14d".to_owned();
    let span: Span = text.parse().map_err(|_| refuse())?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| refuse())?;
    match Duration::try_from(length) {
        Ok(length) if !length.is_zero() => Ok(length),
        _ => Err("must be longer than nothing".to_owned()),
    }
}
