//! The inbox stream: reading new entries, and entries whose reader is gone.
//!
//! Reads block on a connection of their own, which is dropped after every error: a blocked read
//! that outlives its caller would deliver the next entry to nobody.

use std::time::Duration;

use redis::Value;
use redis::streams::StreamPendingCountReply;

use super::admit::ADMIT_BATCH;
use super::connection::Blocking;
use super::error::QueueError;
use super::handle::{Queue, RuledQueue};
use super::keys::WORKERS_GROUP;
use super::wire::{Values, command, milliseconds};

/// How long a read waits for an entry.
const BLOCK: Duration = Duration::from_secs(5);
/// An entry of a dead reader is taken when it has been idle for so long.
const DEAD_READER_IDLE: Duration = Duration::from_secs(5);
/// An entry of any reader is taken when it has been idle for so long.
const ANY_READER_IDLE: Duration = Duration::from_secs(60);
/// Pages of pending entries in one look for idle ones; the server looks at ten for each that it may
/// give.
const MAX_PAGES: usize = 100;

/// An entry as it stands on the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEntry {
    /// What XADD returned.
    pub entry_id: String,
    /// Its fields in no particular order; none, when it was deleted while it was pending.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl RawEntry {
    /// Whether it was deleted while it was pending. An entry that is there has a field.
    pub(super) fn is_gone(&self) -> bool {
        self.fields.is_empty()
    }
}

/// A reader of the inbox stream, one per worker.
#[derive(Debug)]
pub struct Inbox {
    queue: Queue,
    worker: String,
    connection: Option<Blocking>,
    /// Entries delivered before and not acknowledged come first, once per connection.
    own_pending: bool,
}

impl Inbox {
    /// A reader under the worker's name.
    #[must_use]
    pub fn new(queue: &Queue, worker: String) -> Self {
        Self { queue: queue.clone(), worker, connection: None, own_pending: true }
    }

    /// The next entries; none when nothing came for a while.
    ///
    /// Dropping the future loses nothing: what was delivered meanwhile is read again by the next
    /// call, which uses another connection.
    ///
    /// # Errors
    /// What the server answered. The next call starts over with a new connection.
    pub async fn read(&mut self) -> Result<Vec<RawEntry>, QueueError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.open().await?,
        };
        if self.own_pending {
            let entries = self.read_from("0", &mut connection).await?;
            self.own_pending = !entries.is_empty();
            if !entries.is_empty() {
                self.connection = Some(connection);
                return Ok(entries);
            }
        }
        let entries = self.read_from(">", &mut connection).await?;
        self.connection = Some(connection);
        Ok(entries)
    }

    /// What was delivered to this reader and not admitted.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn read_own_pending(&mut self) -> Result<Vec<RawEntry>, QueueError> {
        let mut connection = self.open().await?;
        self.read_from("0", &mut connection).await
    }

    async fn open(&mut self) -> Result<Blocking, QueueError> {
        self.queue.create_group().await?;
        self.own_pending = true;
        self.queue.connection().blocking(BLOCK).await
    }

    async fn read_from(
        &self,
        from: &str,
        connection: &mut Blocking,
    ) -> Result<Vec<RawEntry>, QueueError> {
        let mut read = command("XREADGROUP");
        read.arg(&["GROUP", WORKERS_GROUP, &self.worker, "COUNT"]).arg(ADMIT_BATCH);
        read.arg("BLOCK").arg(milliseconds(BLOCK));
        read.arg("STREAMS").arg(self.queue.keys().jobs()).arg(from);
        Ok(streams_entries(connection.query(&read).await?))
    }
}

impl Queue {
    /// Creates the workers' group at the stream's begin, unless it is there.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn create_group(&self) -> Result<(), QueueError> {
        self.create_group_on(&self.keys().jobs(), WORKERS_GROUP).await
    }
}

impl RuledQueue {
    /// Takes over entries that a dead worker had read and not admitted.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn adopt_entries_of(
        &self,
        dead: &str,
        worker: &str,
    ) -> Result<Vec<RawEntry>, QueueError> {
        let jobs = self.keys().jobs();
        let mut pending = command("XPENDING");
        pending.arg(&jobs).arg(&[WORKERS_GROUP, "-", "+"]).arg(ADMIT_BATCH).arg(dead);
        let pending: StreamPendingCountReply = self.connection().query(&pending).await?;
        if pending.ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<String> = pending.ids.into_iter().map(|entry| entry.id).collect();
        let mut claim = command("XCLAIM");
        claim.arg(&jobs).arg(&[WORKERS_GROUP, worker]).arg(milliseconds(DEAD_READER_IDLE)).arg(ids);
        Ok(raw_entries(self.connection().query(&claim).await?))
    }

    /// Takes over entries that lie unadmitted with whatever reader, at most [`ADMIT_BATCH`]. Those
    /// that were deleted meanwhile are pending no more afterwards.
    ///
    /// # Errors
    /// What the server answered; what was taken over before is pending with this worker.
    pub async fn adopt_idle_entries(&self, worker: &str) -> Result<Vec<RawEntry>, QueueError> {
        const BEGIN: &str = "0-0";
        let mut adopted = Vec::new();
        let mut cursor = BEGIN.to_owned();
        for _ in 0..MAX_PAGES {
            let mut claim = command("XAUTOCLAIM");
            claim.arg(self.keys().jobs()).arg(&[WORKERS_GROUP, worker]);
            claim.arg(milliseconds(ANY_READER_IDLE)).arg(&cursor);
            claim.arg("COUNT").arg(ADMIT_BATCH - adopted.len());
            // [cursor, [entry, ..], [id of what was deleted, ..]]
            let reply: Vec<Value> = self.connection().query(&claim).await?;
            let mut values = Values::new(reply);
            cursor = values.take()?;
            adopted.extend(raw_entries(values.take()?));
            if cursor == BEGIN || adopted.len() >= ADMIT_BATCH {
                break;
            }
        }
        Ok(adopted)
    }
}

fn items(value: Value) -> Vec<Value> {
    if let Value::Array(items) = value { items } else { Vec::new() }
}

/// The entries of a read of one stream: `[[stream, [entry, ..]]]`, or nothing.
pub(super) fn streams_entries(reply: Value) -> Vec<RawEntry> {
    let stream = items(reply).into_iter().next();
    let entries = stream.and_then(|stream| items(stream).into_iter().nth(1));
    raw_entries(entries.unwrap_or(Value::Nil))
}

/// Reads `[[id, [name, value, ..]], ..]` as bytes, whatever the producer wrote. An entry that
/// was deleted while it was pending has no fields; admitting it acknowledges it.
pub(super) fn raw_entries(reply: Value) -> Vec<RawEntry> {
    let bytes = |value| {
        if let Value::BulkString(bytes) = value { bytes } else { Vec::new() }
    };
    let raw_entry = |entry| {
        let mut parts = items(entry).into_iter();
        let entry_id = String::from_utf8(bytes(parts.next()?)).ok()?;
        let mut values = items(parts.next().unwrap_or(Value::Nil)).into_iter();
        let mut fields = Vec::new();
        while let (Some(name), Some(value)) = (values.next(), values.next()) {
            fields.push((bytes(name), bytes(value)));
        }
        Some(RawEntry { entry_id, fields })
    };
    items(reply).into_iter().filter_map(raw_entry).collect()
}
