//! Records and results as JSON: the names of the contract, counts and times as numbers.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::job::JobId;
use crate::queue::{JobResult, Record};

/// Fields that are whole numbers; all others are text.
const NUMBERS: [&str; 19] = [
    "v",
    "revision",
    "posts",
    "attempts",
    "polls",
    "claim",
    "recoveries",
    "retries",
    "unconfirmed",
    "held",
    "resend",
    "not-before",
    "expires-at",
    "next-at",
    "accepted-at",
    "submitted-at",
    "ended-at",
    "retried-at",
    "pushed-at",
];

/// A record or a result: the fields of the contract's sections 4 and 5, absent where they do not apply
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = std::collections::HashMap<String, Value>)]
pub(super) struct Shown(Map<String, Value>);

impl Shown {
    pub(super) fn record(id: &JobId, record: &Record) -> Self {
        Self::of(std::iter::once(("client-request-id", id.as_str())).chain(record.fields()))
    }

    pub(super) fn result(result: &JobResult) -> Self {
        let fields = result.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // Its own id; `entry-id` is that of the job's entry.
        Self::of(fields.chain(std::iter::once(("result", result.entry_id.as_str()))))
    }

    fn of<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let value = |name: &str, text: &str| match text.parse::<u64>() {
            Ok(number) if NUMBERS.contains(&name) => number.into(),
            _ => Value::from(text),
        };
        Self(fields.map(|(name, text)| (name.to_owned(), value(name, text))).collect())
    }
}
