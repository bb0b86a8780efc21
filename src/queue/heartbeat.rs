//! A worker's heartbeat: who is alive, what is due, how the stages are (`lua/tick.lua`).

use std::time::Duration;

use redis::Value;

use super::breaker::{StageState, StageView};
use super::by_hand::Text;
use super::error::QueueError;
use super::handle::RuledQueue;
use super::scripts::{Call, Name};
use super::wire::{Values, milliseconds, or_nothing};
use crate::job::{Millis, PerStage};

/// A worker that has not beaten for so long counts as dead.
pub const SILENT_AFTER: Duration = Duration::from_secs(4);

/// What a worker says with a beat.
#[derive(Clone, Debug)]
pub struct Beat<'a> {
    /// Its name.
    pub worker: &'a str,
    /// How long ago it had a good answer of the API; `None`: never.
    pub good_ago: PerStage<Option<Duration>>,
    /// What is wrong with it alone, in words.
    pub ill: Option<&'a str>,
}

impl<'a> Beat<'a> {
    /// The beat of a worker that has nothing to say.
    #[must_use]
    pub fn of(worker: &'a str) -> Self {
        Self { worker, good_ago: PerStage::default(), ill: None }
    }
}

/// What a beat brings back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// The server's time.
    pub now: Millis,
    /// Whether the queue is paused.
    pub paused: bool,
    /// How long until a job of each stage is due; `None`: none waits.
    pub due_in: PerStage<Option<Duration>>,
    /// How each stage is.
    pub stages: PerStage<StageView>,
    /// The server's clock.
    pub clock: ServerClock,
    /// How long ago a check of any worker was understood; `None`: not lately.
    pub understood_ago: Option<Duration>,
    /// How long ago another worker had a good answer; `None`: never.
    pub others_good_ago: Option<Duration>,
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

impl RuledQueue {
    /// Says that a worker lives, and learns what is due and who has fallen silent.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn tick(&self, beat: Beat<'_>) -> Result<Tick, QueueError> {
        let rules = &self.rules;
        let call = Call::new(Name::Tick, &self.keys, self.now_ms)
            .arg(beat.worker)
            .arg(milliseconds(SILENT_AFTER))
            .arg(milliseconds(rules.lease))
            .arg(milliseconds(rules.backoff_max))
            .arg(milliseconds(rules.unconfirmed_grace))
            .arg(milliseconds(rules.poll_max))
            .arg(milliseconds(rules.max_age))
            .arg(or_nothing(beat.good_ago.submit))
            .arg(or_nothing(beat.good_ago.poll))
            .arg(beat.ill.unwrap_or_default());
        read_tick(self.connection.call(&call).await?)
    }

    /// Forgets a worker that has gone. One with entries pending is kept, so that they are taken
    /// over first.
    ///
    /// # Errors
    /// What the server answered; repeating the call is safe.
    pub async fn forget_worker(&self, worker: &str) -> Result<(), QueueError> {
        let call = Call::new(Name::Forget, &self.keys, self.now_ms).arg(worker);
        let _forgotten: bool = self.connection.call(&call).await?;
        Ok(())
    }
}

/// Reads the reply of `lua/tick.lua`.
fn read_tick(reply: Vec<Value>) -> Result<Tick, QueueError> {
    let mut values = Values::new(reply);
    let now: u64 = values.take()?;
    let paused: u8 = values.take()?;
    let mut due = || -> Result<Option<Duration>, QueueError> {
        let at: Option<u64> = values.take_if_given()?;
        Ok(at.map(|at| Duration::from_millis(at.saturating_sub(now))))
    };
    let (submit, unconfirmed, poll) = (due()?, due()?, due()?);
    let submit = match (submit, unconfirmed) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    let mut stage = || -> Result<StageView, QueueError> {
        let state = StageState::parse(&values.take::<String>()?);
        let reason = values.take::<Text>()?.0;
        let next_probe = Some(values.take()?).filter(|at| *at > now);
        Ok(StageView { state, reason, since: None, next_probe })
    };
    let stages = PerStage { submit: stage()?, poll: stage()? };
    let clock = match values.take::<u8>()? {
        0 => ServerClock::Steady,
        1 => ServerClock::WentBack,
        _ => ServerClock::PullingIn,
    };
    let mut ago = || -> Result<Option<Duration>, QueueError> {
        let ms: Option<u64> = values.take_if_given()?;
        Ok(ms.map(Duration::from_millis))
    };
    let (understood_ago, others_good_ago) = (ago()?, ago()?);
    let mut silent = Vec::new();
    while values.len() > 0 {
        silent.push(values.take()?);
    }
    let due_in = PerStage { submit, poll };
    let (now, paused) = (Millis(now), paused == 1);
    Ok(Tick { now, paused, due_in, stages, clock, understood_ago, others_good_ago, silent })
}
