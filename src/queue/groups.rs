//! The groups that read the result stream, and how far each has come.

use redis::Value;
use redis::streams::{StreamInfoGroupsReply, StreamRangeReply};

use super::Queue;
use super::connection::command;
use super::error::QueueError;
use crate::job::Millis;

/// A group of result readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResultsGroup {
    /// Its name.
    pub(super) name: String,
    /// When the oldest result was published that it has not acknowledged; `None`: there is none.
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
        let known: StreamInfoGroupsReply = self.connection().query(&info).await?;
        let mut groups = Vec::with_capacity(known.groups.len());
        for group in known.groups {
            let mut pending = command("XPENDING");
            pending.arg(&results).arg(&group.name);
            let mut undelivered = command("XRANGE");
            undelivered.arg(&results).arg(format!("({}", group.last_delivered_id));
            undelivered.arg(&["+", "COUNT", "1"]);
            let mut pipeline = redis::pipe();
            pipeline.add_command(pending).add_command(undelivered);
            // Of XPENDING: [count, smallest id, greatest id, consumers].
            let (pending, undelivered): (Vec<Value>, StreamRangeReply) =
                self.connection().pipeline(&pipeline).await?;
            let oldest = match pending.get(1) {
                Some(Value::BulkString(id)) => Some(String::from_utf8_lossy(id).into_owned()),
                _ => undelivered.ids.into_iter().next().map(|entry| entry.id),
            };
            let oldest_unacknowledged = oldest.as_deref().and_then(Millis::of_entry);
            groups.push(ResultsGroup { name: group.name, oldest_unacknowledged });
        }
        Ok(groups)
    }
}
