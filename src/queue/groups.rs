//! The groups that read the result stream, and how far each has come.
//!
//! Groups and their consumers are others': their names are bytes, and what they had been given may
//! have been trimmed or deleted since. Only entries that still exist count.

use std::collections::BTreeMap;

use redis::{FromRedisValue, Value};

use super::by_hand::Text;
use super::error::QueueError;
use super::handle::Queue;
use super::inbox::raw_entries;
use super::wire::command;
use crate::job::Millis;

/// So many runs of entries that are gone are leapt over in one search, however long each is.
const MAX_LEAPS: usize = 100;

/// A group of result readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResultsGroup {
    /// Its name, as it is shown.
    pub(super) name: String,
    /// When the oldest result was published that is there and that it has not acknowledged;
    /// `None`: there is none.
    pub(super) oldest_unacknowledged: Option<Millis>,
}

impl Queue {
    /// The groups that read the result stream.
    pub(super) async fn results_groups(&self) -> Result<Vec<ResultsGroup>, QueueError> {
        let results = self.keys().results();
        let mut exists = command("EXISTS");
        exists.arg(&results);
        if !self.connection().query::<bool>(&exists).await? {
            return Ok(Vec::new());
        }
        let mut info = command("XINFO");
        info.arg("GROUPS").arg(&results);
        let known: Vec<BTreeMap<String, Value>> = self.connection().query(&info).await?;
        let mut groups = Vec::with_capacity(known.len());
        for mut group in known {
            let name: Vec<u8> = take(&mut group, "name")?;
            let delivered: String = take(&mut group, "last-delivered-id")?;
            let undelivered = self.result_from(&format!("({delivered}")).await?;
            let unacknowledged = [self.oldest_pending(&name).await?, undelivered];
            let ages = unacknowledged.iter().flatten().filter_map(|id| Millis::of_entry(id));
            groups.push(ResultsGroup {
                name: Text::from(name.as_slice()).0,
                oldest_unacknowledged: ages.min(),
            });
        }
        Ok(groups)
    }

    /// The oldest entry that a group was given, has not acknowledged, and that still exists.
    ///
    /// After many leaps it is the first entry behind them: what is before is not needed.
    async fn oldest_pending(&self, group: &[u8]) -> Result<Option<String>, QueueError> {
        let mut from = "-".to_owned();
        for _ in 0..MAX_LEAPS {
            let Some(pending) = self.pending_from(group, &from).await? else { return Ok(None) };
            match self.result_from(&pending).await? {
                Some(existing) if existing == pending => return Ok(Some(pending)),
                Some(existing) => from = existing,
                None => return Ok(None),
            }
        }
        Ok(Some(from))
    }

    /// The first id from here on that is pending in a group, whether its entry exists or not.
    async fn pending_from(&self, group: &[u8], from: &str) -> Result<Option<String>, QueueError> {
        let mut pending = command("XPENDING");
        pending.arg(self.keys().results()).arg(group).arg(&[from, "+", "1"]);
        match self.connection().query(&pending).await {
            // Of [[id, consumer, ..]] only the id is surely text.
            Ok(reply) => Ok(raw_entries(reply).into_iter().next().map(|entry| entry.entry_id)),
            // Somebody has just removed the group.
            Err(QueueError::Refused(error)) if error.code() == Some("NOGROUP") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The id of the first result from here on.
    async fn result_from(&self, from: &str) -> Result<Option<String>, QueueError> {
        let mut first = command("XRANGE");
        first.arg(self.keys().results()).arg(&[from, "+", "COUNT", "1"]);
        let entries = raw_entries(self.connection().query(&first).await?);
        Ok(entries.into_iter().next().map(|entry| entry.entry_id))
    }
}

fn take<T: FromRedisValue>(
    group: &mut BTreeMap<String, Value>,
    field: &str,
) -> Result<T, QueueError> {
    let value = group.remove(field).unwrap_or(Value::Nil);
    T::from_redis_value(value).map_err(|error| QueueError::Unexpected(error.to_string()))
}
