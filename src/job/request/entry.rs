//! An entry of the inbox stream: the body and what may stand beside it.
//!
//! The intake reads every entry through here, so that faults of the fields and of the body are
//! listed together and a bad entry is still known by its id, its bytes and its `meta`.

use super::{Parsed, Problems, Request, UnknownFields};
use crate::job::{JobId, Millis};

/// The field that holds the body.
const JOB: &str = "job";
/// The longest `meta`, in bytes (docs/contract.md, section 3).
const META_MAX_BYTES: usize = 4096;

/// What may stand beside the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFields {
    /// Do not submit earlier.
    pub not_before: Option<Millis>,
    /// Bounds the whole job.
    pub expires_at: Option<Millis>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Opaque text up to 4 KiB, carried to the record and the result.
    pub meta: Option<String>,
    /// By which key of the gateway it came, for the history; no field of an entry.
    pub by: Option<String>,
}

/// An entry of the inbox stream, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The client-request-id, where a single valid one could be read.
    pub id: Option<JobId>,
    /// The body as received, valid or not; empty if there was none.
    pub body: Vec<u8>,
    /// What stood beside it; of an invalid entry, what of it was valid.
    pub fields: EntryFields,
    /// The request, or every fault of the entry: those of its fields first.
    pub request: Result<Request, Problems>,
}

impl Entry {
    /// Reads the fields of a stream entry, as (name, value); names that mean nothing are ignored.
    #[must_use]
    pub fn read(fields: Vec<(Vec<u8>, Vec<u8>)>, unknown: UnknownFields) -> Self {
        let mut problems = Problems::default();
        let pairs = fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        let beside = EntryFields::read(pairs, &mut problems);
        let mut bodies = fields.into_iter().filter(|(name, _)| name == JOB.as_bytes());
        let Some((_, body)) = bodies.next() else {
            problems.add(JOB, "missing");
            return Self { id: None, body: Vec::new(), fields: beside, request: Err(problems) };
        };
        let Parsed { mut id, request } = Request::parse(&body, unknown);
        if bodies.next().is_some() {
            problems.add(JOB, "repeated");
            // Which of them was meant cannot be known, so neither is the identity.
            id = None;
        }
        let request = match request {
            Ok(request) if problems.is_empty() => Ok(request),
            Ok(_) => Err(problems),
            Err(faults) => {
                problems.append(faults);
                Err(problems)
            }
        };
        Self { id, body, fields: beside, request }
    }
}

impl EntryFields {
    pub(super) const NAMES: [&str; 4] = ["not-before", "expires-at", "traceparent", "meta"];

    /// Reads what may stand beside a body, as (name, value); other names are ignored.
    ///
    /// # Errors
    /// A repeated field, a time that is not 12 to 14 digits, a `meta` that is not UTF-8 or longer
    /// than 4 KiB. A malformed `traceparent` is ignored.
    pub fn parse<'a>(
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let read = Self::read(fields, &mut problems);
        if problems.is_empty() { Ok(read) } else { Err(problems) }
    }

    fn read<'a>(
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        problems: &mut Problems,
    ) -> Self {
        let mut values = [None; Self::NAMES.len()];
        for (name, value) in fields {
            let Some(index) = Self::NAMES.iter().position(|known| known.as_bytes() == name) else {
                continue;
            };
            if values[index].replace(value).is_some() {
                problems.add(Self::NAMES[index], "repeated");
            }
        }
        let [not_before, expires_at, traceparent, meta] = values;
        let mut time = |name: &str, value: &[u8]| {
            let time = unix_ms(value);
            if time.is_none() {
                problems.add(name, "must be Unix milliseconds, 12 to 14 digits");
            }
            time
        };
        Self {
            not_before: not_before.and_then(|value| time(Self::NAMES[0], value)),
            expires_at: expires_at.and_then(|value| time(Self::NAMES[1], value)),
            traceparent: traceparent.filter(|value| is_traceparent(value)).and_then(text),
            meta: meta.and_then(|value| {
                let meta = text(value).filter(|meta| meta.len() <= META_MAX_BYTES);
                if meta.is_none() {
                    let problem = format_args!("must be UTF-8, at most {META_MAX_BYTES} bytes");
                    problems.add(Self::NAMES[3], problem);
                }
                meta
            }),
            by: None,
        }
    }
}

fn text(value: &[u8]) -> Option<String> {
    str::from_utf8(value).ok().map(str::to_owned)
}

/// A moment as 12 to 14 digits: from 1973 to 5138, which tells milliseconds from seconds.
fn unix_ms(value: &[u8]) -> Option<Millis> {
    let digits = str::from_utf8(value).ok()?;
    if !(12..=14).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(Millis)
}

