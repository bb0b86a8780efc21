//! The body of a submit, read as strictly as the documentation allows (docs/contract.md,
//! section 1): exactly the documented names, each once, each of its type.
//!
//! Written from the documentation and from nothing else in this crate: rules shared with the
//! client or the job would let a wrong name pass every test.

use std::fmt;

use hyper::StatusCode;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::answer::Reply;

/// The largest body that is read.
pub(super) const MAX_BODY_BYTES: usize = 1024 * 1024;

/// What a documented field must hold.
enum Shape {
    RequiredString,
    String,
    Strings,
}

/// The documented fields.
const FIELDS: [(&str, Shape); 10] = [
    ("client-request-id", Shape::RequiredString),
    ("customer-id", Shape::RequiredString),
    ("use-case-id", Shape::RequiredString),
    ("user-id", Shape::RequiredString),
    ("reference-record-id", Shape::String),
    ("phrase-texts", Shape::Strings),
    ("image-texts", Shape::Strings),
    ("video-texts", Shape::Strings),
    ("image-urls", Shape::Strings),
    ("video-urls", Shape::Strings),
];

/// What the sandbox keeps of a valid submit.
pub(super) struct Submission {
    pub(super) client_request_id: String,
    pub(super) user_id: String,
    pub(super) use_case_id: String,
    pub(super) customer_id: String,
}

impl Submission {
    /// Reads a body; `None` is one that was too large. The error is the answer to give.
    pub(super) fn parse(body: Option<&[u8]>) -> Result<Self, Reply> {
        let Some(body) = body else {
            let message = format!("the body is larger than {MAX_BODY_BYTES} bytes");
            return Err(Reply::error(StatusCode::PAYLOAD_TOO_LARGE, &message));
        };
        let bad_request = |problem: String| {
            let message = format!("Bad request, check the input: {problem}");
            Reply::error(StatusCode::BAD_REQUEST, &message)
        };
        let members: Members = serde_json::from_slice(body)
            .map_err(|error| bad_request(format!("the body is not a JSON object: {error}")))?;
        Self::check(members.0).map_err(bad_request)
    }

    fn check(members: Vec<(String, Value)>) -> Result<Self, String> {
        let [mut client_request_id, mut user_id, mut use_case_id, mut customer_id] =
            [const { String::new() }; 4];
        let mut seen = [false; FIELDS.len()];
        for (name, value) in members {
            let Some(place) = FIELDS.iter().position(|(known, _)| *known == name) else {
                return Err(format!("{name}: unknown field"));
            };
            if std::mem::replace(&mut seen[place], true) {
                return Err(format!("{name}: repeated field"));
            }
            FIELDS[place].1.check(&value).map_err(|problem| format!("{name}: {problem}"))?;
            match (name.as_str(), value) {
                ("client-request-id", Value::String(text)) => client_request_id = text,
                ("user-id", Value::String(text)) => user_id = text,
                ("use-case-id", Value::String(text)) => use_case_id = text,
                ("customer-id", Value::String(text)) => customer_id = text,
                _ => {}
            }
        }
        let missing = FIELDS.iter().zip(seen).find(|((_, shape), seen)| shape.required() && !seen);
        match missing {
            Some(((name, _), _)) => Err(format!("{name}: required field is missing")),
            None => Ok(Self { client_request_id, user_id, use_case_id, customer_id }),
        }
    }
}

impl Shape {
    fn required(&self) -> bool {
        match self {
            Self::RequiredString => true,
            Self::String | Self::Strings => false,
        }
    }

    fn check(&self, value: &Value) -> Result<(), &'static str> {
        match self {
            Self::RequiredString if value.as_str() == Some("") => Err("must not be empty"),
            Self::RequiredString | Self::String if !value.is_string() => Err("must be a string"),
            Self::Strings => match value.as_array() {
                Some(items) if items.iter().all(Value::is_string) => Ok(()),
                Some(_) | None => Err("must be an array of strings"),
            },
            Self::RequiredString | Self::String => Ok(()),
        }
    }
}

/// An object's members as they were written: a map would hide a repeated name.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsWritten;

        impl<'de> Visitor<'de> for AsWritten {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(AsWritten)
    }
}
