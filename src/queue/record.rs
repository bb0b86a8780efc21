//! A job's record as it stands in Redis (docs/contract.md, section 4).

use std::collections::BTreeMap;

use super::by_hand::Text;
use super::error::QueueError;
use super::handle::Queue;
use super::wire::command;
use crate::job::JobId;

/// The fields of a record, by name; absent where they do not apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    fields: BTreeMap<String, String>,
}

impl Record {
    /// A record with these fields; `None` when there are none, since Redis keeps no empty hash.
    fn from_fields(fields: BTreeMap<Text, Text>) -> Option<Self> {
        let fields = fields.into_iter().map(|(name, value)| (name.0, value.0)).collect();
        let record = Self { fields };
        (!record.fields.is_empty()).then_some(record)
    }

    /// A field's text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// The job's state, in the words of the contract.
    #[must_use]
    pub fn state(&self) -> &str {
        self.get("state").unwrap_or_default()
    }

    /// All fields in alphabetical order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl Queue {
    /// A job's record, live or ended; `None` when there is none.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn record(&self, id: &JobId) -> Result<Option<Record>, QueueError> {
        let mut read = command("HGETALL");
        read.arg(self.keys.job(id));
        let fields: BTreeMap<Text, Text> = self.connection.query(&read).await?;
        Ok(Record::from_fields(fields))
    }
}