/// Whether this is `version-trace id-parent id-flags` as of the W3C's Trace Context, level 1.
fn is_traceparent(value: &[u8]) -> bool {
    let mut parts = value.split(|byte| *byte == b'-');
    let (Some(version), Some(trace_id), Some(parent_id), Some(flags), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let is_hex = |part: &[u8], length: usize| {
        part.len() == length && part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_zero = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
    is_hex(version, 2)
        && version != b"ff"
        && is_hex(trace_id, 32)
        && !is_zero(trace_id)
        && is_hex(parent_id, 16)
        && !is_zero(parent_id)
        && is_hex(flags, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str =
        r#"{"client-request-id":"a","customer-id":"c","use-case-id":"u","user-id":"1"}"#;
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(fields: &[(&str, &[u8])]) -> Entry {
        let owned = fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()));
        Entry::read(owned.collect(), UnknownFields::Reject)
    }

    fn problems(fields: &[(&str, &[u8])]) -> String {
        let mut entry = vec![("job", BODY.as_bytes())];
        entry.extend(fields);
        read(&entry).request.map_or_else(|problems| problems.to_string(), |_| String::new())
    }

    #[test]
    fn an_entry_is_its_body_and_what_stands_beside_it() {
        let entry = read(&[
            ("meta", "Gruß".as_bytes()),
            ("expires-at", b"99999999999999"),
            ("job", BODY.as_bytes()),
            ("traceparent", TRACE.as_bytes()),
            ("not-before", b"100000000000"),
            ("something-else", b"\xff"),
            ("something-else", b""),
        ]);
        assert_eq!(entry.id.unwrap().as_str(), "a");
        assert_eq!(entry.body, BODY.as_bytes());
        assert_eq!(entry.request.unwrap().user_id(), "1");
        let fields = EntryFields {
            by: None,
            not_before: Some(Millis(100_000_000_000)),
            expires_at: Some(Millis(99_999_999_999_999)),
            traceparent: Some(TRACE.to_owned()),
            meta: Some("Gruß".to_owned()),
        };
        assert_eq!(entry.fields, fields);
    }

    #[test]
    fn faults_of_fields_and_body_are_listed_together_and_the_rest_stays_known() {
        let body = br#"{"client-request-id":"a","customer-id":"c","use-case-id":1}"#;
        let entry = read(&[("expires-at", b"tomorrow"), ("job", body), ("meta", b"mine")]);
        assert_eq!(
            entry.request.unwrap_err().to_string(),
            "expires-at: must be Unix milliseconds, 12 to 14 digits; \
             use-case-id: must be a string, found a number; user-id: missing",
        );
        assert_eq!(entry.id.unwrap().as_str(), "a");
        assert_eq!(entry.body, body);
        assert_eq!(entry.fields.meta.as_deref(), Some("mine"));
    }

    #[test]
    fn an_entry_needs_exactly_one_body() {
        let without = read(&[("jobs", BODY.as_bytes())]);
        assert_eq!(without.request.unwrap_err().to_string(), "job: missing");
        assert_eq!((without.id, without.body), (None, Vec::new()));
        let twice = read(&[("job", BODY.as_bytes()), ("job", BODY.as_bytes())]);
        assert_eq!(twice.request.unwrap_err().to_string(), "job: repeated");
        assert_eq!(twice.id, None);
    }

    #[test]
    fn a_repeated_field_is_named() {
        let time: &[u8] = b"1700000000000";
        assert_eq!(problems(&[("not-before", time), ("not-before", time)]), "not-before: repeated");
        assert_eq!(problems(&[("meta", b"a"), ("meta", b"b")]), "meta: repeated");
        let trace = TRACE.as_bytes();
        assert_eq!(
            problems(&[("traceparent", trace), ("traceparent", trace)]),
            "traceparent: repeated"
        );
    }

    #[test]
    fn a_time_is_12_to_14_digits() {
        let bad =
            ["", "17000000000", "170000000000000", "+170000000000", "1.7e12", " 1700000000000"];
        for bad in bad {
            for name in ["not-before", "expires-at"] {
                let expected = format!("{name}: must be Unix milliseconds, 12 to 14 digits");
                assert_eq!(problems(&[(name, bad.as_bytes())]), expected, "{bad:?}");
            }
        }
        assert_ne!(problems(&[("not-before", b"\xff00000000000")]), "");
    }

    #[test]
    fn meta_is_text_of_limited_length() {
        let longest = [b'x'; META_MAX_BYTES];
        assert_eq!(problems(&[("meta", &longest)]), "");
        let too_long = [b'x'; META_MAX_BYTES + 1];
        for bad in [too_long.as_slice(), b"\xff"] {
            assert_eq!(problems(&[("meta", bad)]), "meta: must be UTF-8, at most 4096 bytes");
        }
    }

    #[test]
    fn a_malformed_traceparent_is_ignored() {
        let malformed = [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        ];
        for malformed in malformed {
            let fields = EntryFields::parse([(&b"traceparent"[..], malformed.as_bytes())]);
            assert_eq!(fields, Ok(EntryFields::default()), "{malformed:?}");
        }
    }
}
