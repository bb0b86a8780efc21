//! Beats and recoveries: who is alive, and what the dead held (`lua/tick.lua`, `lua/reclaim.lua`).

use std::time::Duration;

use redis::Value;

use super::admit::milliseconds;
use super::breaker::{StageState, StageView};
use super::by_hand::Text;
use super::claim::{CLAIM_BATCH, Retention, SubmitRules, Values};
use super::error::QueueError;
use super::keys::Keys;
use super::scripts::{Call, Name};

/// A worker that has not beaten for so long counts as dead.
pub const SILENT_AFTER: Duration = Duration::from_secs(4);

/// A submit that ended its worker so often, without a settlement between, fails.
pub const MAX_RECOVERIES: u32 = 5;

/// What a beat brings back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tick {
    /// Whether the queue is paused.
    pub paused: bool,
    /// How long until a submit is due; `None`: none waits.
    pub submit_in: Option<Duration>,
    /// How long until a status check is due; `None`: none waits.
    pub poll_in: Option<Duration>,
    /// The submit stage.
    pub submit: StageView,
    /// The poll stage.
    pub poll: StageView,
    /// The server's clock.
    pub clock: ServerClock,
    /// Workers that have not beaten for [`SILENT_AFTER`].
    pub silent: Vec<String>,
}

/// What the beats saw of the server's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerClock {
    /// It goes on.
    #[default]
    Steady,
    /// It had gone back; all that an earlier clock had set is pulled in.
    WentBack,
    /// It has gone back, and there is more to be pulled in: beat again at once.
    PullingIn,
}

/// Whose leases to take back.
#[derive(Clone, Copy, Debug)]
pub enum Lost<'a> {
    /// Those that have run out.
    Overdue,
    /// Those of a dead worker; `skip` leases of the living have been passed over.
    Worker {
        /// Its name.
        name: &'a str,
        /// How many leases were looked at and left.
        skip: usize,
    },
}

/// What one call took back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Jobs taken back.
    pub taken: usize,
    /// Of these, jobs that ended `failed`, `crash-loop`.
    pub failed: u64,
    /// Leases looked at; fewer than a full batch means that these were the last.
    pub seen: usize,
    /// What was taken out of `leases` since it has no record, or has ended.
    pub quarantined: Vec<String>,
}

impl Reclaimed {
    /// Whether there may be more.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.seen == CLAIM_BATCH
    }
}

/// The longest that anything waits, by which times are judged that an earlier clock of the server
/// has set.
#[derive(Clone, Copy, Debug)]
pub struct LongestWaits {
    /// `queue.lease`.
    pub lease: Duration,
    /// Before a submit, or a probe of that stage: `submit.backoff_max`.
    pub submit: Duration,
    /// Before a submit that is sent again: `submit.unconfirmed_grace`.
    pub unconfirmed: Duration,
    /// Before a check, or a probe of that stage: `poll.max`, or `poll.first` if that is longer.
    pub poll: Duration,
}

/// Builds a beat.
pub(crate) fn tick_call(
    keys: &Keys,
    now_ms: Option<u64>,
    worker: &str,
    waits: LongestWaits,
) -> Call {
    Call::new(Name::Tick, keys, now_ms)
        .arg(worker)
        .arg(milliseconds(SILENT_AFTER))
        .arg(milliseconds(waits.lease))
        .arg(milliseconds(waits.submit))
        .arg(milliseconds(waits.unconfirmed))
        .arg(milliseconds(waits.poll))
}

/// Reads the reply of [`tick_call`].
pub(crate) fn read_tick(reply: Vec<Value>) -> Result<Tick, QueueError> {
    let mut values = Values(reply.into_iter());
    let now: u64 = values.take()?;
    let paused: u8 = values.take()?;
    let mut due = || -> Result<Option<Duration>, QueueError> {
        let at: Option<u64> = values.take_if_given()?;
        Ok(at.map(|at| Duration::from_millis(at.saturating_sub(now))))
    };
    let (submit, unconfirmed, poll_in) = (due()?, due()?, due()?);
    let submit_in = match (submit, unconfirmed) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    let mut stage = || -> Result<StageView, QueueError> {
        let state = StageState::parse(&values.take::<String>()?);
        let reason = values.take::<Text>()?.0;
        let again_at: u64 = values.take()?;
        Ok(StageView {
            state,
            reason,
            again_in: Duration::from_millis(again_at.saturating_sub(now)),
        })
    };
    let (submit, poll) = (stage()?, stage()?);
    let clock = match values.take::<u8>()? {
        0 => ServerClock::Steady,
        1 => ServerClock::WentBack,
        _ => ServerClock::PullingIn,
    };
    let mut silent = Vec::new();
    while values.0.len() > 0 {
        silent.push(values.take()?);
    }
    Ok(Tick { paused: paused == 1, submit_in, poll_in, submit, poll, clock, silent })
}

/// Builds a recovery.
pub(crate) fn reclaim_call(
    keys: &Keys,
    now_ms: Option<u64>,
    lost: Lost<'_>,
    rules: SubmitRules,
    retention: Retention,
) -> Call {
    let (dead, skip) = match lost {
        Lost::Overdue => ("", 0),
        Lost::Worker { name, skip } => (name, skip),
    };
    Call::new(Name::Reclaim, keys, now_ms)
        .arg(dead)
        .arg(skip)
        .arg(CLAIM_BATCH)
        .arg(milliseconds(rules.grace))
        .arg(rules.max_resends)
        .arg(milliseconds(rules.max_age))
        .arg(MAX_RECOVERIES)
        .retention(retention)
        .arg(milliseconds(SILENT_AFTER))
}

/// Builds the call that forgets a worker.
pub(crate) fn forget_call(keys: &Keys, now_ms: Option<u64>, worker: &str) -> Call {
    Call::new(Name::Forget, keys, now_ms).arg(worker)
}
