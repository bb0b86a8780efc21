//! Records and results as JSON: the names of the contract, counts and times as numbers.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::job::{JobId, State};
use crate::queue::{self, JobResult};

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

/// A job's record: the fields of the contract's section 4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Record(Map<String, Value>);

/// A job's result: the fields of the contract's section 5.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Ended(Map<String, Value>);

/// A job's record, or with `wait` its result
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "described only: the path answers with one or the other")]
pub(super) enum Shown {
    Record(Record),
    Ended(Ended),
}

impl Record {
    pub(super) fn of(id: &JobId, record: &queue::Record) -> Self {
        Self(typed(std::iter::once(("client-request-id", id.as_str())).chain(record.fields())))
    }
}

impl Ended {
    pub(super) fn of(result: &JobResult) -> Self {
        let fields = result.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // Its own id; `entry-id` is that of the job's entry.
        Self(typed(fields.chain(std::iter::once(("result", result.entry_id.as_str())))))
    }
}

fn typed<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Map<String, Value> {
    let value = |name: &str, text: &str| match text.parse::<u64>() {
        Ok(number) if NUMBERS.contains(&name) => number.into(),
        _ => Value::from(text),
    };
    fields.map(|(name, text)| (name.to_owned(), value(name, text))).collect()
}

impl ToSchema for Record {}
impl ToSchema for Ended {}

impl PartialSchema for Record {
    fn schema() -> RefOr<Schema> {
        described("A record: docs/contract.md, section 4")
            .property("state", word(State::ALL.map(State::as_str).to_vec()))
            .required("state")
            .required("client-request-id")
            .into()
    }
}

impl PartialSchema for Ended {
    fn schema() -> RefOr<Schema> {
        let ends = State::ALL.into_iter().filter(|it| it.is_end()).map(State::as_str);
        described("A result: docs/contract.md, section 5")
            .property("status", word(ends.chain(["rejected"]).collect()))
            .required("status")
            .required("result")
            .into()
    }
}

/// One of these words.
fn word(words: Vec<&str>) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words))
}

/// Fields that may be there, absent where they do not apply.
fn described(what: &str) -> ObjectBuilder {
    let number = || ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    let text = ObjectBuilder::new().schema_type(Type::String);
    let fields = ObjectBuilder::new().description(Some(what)).additional_properties(Some(text));
    NUMBERS.into_iter().fold(fields, |fields, name| fields.property(name, number()))
}
