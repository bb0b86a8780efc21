//! Keeps streams and the dead list from growing for ever: by age, never by what is still needed.

use std::time::Duration;

use redis::Value;
use redis::streams::StreamInfoGroupsReply;

use super::Queue;
use super::admit::milliseconds;
use super::connection::command;
use super::error::QueueError;

/// How long rejected entries are kept.
const REJECTED_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How many dead entries are removed at a time.
const DEAD_BATCH: usize = 1000;

/// Ages at which things are let go.
#[derive(Clone, Copy, Debug)]
pub struct TrimAges {
    /// `queue.results_retention`: results that every group has acknowledged.
    pub acknowledged_results: Duration,
    /// `queue.results_max_age`: results that some group has not acknowledged, or that no group reads.
    pub any_results: Duration,
    /// `queue.failed_retention`: entries of the dead list.
    pub dead: Duration,
}

impl Queue {
    /// Lets go of what is old enough.
    ///
    /// # Errors
    /// What the server answered; repeating the call is safe.
    pub async fn trim(&self, ages: TrimAges) -> Result<(), QueueError> {
        let time: (u64, u64) = self.connection().query(&command("TIME")).await?;
        let now_ms = time.0 * 1000 + time.1 / 1000;
        let before = |age| now_ms.saturating_sub(milliseconds(age));
        let acknowledged = self.first_needed_result().await?;
        let results = before(ages.any_results)
            .max(before(ages.acknowledged_results).min(acknowledged.unwrap_or(0)));
        let rejected = before(REJECTED_MAX_AGE);
        for (stream, oldest) in
            [(self.keys().results(), results), (self.keys().rejected(), rejected)]
        {
            let mut trim = command("XTRIM");
            trim.arg(stream).arg(&["MINID", "~"]).arg(oldest);
            let _removed: u64 = self.connection().query(&trim).await?;
        }
        self.trim_dead(before(ages.dead)).await
    }

    /// The time of the oldest result that some group still needs; `None`: no group reads.
    async fn first_needed_result(&self) -> Result<Option<u64>, QueueError> {
        let results = self.keys().results();
        let mut exists = command("EXISTS");
        exists.arg(&results);
        if !self.connection().query::<bool>(&exists).await? {
            return Ok(None);
        }
        let mut info = command("XINFO");
        info.arg("GROUPS").arg(&results);
        let groups: StreamInfoGroupsReply = self.connection().query(&info).await?;
        let mut first_needed = None;
        for group in groups.groups {
            let mut pending = command("XPENDING");
            pending.arg(&results).arg(&group.name);
            // [count, smallest id, greatest id, consumers]
            let summary: Vec<Value> = self.connection().query(&pending).await?;
            let smallest = match summary.get(1) {
                Some(Value::BulkString(id)) => String::from_utf8_lossy(id).into_owned(),
                _ => group.last_delivered_id,
            };
            let needed = smallest.split('-').next().and_then(|ms| ms.parse().ok()).unwrap_or(0);
            first_needed = Some(first_needed.map_or(needed, |known: u64| known.min(needed)));
        }
        Ok(first_needed)
    }

    async fn trim_dead(&self, before_ms: u64) -> Result<(), QueueError> {
        loop {
            let mut old = command("ZRANGE");
            old.arg(self.keys().dead()).arg("-inf").arg(before_ms);
            old.arg(&["BYSCORE", "LIMIT", "0"]).arg(DEAD_BATCH);
            let old: Vec<String> = self.connection().query(&old).await?;
            if old.is_empty() {
                return Ok(());
            }
            let mut remove = command("ZREM");
            remove.arg(self.keys().dead()).arg(&old);
            let _removed: u64 = self.connection().query(&remove).await?;
            if old.len() < DEAD_BATCH {
                return Ok(());
            }
        }
    }
}
