//! Keeps streams and the dead list from growing for ever: by age, never by what is still needed.

use std::time::Duration;

use super::error::QueueError;
use super::handle::RuledQueue;
use super::wire::{command, milliseconds};

/// How long rejected entries are kept.
const REJECTED_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How many dead entries are removed at a time.
const DEAD_BATCH: usize = 1000;

impl RuledQueue {
    /// Lets go of what is old enough.
    ///
    /// # Errors
    /// What the server answered; repeating the call is safe.
    pub async fn trim(&self) -> Result<(), QueueError> {
        let now = self.server_time().await?;
        let before = |age| now.0.saturating_sub(milliseconds(age));
        let groups = self.results_groups().await?;
        // Without any group nobody has acknowledged anything.
        let acknowledged = if groups.is_empty() { 0 } else { before(self.rules.results_retention) };
        let needed = groups.into_iter().filter_map(|group| group.oldest_unacknowledged).min();
        let needed = needed.map_or(u64::MAX, |published| published.0);
        let results = before(self.rules.results_max_age).max(acknowledged.min(needed));
        let rejected = before(REJECTED_MAX_AGE);
        for (stream, oldest) in
            [(self.keys().results(), results), (self.keys().rejected(), rejected)]
        {
            self.trim_stream(&stream, oldest).await?;
        }
        self.trim_dead(before(self.rules.failed_retention)).await
    }

    /// Removes the entries before this time, whole nodes only, a bounded number at a time.
    async fn trim_stream(&self, stream: &str, before_ms: u64) -> Result<(), QueueError> {
        loop {
            let mut trim = command("XTRIM");
            trim.arg(stream).arg(&["MINID", "~"]).arg(before_ms);
            if self.connection().query::<u64>(&trim).await? == 0 {
                return Ok(());
            }
        }
    }

    async fn trim_dead(&self, before_ms: u64) -> Result<(), QueueError> {
        loop {
            let mut old = command("ZRANGE");
            old.arg(self.keys().dead()).arg("-inf").arg(before_ms);
            old.arg(&["BYSCORE", "LIMIT", "0"]).arg(DEAD_BATCH);
            let old: Vec<Vec<u8>> = self.connection().query(&old).await?;
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
