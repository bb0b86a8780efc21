//! The whole queue at a glance, in one round trip of counts.

use std::collections::{BTreeMap, BTreeSet};

use redis::Value;

use super::breaker::{StageState, StageView};
use super::by_hand::{Text, Whole};
use super::error::QueueError;
use super::handle::Queue;
use super::heartbeat::SILENT_AFTER;
use super::wire::{Values, milliseconds};
use crate::job::{PerStage, Stage};

/// Counts of a queue at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stats {
    /// Entries on the inbox stream that no worker has admitted yet.
    pub inbox: u64,
    /// Jobs waiting for their submit.
    pub waiting: u64,
    /// Of these, due now.
    pub waiting_due: u64,
    /// Jobs whose POST was never answered.
    pub unconfirmed: u64,
    /// Jobs waiting for their next status check.
    pub polling: u64,
    /// Of these, due now.
    pub polling_due: u64,
    /// Jobs in a worker's hands.
    pub leased: u64,
    /// Jobs that ended `failed` or `expired` and are still kept.
    pub dead: u64,
    /// Entries on the result stream.
    pub results: u64,
    /// Entries kept aside as invalid or conflicting.
    pub rejected: u64,
    /// Workers that have beaten lately.
    pub workers: u64,
    /// Those of them whose calls fail while those of others are answered, and why.
    pub ill: BTreeMap<String, String>,
    /// Why the queue is paused, if it is.
    pub paused: Option<String>,
    /// What holds each stage back, if anything does.
    pub stages: PerStage<StageView>,
    /// How late the oldest due submit is, in milliseconds.
    pub oldest_submit_ms: u64,
    /// How late the oldest due status check is, in milliseconds.
    pub oldest_poll_ms: u64,
    /// Running totals since the queue began.
    pub counters: BTreeMap<String, u64>,
    /// By group of result readers: how long ago the oldest result was published that it has not
    /// acknowledged, in milliseconds.
    pub result_groups_ms: BTreeMap<String, u64>,
}

impl Stats {
    /// What waits to be done now: the inbox and all that is due.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        self.inbox + self.waiting_due + self.polling_due
    }
}

/// Reads the fields of a stage's hash, as they are asked for: state, reason, since, next-probe.
fn stage_view([state, reason, since, next_probe]: [Option<Text>; 4], now_ms: u64) -> StageView {
    // What somebody wrote there by hand may be no time.
    let time = |text: Option<Text>| text.and_then(|text| text.0.parse().ok());
    StageView {
        state: StageState::parse(&state.unwrap_or_default().0),
        reason: reason.unwrap_or_default().0,
        since: time(since),
        next_probe: time(next_probe).filter(|at| *at > now_ms),
    }
}

/// The head of a sorted set: at most one member with its score.
type Head = Vec<(Text, Whole)>;

impl Queue {
    /// Counts the queue.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn stats(&self) -> Result<Stats, QueueError> {
        let keys = self.keys();
        let server_time = self.server_time().await?;
        let now = server_time.0;
        let ages = self.results_groups().await?.into_iter().map(|group| {
            let age = group.oldest_unacknowledged.map_or(0, |at| server_time.since(at));
            (group.name, age)
        });
        let result_groups_ms = ages.collect();
        let mut pipeline = redis::pipe();
        let alive_since = now.saturating_sub(milliseconds(SILENT_AFTER));
        pipeline.zrangebyscore(keys.workers(), alive_since, "+inf").hgetall(keys.named("ill"));
        pipeline.xlen(keys.jobs());
        for place in ["submit", "unconfirmed", "poll", "leases", "dead"] {
            pipeline.zcard(keys.named(place));
        }
        pipeline.xlen(keys.results()).xlen(keys.rejected());
        for stage in Stage::ALL {
            let place = keys.named(stage.as_str());
            pipeline.zcount(&place, "-inf", now).zrange_withscores(&place, 0, 0);
        }
        pipeline.get(keys.named("paused")).hgetall(keys.named("counters"));
        for stage in Stage::ALL {
            let fields = &["state", "reason", "since", "next-probe"];
            pipeline.hmget(keys.named(&format!("stage:{stage}")), fields);
        }
        let mut replies = Values::new(self.connection().pipeline::<Vec<Value>>(&pipeline).await?);
        let (alive, ill): (BTreeSet<Text>, BTreeMap<Text, Text>) =
            (replies.take()?, replies.take()?);
        let late = |head: Head| head.first().map_or(0, |(_, due)| now.saturating_sub(due.0));
        Ok(Stats {
            workers: u64::try_from(alive.len()).unwrap_or_default(),
            ill: ill
                .into_iter()
                .filter(|(worker, _)| alive.contains(worker))
                .map(|(worker, why)| (worker.0, why.0))
                .collect(),
            inbox: replies.take()?,
            waiting: replies.take()?,
            unconfirmed: replies.take()?,
            polling: replies.take()?,
            leased: replies.take()?,
            dead: replies.take()?,
            results: replies.take()?,
            rejected: replies.take()?,
            waiting_due: replies.take()?,
            oldest_submit_ms: late(replies.take()?),
            polling_due: replies.take()?,
            oldest_poll_ms: late(replies.take()?),
            paused: replies.take::<Option<Text>>()?.map(|reason| reason.0),
            counters: replies
                .take::<BTreeMap<Text, Whole>>()?
                .into_iter()
                .map(|(name, total)| (name.0, total.0))
                .collect(),
            stages: PerStage {
                submit: stage_view(replies.take()?, now),
                poll: stage_view(replies.take()?, now),
            },
            result_groups_ms,
        })
    }
}
