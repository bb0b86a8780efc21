//! Whether a worker works: which role has ended, when its loops last turned and when Redis last
//! answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::api_health::Health;
use crate::job::{Millis, PerStage};
use crate::queue::{QueueError, StageState, StageView};

/// A loop that has not turned for so long, while Redis answers, is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// Without an answer for so long, Redis is away.
const AWAY_AFTER: Duration = Duration::from_secs(5);

/// A role that ended although nobody had told the worker to stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the role {name} ended: {why}")]
pub struct RoleEnded {
    /// Which role.
    pub name: &'static str,
    /// How it ended.
    pub why: String,
}

/// Shared by all loops of a worker. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Watchdog {
    inner: Arc<Mutex<Inner>>,
    /// The first role that ended early.
    ended: watch::Sender<Option<RoleEnded>>,
}

#[derive(Debug, Default)]
struct Inner {
    loops: BTreeMap<&'static str, Instant>,
    redis_answered: Option<Instant>,
    /// Why it has not answered since, as far as it is known.
    redis_error: Option<String>,
    paused: bool,
    /// Rights that the Redis user lacks.
    lacking: Vec<String>,
    stages: PerStage<StageView>,
    /// Of a worker: how its calls fare.
    health: Option<Arc<Health>>,
    /// The server's time when the stages were seen.
    seen_at: Option<Millis>,
    stopping: bool,
}

/// One loop's entry.
#[derive(Clone, Debug)]
pub(crate) struct LoopWatch {
    watchdog: Watchdog,
    name: &'static str,
}

impl LoopWatch {
    /// The loop has turned.
    pub(crate) fn turned(&self) {
        self.watchdog.lock().loops.insert(self.name, Instant::now());
    }
}

impl Watchdog {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn watch(&self, name: &'static str) -> LoopWatch {
        let loop_watch = LoopWatch { watchdog: self.clone(), name };
        loop_watch.turned();
        loop_watch
    }

    /// Says whether the queue was paused at the last answer.
    pub(crate) fn redis_answered(&self, paused: bool) -> bool {
        let mut inner = self.lock();
        inner.redis_answered = Some(Instant::now());
        inner.redis_error = None;
        std::mem::replace(&mut inner.paused, paused)
    }

    /// Redis gave this error instead of an answer.
    pub(crate) fn redis_away(&self, error: &QueueError) {
        self.lock().redis_error = Some(error.to_string());
    }

    /// How the stages were at this time of the server.
    pub(crate) fn stages_seen(&self, stages: PerStage<StageView>, now: Millis) {
        let mut inner = self.lock();
        (inner.stages, inner.seen_at) = (stages, Some(now));
    }

    /// Whom to ask whether the fault is this worker's own.
    pub(crate) fn asks(&self, health: Arc<Health>) {
        self.lock().health = Some(health);
    }

    fn own_fault(&self) -> Option<String> {
        let health = self.lock().health.clone();
        health.and_then(|health| health.own_fault())
    }

    pub(crate) fn lacks(&self, rights: Vec<String>) {
        self.lock().lacking = rights;
    }

    pub(crate) fn stopping(&self) {
        self.lock().stopping = true;
    }

    /// A role has ended while the worker ran.
    pub(crate) fn role_ended(&self, ended: RoleEnded) {
        self.ended.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(ended);
            is_first
        });
    }

    /// Returns when a role has ended early.
    pub(crate) async fn role_has_ended(&self) {
        // Never an error: there is a sender in our own hands.
        let _ = self.ended.subscribe().wait_for(Option::is_some).await;
    }

    /// The first role that ended although nobody had told the worker to stop.
    #[must_use]
    pub fn ended(&self) -> Option<RoleEnded> {
        self.ended.borrow().clone()
    }

    /// What is wrong with this process itself, in words; `None`: nothing that a restart would heal.
    #[must_use]
    pub fn illness(&self) -> Option<String> {
        let stuck = self.stuck();
        let stuck = (!stuck.is_empty()).then(|| format!("stuck: {}", stuck.join(", ")));
        let ended = self.ended().map(|it| it.to_string());
        let all: Vec<String> = ended.into_iter().chain(stuck).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// The loops that are stuck although Redis answers.
    #[must_use]
    pub fn stuck(&self) -> Vec<&'static str> {
        if !self.redis_is_there() {
            return Vec::new();
        }
        let ages = self.loop_ages();
        ages.into_iter().filter(|(_, age)| *age > STUCK_AFTER).map(|(name, _)| name).collect()
    }

    /// How long ago each loop turned.
    #[must_use]
    pub fn loop_ages(&self) -> Vec<(&'static str, Duration)> {
        self.lock().loops.iter().map(|(name, at)| (*name, at.elapsed())).collect()
    }

    /// Whether Redis has answered lately.
    #[must_use]
    pub fn redis_is_there(&self) -> bool {
        self.lock().redis_answered.is_some_and(|at| at.elapsed() < AWAY_AFTER)
    }

    /// Why this process cannot work, in words; `None`: Redis answers and lets it do all that it has
    /// to, and it is not stopping, nor about to.
    #[must_use]
    pub fn unreadiness(&self) -> Option<String> {
        let lacking = self.lock().lacking.join("; ");
        if !self.redis_is_there() {
            let error = self.lock().redis_error.clone();
            Some(error.unwrap_or_else(|| "Redis does not answer".to_owned()))
        } else if !lacking.is_empty() {
            Some(format!("the Redis user lacks rights: {lacking}"))
        } else if let Some(why) = self.own_fault() {
            Some(format!("the API answers other workers and not this one: {why}"))
        } else {
            (self.lock().stopping || self.ended().is_some()).then(|| "stopping".to_owned())
        }
    }

    /// What keeps the stages from working as they would, as of the last beat: one item a stage,
    /// such as `submit: halted for 4 s (403: forbidden)`: until it is tried again.
    #[must_use]
    pub fn hindrances(&self) -> Vec<String> {
        let inner = self.lock();
        let paused = inner.paused.then(|| "submit: paused".to_owned());
        let closed = inner.stages.iter().filter_map(|(stage, view)| {
            let StageView { state, reason, .. } = view;
            let again_in = view.again_in(inner.seen_at?);
            let seconds = again_in.as_millis().div_ceil(1000);
            let wait = if seconds > 0 { format!(" for {seconds} s") } else { String::new() };
            (*state != StageState::Open).then(|| format!("{stage}: {state}{wait} ({reason})"))
        });
        paused.into_iter().chain(closed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_is_stuck_only_while_redis_answers() {
        let watchdog = Watchdog::default();
        watchdog.watch("intake").turned();
        tokio::time::advance(STUCK_AFTER + Duration::from_secs(1)).await;
        assert_eq!(watchdog.stuck(), Vec::<&str>::new());
        assert!(watchdog.unreadiness().is_some());
        watchdog.redis_answered(false);
        assert_eq!(watchdog.stuck(), vec!["intake"]);
        assert_eq!(watchdog.illness().as_deref(), Some("stuck: intake"));
        assert_eq!(watchdog.unreadiness(), None);
        watchdog.lacks(vec!["XADD on results".to_owned()]);
        let lacks = "the Redis user lacks rights: XADD on results";
        assert_eq!(watchdog.unreadiness().as_deref(), Some(lacks));
    }
}
