//! A stage that is closed (halted, broken or limited) for the whole fleet (`lua/breaker.lua`,
//! `lua/lib/gate.lua`).

use std::fmt;
use std::time::Duration;

use super::error::QueueError;
use super::handle::RuledQueue;
use super::scripts::{Call, Name};
use super::wire::{command, milliseconds, or_nothing};
use crate::job::{JobId, Millis, Stage};

/// Stands for a job's id where the status check that comes before a POST is meant (`lua/breaker.lua`).
const STATUS_CHECK: &str = "check";

/// Whether a stage makes calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageState {
    /// It does.
    #[default]
    Open,
    /// After a 429 none for a while, then fewer a second.
    Limited,
    /// The API does not work: a probe now and then.
    Broken,
    /// The API refuses us: a probe now and then, and no job ends by it.
    Halted,
}

impl StageState {
    /// Every state in which calls are held back, the lightest first.
    pub const CLOSED: [Self; 3] = [Self::Limited, Self::Broken, Self::Halted];

    /// The word in the stage's hash.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Limited => "limited",
            Self::Broken => "broken",
            Self::Halted => "halted",
        }
    }

    /// Reads the word, which is absent or empty while the stage is open. For the scripts every other
    /// word closes the stage, so one that somebody wrote by hand counts as broken.
    pub(super) fn parse(word: &str) -> Self {
        let known = Self::CLOSED.into_iter().find(|state| state.as_str() == word);
        known.unwrap_or(if word.is_empty() { Self::Open } else { Self::Broken })
    }
}

impl fmt::Display for StageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A stage as its hash shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StageView {
    /// Whether it makes calls.
    pub state: StageState,
    /// Why not, in words; empty when it does.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Since when it does not, in Unix ms. A heartbeat does not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// When it is tried again, in Unix ms; `None` when that is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_probe: Option<u64>,
}

impl StageView {
    /// How long until it is tried again.
    #[must_use]
    pub fn again_in(&self, now: Millis) -> Duration {
        Duration::from_millis(self.next_probe.map_or(0, |at| Millis(at).since(now)))
    }
}

/// What a call told of the API, for the whole fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerEvent {
    /// It refuses us: halt.
    Halted,
    /// It does not work: break.
    Broken,
    /// It wants to be called less.
    Limited,
    /// A probe found it as it was.
    ProbeFailed,
    /// The status check that was to come before a POST was answered.
    Answers,
    /// It works: open.
    Alive,
    /// Somebody wants it probed now.
    Hurried,
}

impl BreakerEvent {
    fn as_str(self) -> &'static str {
        match self {
            Self::Halted => StageState::Halted.as_str(),
            Self::Broken => StageState::Broken.as_str(),
            Self::Limited => StageState::Limited.as_str(),
            Self::ProbeFailed => "failed",
            Self::Answers => "answered",
            Self::Alive => "alive",
            Self::Hurried => "hurried",
        }
    }
}

/// An event, with what is to be known about it.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// Of which stage.
    pub stage: Stage,
    /// What happened.
    pub event: BreakerEvent,
    /// In words.
    pub reason: &'a str,
    /// How long nothing is tried then; doubled by each probe that fails.
    pub wait: Duration,
    /// The longest that this wait grows to.
    pub wait_at_most: Duration,
    /// Of which job the call was; `None`: it was the status check that comes before a POST.
    pub job: Option<&'a JobId>,
    /// Whose call it was.
    pub worker: &'a str,
    /// How long ago the run of bad signs began.
    pub run_for: Duration,
    /// How long ago this worker last had a good answer in this stage.
    pub good_ago: Option<Duration>,
    /// Whose good answers would show that the fault is this worker's own.
    pub witnesses: Witnesses,
    /// Whether the call may have bought something: then a status check comes before the next POST.
    pub may_have_bought: bool,
    /// Whether the next probe may be of the same job: it surely bought nothing.
    pub may_stay: bool,
    /// The pairs that were refused, one a line.
    pub pairs: &'a str,
}

impl Report<'_> {
    /// The event, without anything else to say.
    #[must_use]
    pub fn of(stage: Stage, event: BreakerEvent) -> Self {
        Self {
            stage,
            event,
            reason: "",
            wait: Duration::ZERO,
            wait_at_most: Duration::ZERO,
            job: None,
            worker: "",
            run_for: Duration::ZERO,
            good_ago: None,
            witnesses: Witnesses::Nobody,
            may_have_bought: false,
            may_stay: false,
            pairs: "",
        }
    }
}

/// Whose good answers show that a fault is a worker's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witnesses {
    /// Nobody's: it is the API that fails.
    Nobody,
    /// Those of other workers in the same stage.
    SameStage,
    /// Those of other workers in any stage.
    AnyStage,
}

impl Witnesses {
    fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "",
            Self::SameStage => "stage",
            Self::AnyStage => "any",
        }
    }
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// It said nothing new.
    Nothing,
    /// The stage has changed.
    Changed,
    /// Others are well: the fault is the reporter's own.
    Own,
}

impl RuledQueue {
    /// Takes the fleet's next turn to fetch a token; between two turns passes the time `apart`.
    /// Says how long to wait before asking again; zero: the turn is taken.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn take_token_turn(&self, apart: Duration) -> Result<Duration, QueueError> {
        let key = self.keys.named("token-turn");
        let mut take = command("SET");
        take.arg(&key).arg("").arg("NX").arg("PX").arg(milliseconds(apart));
        if self.connection.query::<Option<String>>(&take).await?.is_some() {
            return Ok(Duration::ZERO);
        }
        let mut left = command("PTTL");
        left.arg(&key);
        let left_ms: i64 = self.connection.query(&left).await?;
        // Negative when it is gone by now; zero would say that the turn is taken.
        let left =
            u64::try_from(left_ms).map_or(apart, |left_ms| Duration::from_millis(left_ms + 1));
        Ok(left.min(apart))
    }

    /// Has a closed stage probed at once. Says whether it is closed.
    ///
    /// # Errors
    /// What the server answered; repeating the call is safe.
    pub async fn probe_now(&self, stage: Stage) -> Result<bool, QueueError> {
        Ok(self.report(Report::of(stage, BreakerEvent::Hurried)).await? == Reported::Changed)
    }

    /// Closes a stage for the whole fleet, or lets it go on.
    ///
    /// # Errors
    /// What the server answered; repeating the call is safe.
    pub async fn report(&self, report: Report<'_>) -> Result<Reported, QueueError> {
        let call = Call::new(Name::Breaker, &self.keys, self.now_ms)
            .arg(report.stage.as_str())
            .arg(report.event.as_str())
            .arg(report.reason)
            .arg(milliseconds(report.wait))
            .arg(milliseconds(report.wait_at_most))
            .arg(report.job.map_or(STATUS_CHECK, JobId::as_str))
            .arg(milliseconds(self.rules.max_age))
            .arg(report.worker)
            .arg(milliseconds(report.run_for))
            .arg(or_nothing(report.good_ago))
            .arg(report.witnesses.as_str())
            .arg(u8::from(report.may_have_bought))
            .arg(u8::from(report.may_stay))
            .arg(report.pairs);
        Ok(match self.connection.call(&call).await? {
            0 => Reported::Nothing,
            1 => Reported::Changed,
            2 => Reported::Own,
            other => {
                return Err(QueueError::Unexpected(format!("breaker.lua answered {other}")));
            }
        })
    }
}
