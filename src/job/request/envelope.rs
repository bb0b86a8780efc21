//! What comes as JSON and not by the inbox stream: a request, or an envelope around one with what may
//! stand beside it (docs/contract.md, sections 3 and 6).

use serde_json::value::RawValue;

use super::body::Members;
use super::{Entry, EntryFields, Problems, UnknownFields};

/// The field of an envelope that holds the request.
const JOB: &str = "job";
/// By this field a request is told from an envelope.
const ID: &str = "client-request-id";

impl Entry {
    /// Reads a request, or an envelope: `{"job":{..},"not-before":..,"expires-at":..,"traceparent":..,
    /// "meta":..}`. Times may be numbers or text.
    #[must_use]
    pub fn read_json(json: &[u8], unknown: UnknownFields) -> Self {
        let field = |name: &str, value: Vec<u8>| (name.as_bytes().to_vec(), value);
        let Some(members) = envelope(json) else {
            return Self::read(vec![field(JOB, json.to_vec())], unknown);
        };
        let mut problems = Problems::default();
        let mut fields = Vec::new();
        for (name, value) in members {
            if name != JOB && !EntryFields::NAMES.contains(&&*name) {
                problems.add(&name, "unknown field of an envelope");
                continue;
            }
            match text(value) {
                Ok(text) => fields.extend(text.map(|text| field(&name, text))),
                Err(error) => problems.add(&name, format_args!("not JSON: {error}")),
            }
        }
        let mut entry = Self::read(fields, unknown);
        if !problems.is_empty() {
            if let Err(others) = entry.request {
                problems.append(others);
            }
            entry.request = Err(problems);
        }
        entry
    }
}

/// The fields of an envelope; `None`: it is none, or a name in it is no text, which the reader of a
/// request tells.
fn envelope(json: &[u8]) -> Option<Vec<(String, &RawValue)>> {
    // Nearly all are requests, which are read but once.
    if !std::str::from_utf8(json).ok()?.contains(r#""job""#) {
        return None;
    }
    let Members(members) = serde_json::from_slice(json).ok()?;
    let name = |quoted: &RawValue| serde_json::from_str::<String>(quoted.get()).ok();
    let members: Vec<_> = members
        .into_iter()
        .map(|(quoted, value)| Some((name(quoted)?, value)))
        .collect::<Option<_>>()?;
    let is_there = |wanted: &str| members.iter().any(|(name, _)| name == wanted);
    (is_there(JOB) && !is_there(ID)).then_some(members)
}

/// The bytes of a value as they would stand on the stream; `None` for null, which is absence. An error:
/// half of a surrogate pair, which is no text.
fn text(value: &RawValue) -> serde_json::Result<Option<Vec<u8>>> {
    let json = value.get();
    Ok(match json.as_bytes().first() {
        Some(b'n') => None,
        Some(b'"') => Some(serde_json::from_str::<String>(json)?.into_bytes()),
        _ => Some(json.as_bytes().to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Millis;

    const JOB_BODY: &str =
        r#"{"client-request-id":"a","customer-id":"acme","use-case-id":"b","user-id":"ann"}"#;

    fn read(json: &str) -> Entry {
        Entry::read_json(json.as_bytes(), UnknownFields::Reject)
    }

    #[test]
    fn a_request_is_itself_and_an_envelope_holds_one() {
        let plain = read(JOB_BODY);
        assert_eq!(plain.request.unwrap().body(), JOB_BODY.as_bytes());
        let json = format!(
            r#"{{"job": {JOB_BODY}, "not-before": 1800000000000, "expires-at": "1900000000000", "meta": "\u00e4", "traceparent": null}}"#
        );
        let entry = read(&json);
        assert_eq!(entry.request.unwrap().body(), JOB_BODY.as_bytes());
        assert_eq!(entry.fields.not_before, Some(Millis(1_800_000_000_000)));
        assert_eq!(entry.fields.expires_at, Some(Millis(1_900_000_000_000)));
        assert_eq!(entry.fields.meta.as_deref(), Some("ä"));
        assert_eq!(entry.fields.traceparent, None);
    }

    #[test]
    fn the_faults_of_an_envelope_are_listed_with_those_of_its_request() {
        for (json, fields) in [
            (format!(r#"{{"job":{JOB_BODY},"priority":1}}"#), &["priority"][..]),
            (format!(r#"{{"job":{JOB_BODY},"not-before":1.5}}"#), &["not-before"]),
            (format!(r#"{{"job":{JOB_BODY},"job":{JOB_BODY}}}"#), &["job"]),
            (
                r#"{"job":{"client-request-id":"a"},"later":1}"#.to_owned(),
                &["later", "customer-id"],
            ),
            (r#"{"job":"text"}"#.to_owned(), &[]),
            (r#"{"job":null}"#.to_owned(), &["job"]),
            // Half of a surrogate pair is no text, and no reason to leave out what was said.
            (format!(r#"{{"job":{JOB_BODY},"not-before":"\ud800"}}"#), &["not-before"]),
            (format!(r#"{{"job":{JOB_BODY},"meta":"\ud800"}}"#), &["meta"]),
            (format!(r#"{{"job":{JOB_BODY},"\ud800":1}}"#), &["body"]),
        ] {
            let problems = read(&json).request.unwrap_err();
            for field in fields {
                assert!(
                    problems.listed().iter().any(|it| it.field == *field),
                    "{json}: {problems}"
                );
            }
        }
    }
}
