//! Reading the result stream (docs/contract.md, section 5).

use std::collections::BTreeMap;
use std::time::Duration;

use redis::Value;

use super::by_hand::Text;
use super::connection::Blocking;
use super::error::QueueError;
use super::handle::Queue;
use super::inbox::{RawEntry, raw_entries, streams_entries};
use super::record::Record;
use super::wire::{command, milliseconds};
use crate::job::{JobId, State};

/// The fields that a result takes over from the record (lua/lib/result.lua has the same, by test).
const RESULT_FIELDS: [&str; 17] = [
    "revision",
    "entry-id",
    "user-id",
    "customer-id",
    "use-case-id",
    "whilter-request-id",
    "video-url",
    "image-url",
    "error",
    "source",
    "posts",
    "polls",
    "accepted-at",
    "submitted-at",
    "ended-at",
    "traceparent",
    "meta",
];

/// One entry of the result stream: the end of one revision of a job, or a rejected entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobResult {
    /// The entry's own id, by which it is acknowledged.
    pub entry_id: String,
    /// Its fields by name; absent where they do not apply.
    pub fields: BTreeMap<String, String>,
}

impl JobResult {
    /// A field's text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// The result of a job that has ended, as its record tells it; `None`: it lives.
    #[must_use]
    pub fn of(id: &JobId, record: &Record) -> Option<Self> {
        if !State::ALL.iter().any(|it| it.is_end() && it.as_str() == record.state()) {
            return None;
        }
        let mut fields: BTreeMap<String, String> = RESULT_FIELDS
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), record.get(name)?.to_owned())))
            .collect();
        fields.insert("client-request-id".to_owned(), id.to_string());
        fields.insert("status".to_owned(), record.state().to_owned());
        Some(Self { entry_id: record.get("result").unwrap_or_default().to_owned(), fields })
    }

    /// `completed`, `failed`, `expired`, `cancelled` or `rejected`.
    #[must_use]
    pub fn status(&self) -> &str {
        self.get("status").unwrap_or_default()
    }
}

/// A reader of the result stream.
#[derive(Debug)]
pub struct ResultReader {
    queue: Queue,
    group: Option<(String, String)>,
    /// Where to read on: an entry id, or `>` for what the group has not delivered yet.
    from: String,
    connection: Option<Blocking>,
}

impl Queue {
    /// Reads the result stream without a group, from after `entry_id` (`0`: from the begin).
    #[must_use]
    pub fn results_after(&self, entry_id: impl Into<String>) -> ResultReader {
        ResultReader { queue: self.clone(), group: None, from: entry_id.into(), connection: None }
    }

    /// Reads the result stream as a consumer of a group: first what this consumer was given
    /// before and did not acknowledge, then what is new.
    #[must_use]
    pub fn results_of_group(
        &self,
        group: impl Into<String>,
        consumer: impl Into<String>,
    ) -> ResultReader {
        let group = Some((group.into(), consumer.into()));
        ResultReader { queue: self.clone(), group, from: "0".to_owned(), connection: None }
    }

