//! Reads a body once, field by field, and notes every fault on the way.
//!
//! Every value may be of any type here: a wrong type is a fault to be listed, not an error that
//! ends the reading. Only text that is not JSON ends it; what was read until then, the id above
//! all, stays known. Texts are borrowed from the body, and nesting is bounded ([`Found`]).

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::mem;

use serde::de::{Deserializer, MapAccess, Visitor};
use url::Url;

use super::fields::{
    self, BODY_MAX_BYTES, FIELDS, NAME_MAX_BYTES, Rule, URL_MAX_BYTES, UnknownFields,
};
use super::found::{Each, Found, Name};
use super::problems::Problems;
use crate::job::JobId;

/// The name under which the body as a whole is found fault with.
const BODY: &str = "body";

/// What was read of a body; complete if there are no problems.
#[derive(Debug)]
pub(super) struct Draft<'de> {
    pub(super) id: Option<JobId>,
    pub(super) customer_id: Option<Cow<'de, str>>,
    pub(super) use_case_id: Option<Cow<'de, str>>,
    pub(super) user_id: Option<Cow<'de, str>>,
    pub(super) problems: Problems,
    unknown: UnknownFields,
    seen: [bool; FIELDS.len()],
    unknown_seen: HashSet<Cow<'de, str>>,
}

/// Reads a body.
pub(super) fn read(body: &[u8], unknown: UnknownFields) -> Draft<'_> {
    let mut draft = Draft {
        id: None,
        customer_id: None,
        use_case_id: None,
        user_id: None,
        problems: Problems::default(),
        unknown,
        seen: [false; FIELDS.len()],
        unknown_seen: HashSet::new(),
    };
    if body.len() > BODY_MAX_BYTES {
        // Only for the id: the faults of a cut text are not the producer's.
        let _cut_short = draft.read_object(&body[..BODY_MAX_BYTES]);
        draft.problems = Problems::default();
        draft.problems.add(BODY, too_long(BODY_MAX_BYTES, body.len()));
        return draft;
    }
    match draft.read_object(body) {
        Ok(()) => draft.note_missing(),
        Err(error) => draft.note_broken(body, error),
    }
    draft
}

impl<'de> Draft<'de> {
    fn read_object(&mut self, body: &'de [u8]) -> serde_json::Result<()> {
        let mut json = serde_json::Deserializer::from_slice(body);
        json.deserialize_map(self)?;
        json.end()
    }

    fn read_field<A: MapAccess<'de>>(
        &mut self,
        name: Cow<'de, str>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let Some(index) = FIELDS.iter().position(|(known, _)| *known == name) else {
            let _any: Found<'_> = map.next_value()?;
            self.note_unknown(name);
            return Ok(());
        };
        let (name, rule) = FIELDS[index];
        if mem::replace(&mut self.seen[index], true) {
            let _any: Found<'_> = map.next_value()?;
            self.problems.add(name, "repeated");
            if rule == Rule::Id {
                // Readers differ in which of the two they take: neither is the identity.
                self.id = None;
            }
            return Ok(());
        }
        match rule {
            Rule::Id => self.take_id(name, map.next_value()?),
            Rule::CustomerId => self.customer_id = self.name(name, map.next_value()?),
            Rule::UseCaseId => self.use_case_id = self.name(name, map.next_value()?),
            Rule::UserId => self.user_id = self.name(name, map.next_value()?),
            Rule::Text => match map.next_value()? {
                Found::Null => {}
                Found::Text(text) => self.note_length(name, &text),
                found @ (Found::Array | Found::Other(_)) => {
                    self.problems.add(name, not("a string", &found));
                }
            },
            Rule::Texts | Rule::Urls => {
                let problems = &mut self.problems;
                let check = |index: usize, item: &Found<'_>| {
                    note_item(problems, format_args!("{name}[{index}]"), rule, item);
                };
                match map.next_value_seed(Each(check))? {
                    Found::Null | Found::Array => {}
                    found @ (Found::Text(_) | Found::Other(_)) => {
                        self.problems.add(name, not("an array of strings", &found));
                    }
                }
            }
        }
        Ok(())
    }

    fn take_id(&mut self, name: &str, found: Found<'de>) {
        match self.required(name, found).map(JobId::new) {
            Some(Ok(id)) => self.id = Some(id),
            Some(Err(problem)) => self.problems.add(name, problem),
            None => {}
        }
    }

    fn name(&mut self, name: &str, found: Found<'de>) -> Option<Cow<'de, str>> {
        let text = self.required(name, found)?;
        self.note_length(name, &text);
        Some(text)
    }

    fn note_length(&mut self, name: &str, text: &str) {
        if text.len() > NAME_MAX_BYTES {
            self.problems.add(name, too_long(NAME_MAX_BYTES, text.len()));
        }
    }

    fn required(&mut self, name: &str, found: Found<'de>) -> Option<Cow<'de, str>> {
        match found {
            Found::Text(text) if text.is_empty() => self.problems.add(name, "must not be empty"),
            Found::Text(text) => return Some(text),
            Found::Null => self.problems.add(name, "missing"),
            found @ (Found::Array | Found::Other(_)) => {
                self.problems.add(name, not("a string", &found));
            }
        }
        None
    }

    fn note_unknown(&mut self, name: Cow<'de, str>) {
        if self.unknown_seen.contains(&name) {
            self.problems.add(name, "repeated");
            return;
        }
        if self.unknown == UnknownFields::Reject {
            self.problems.add(&name, fmt::from_fn(|f| write_unknown(f, &name)));
        }
        self.unknown_seen.insert(name);
    }

    fn note_missing(&mut self) {
        for ((name, rule), seen) in FIELDS.iter().zip(self.seen) {
            if rule.is_required() && !seen {
                self.problems.add(name, "missing");
            }
        }
    }

    fn note_broken(&mut self, body: &[u8], error: serde_json::Error) {
        let error = if error.is_data() {
            // The body is not an object. The error itself would quote what it is instead.
            match serde_json::from_slice::<Found<'_>>(body) {
                Ok(found) => return self.problems.add(BODY, not("a JSON object", &found)),
                Err(error) => error,
            }
        } else {
            error
        };
        self.problems.add(BODY, format_args!("not JSON: {error}"));
    }
}

impl<'de> Visitor<'de> for &mut Draft<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            self.read_field(name, &mut map)?;
        }
        Ok(())
    }
}

/// Notes what is wrong with an element of an array.
fn note_item(problems: &mut Problems, field: fmt::Arguments<'_>, rule: Rule, item: &Found<'_>) {
    match item {
        Found::Text(url) if rule == Rule::Urls => {
            if url.len() > URL_MAX_BYTES {
                problems.add(field, too_long(URL_MAX_BYTES, url.len()));
            } else if !is_web_url(url) {
                problems.add(field, "must be an http or https URL with a host");
            }
        }
        Found::Text(_) => {}
        Found::Null | Found::Array | Found::Other(_) => {
            problems.add(field, not("a string", item));
        }
    }
}

/// Whether a strict reader would take this for an http or https URL with a host.
fn is_web_url(text: &str) -> bool {
    // The parser mends what others refuse (control characters, missing slashes, a space in
    // front), but it is the text as written that is sent.
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
        && !rest.starts_with(['/', '\\'])
        && !rest.contains(char::is_control)
        && Url::parse(text).is_ok()
}

fn not(expected: &str, found: &Found<'_>) -> impl fmt::Display {
    fmt::from_fn(move |f| write!(f, "must be {expected}, found {found}"))
}

fn too_long(max: usize, length: usize) -> impl fmt::Display {
    fmt::from_fn(move |f| write!(f, "must be at most {max} bytes long, has {length}"))
}

fn write_unknown(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    f.write_str("unknown field")?;
    match fields::near_miss(name) {
        Some(meant) => write!(f, "; did you mean \"{meant}\"?"),
        None => Ok(()),
    }
}