    /// The id of the last entry on the result stream, to read on from there.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn last_result_id(&self) -> Result<String, QueueError> {
        let mut last = command("XREVRANGE");
        last.arg(self.keys().results()).arg(&["+", "-", "COUNT", "1"]);
        let entries = raw_entries(self.connection().query(&last).await?);
        Ok(entries.into_iter().next().map_or("0-0".to_owned(), |entry| entry.entry_id))
    }

    /// The results after `entry_id`, at most `count`.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn results_page(
        &self,
        entry_id: &str,
        count: usize,
    ) -> Result<Vec<JobResult>, QueueError> {
        let mut range = command("XRANGE");
        range.arg(self.keys().results()).arg(format!("({entry_id}")).arg("+");
        range.arg("COUNT").arg(count);
        let entries = raw_entries(self.connection().query(&range).await?);
        Ok(entries.into_iter().map(job_result).collect())
    }

    /// The result of a job that has ended, as its record tells it; `None` while it lives.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn ended_result(&self, id: &JobId) -> Result<Option<JobResult>, QueueError> {
        let record = self.record(id).await?;
        Ok(record.and_then(|record| JobResult::of(id, &record)))
    }

    /// Creates a group of result readers at the stream's begin; no error when it is there.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn create_results_group(&self, group: &str) -> Result<(), QueueError> {
        self.create_group_on(&self.keys().results(), group).await
    }

    /// Acknowledges results that a group's consumer has dealt with.
    ///
    /// # Errors
    /// What the server answered; acknowledging twice does no harm.
    pub async fn acknowledge(&self, group: &str, entry_ids: &[String]) -> Result<(), QueueError> {
        if !entry_ids.is_empty() {
            let mut acknowledge = command("XACK");
            acknowledge.arg(self.keys().results()).arg(group).arg(entry_ids);
            let _acknowledged: u64 = self.connection().query(&acknowledge).await?;
        }
        Ok(())
    }

    /// Creates a group on a stream, from its begin, unless it is there.
    pub(super) async fn create_group_on(&self, key: &str, group: &str) -> Result<(), QueueError> {
        let mut create = command("XGROUP");
        create.arg("CREATE").arg(key).arg(group).arg(&["0", "MKSTREAM"]);
        match self.connection().query(&create).await {
            Err(QueueError::Refused(error)) if error.code() == Some("BUSYGROUP") => Ok(()),
            other => other,
        }
    }
}

impl ResultReader {
    /// The next results, at most `count`; waits up to `block` for the first, and returns none
    /// when nothing came. What a group's consumer had been given and is gone by now, trimmed or
    /// deleted, is skipped and acknowledged.
    ///
    /// # Errors
    /// What the server answered (`NOGROUP`: create the group first). The next call uses a new
    /// connection.
    pub async fn read(
        &mut self,
        count: usize,
        block: Duration,
    ) -> Result<Vec<JobResult>, QueueError> {
        loop {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.queue.connection().blocking(block).await?,
            };
            let mut read = command(if self.group.is_some() { "XREADGROUP" } else { "XREAD" });
            if let Some((group, consumer)) = &self.group {
                read.arg(&["GROUP", group, consumer]);
            }
            // BLOCK 0 would wait for ever.
            read.arg("COUNT").arg(count).arg("BLOCK").arg(milliseconds(block).max(1));
            read.arg("STREAMS").arg(self.queue.keys().results()).arg(&self.from);
            let reply: Value = connection.query(&read).await?;
            self.connection = Some(connection);
            let entries = streams_entries(reply);
            let read_all = entries.is_empty();
            let reading_new = self.group.is_none() || self.from == ">";
            if let (Some(last), true) = (entries.last(), self.from != ">") {
                last.entry_id.clone_into(&mut self.from);
            }
            let (gone, there): (Vec<_>, Vec<_>) = entries.into_iter().partition(RawEntry::is_gone);
            if let Some((group, _)) = &self.group {
                let gone: Vec<String> = gone.into_iter().map(|entry| entry.entry_id).collect();
                self.queue.acknowledge(group, &gone).await?;
            }
            if !there.is_empty() || (read_all && reading_new) {
                return Ok(there.into_iter().map(job_result).collect());
            }
            if read_all {
                // Nothing left of what this consumer had been given before.
                ">".clone_into(&mut self.from);
            }
        }
    }
}

fn job_result(entry: RawEntry) -> JobResult {
    let text = |bytes: Vec<u8>| Text::from(bytes.as_slice()).0;
    let fields = entry.fields.into_iter().map(|(name, value)| (text(name), text(value)));
    JobResult { entry_id: entry.entry_id, fields: fields.collect() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::RESULT_FIELDS;

    #[test]
    fn the_scripts_write_the_same_fields() {
        let names = |script: &'static str, list: &str| -> Vec<&'static str> {
            let list = script.split(list).nth(1).and_then(|it| it.split('}').next());
            list.unwrap().split('\'').skip(1).step_by(2).collect()
        };
        let carried = names(include_str!("lua/lib/result.lua"), "CARRIED = {");
        let added = names(include_str!("lua/lib/result.lua"), "ADDED = {");
        let in_lua: BTreeSet<&str> = carried.into_iter().chain(added).chain(["ended-at"]).collect();
        assert_eq!(in_lua, BTreeSet::from(RESULT_FIELDS));
    }
}
