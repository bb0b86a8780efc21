//! Notices when the API as a whole refuses, fails or limits, tells the fleet, and notices when it
//! is well again (docs/contract.md, section 7).
//!
//! One breaker per stage and process. A run of bad signs is counted here ([`Runs`]); what follows from
//! it is in Redis, for all workers: one worker's discovery stops all, one probe releases all. Where
//! others are well, the fault is this worker's own, and stops nobody else. A call's signal is noted at
//! once, and told to the others only when what the call came to is written.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::runs::{Caller, Runs, Sign};
use super::{Health, SlowStart};
use crate::job::backoff::Backoff;
use crate::job::{ApiSignal, JobId, Millis, Stage};
use crate::queue::{BreakerEvent, Report, Reported, RuledQueue, StageState, StageView};

/// A worker whose fault is its own tries again after this time at the latest.
const LONGEST_HOLD: Duration = Duration::from_secs(15);
/// So many faults in a row keep a worker from more than one call; while others are well they are its own.
const FAULTS_TO_FALL_ILL: u32 = 3;
/// Calls in flight of a worker that finds no way to the API, or whose fault is its own.
const WITHOUT_A_WAY: u32 = 1;

/// See the module.
#[derive(Debug)]
pub(crate) struct Breaker {
    stage: Stage,
    queue: RuledQueue,
    worker: Arc<str>,
    /// The wait before the first probe, and the longest; lua/breaker.lua doubles it between.
    backoff: Backoff,
    slow_start: SlowStart,
    health: Arc<Health>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// As last seen.
    state: StageState,
    /// What a call has found and the others are still to be told.
    found: Option<StageState>,
    /// As last said in the log.
    said: StageState,
    runs: Runs,
    /// What keeps the places of calls that found no way to the API.
    hold: Hold,
}

/// For how long calls keep their places: those of one burst for one wait, the next for twice as long.
#[derive(Debug, Default)]
struct Hold {
    until: Option<Instant>,
    /// Since the last good answer.
    times: u32,
}

impl Inner {
    fn saw(&mut self, state: StageState) {
        if self.state >= StageState::Broken && state < StageState::Broken {
            self.runs.reopened();
            self.hold.times = 0;
        }
        self.state = state;
    }
}

/// What a call found out about the API, for the other workers.
#[derive(Debug)]
pub(crate) struct Discovery {
    sign: Sign,
    /// `None`: it was the status check that comes before a POST.
    job: Option<JobId>,
    /// In words.
    reason: String,
}

/// What the breaker knows that bears on the fate of the job whose call has ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    /// The stage is halted: no job may end by what the API answers to it.
    pub(crate) is_halted: bool,
    /// The fault is this worker's own: what it is answered judges no job.
    pub(crate) is_ill: bool,
    /// The call was to find out how the API is.
    pub(crate) is_probe: bool,
    /// How long ago any check of the fleet was understood.
    pub(crate) understood_ago: Option<Duration>,
}

impl Breaker {
    pub(crate) fn new(
        stage: Stage,
        queue: RuledQueue,
        worker: Arc<str>,
        backoff: Backoff,
        slow_start: SlowStart,
        health: Arc<Health>,
    ) -> Self {
        let (state, said) = Default::default();
        let (runs, hold) = (Runs::new(stage), Hold::default());
        let inner = Mutex::new(Inner { state, found: None, said, runs, hold });
        Self { stage, queue, worker, backoff, slow_start, health, inner }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stage as a beat found it at this time.
    pub(crate) fn saw(&self, view: &StageView, now: Millis) {
        self.found(view.state, &view.reason, view.again_in(now));
    }

    /// Takes in the stage's state, and says it in the log when it is another than before.
    fn found(&self, state: StageState, reason: &str, again_in: Duration) {
        self.saw_state(state);
        if std::mem::replace(&mut self.inner().said, state) == state {
            return;
        }
        let stage = self.stage;
        if state == StageState::Open {
            tracing::info!("{stage}: open again");
        } else {
            let again_in = format!("{:.1} s", again_in.as_secs_f64());
            tracing::warn!(reason, again_in, "{stage}: {state}, for all workers");
        }
    }

    /// The stage's state, as a claim brought it.
    pub(crate) fn saw_state(&self, state: StageState) {
        if state >= StageState::Broken {
            self.slow_start.narrow();
        }
        self.inner().saw(state);
    }

    /// What bears on the fate of a job whose call has ended; `probe` as for [`Breaker::note`].
    pub(crate) fn standing(&self, probe: Option<StageState>) -> Standing {
        let inner = self.inner();
        let state = inner.found.unwrap_or(inner.state);
        Standing {
            is_halted: state == StageState::Halted,
            is_ill: self.health.is_ill(self.stage),
            is_probe: probe.is_some_and(|it| it >= StageState::Broken),
            understood_ago: self.health.understood_ago(),
        }
    }

    /// A call has ended, with this signal, in words `why`. `probe` is the state of the closed stage
    /// that the call was to probe. Returns what is to be told to the other workers.
    pub(crate) fn note(
        &self,
        caller: Caller<'_>,
        signal: ApiSignal,
        why: &str,
        probe: Option<StageState>,
    ) -> Option<Discovery> {
        if signal == ApiSignal::Alive {
            self.health.good(self.stage);
        }
        let mut inner = self.inner();
        if signal == ApiSignal::Alive {
            inner.hold.times = 0;
        }
        let state = probe.unwrap_or(inner.state);
        let noted = inner.runs.note(caller, signal, state, probe.is_some());
        self.slow_start.ended(noted.clean);
        if signal.is_callers() && inner.runs.length() >= FAULTS_TO_FALL_ILL {
            self.slow_start.narrow_to(WITHOUT_A_WAY);
            if self.health.others_are_well() {
                self.health.fell_ill(self.stage, why);
            }
        }
        let sign = noted.sign?;
        inner.found = state_after(sign.event).or(inner.found);
        Some(Discovery { sign, job: Some(caller.id.clone()), reason: why.to_owned() })
    }

    /// The fault is this worker's own.
    fn fall_ill(&self, why: &str) {
        self.health.fell_ill(self.stage, why);
        self.slow_start.narrow_to(WITHOUT_A_WAY);
    }

    /// The status check that was to come before a POST has ended; an error says why it was in vain.
    pub(crate) async fn checked(&self, answered: Result<(), String>) {
        let (event, reason) = match answered {
            Ok(()) => (BreakerEvent::Answers, String::new()),
            Err(why) => (BreakerEvent::ProbeFailed, why),
        };
        self.tell(Discovery { sign: Sign::of(event), job: None, reason }).await;
    }

    /// For how long a call that ended with this signal keeps its place, since its job is another's at
    /// once: a worker that finds no way to the API does not run through all jobs; not if it was a `probe`.
    pub(crate) fn hold(&self, signal: ApiSignal, probe: Option<StageState>) -> Option<Duration> {
        let bad = !matches!(signal, ApiSignal::Alive | ApiSignal::Answered | ApiSignal::Nothing);
        let holds = signal.is_callers() || bad && self.health.is_ill(self.stage);
        (holds && probe.is_none()).then(|| {
            let (hold, now) = (&mut self.inner().hold, Instant::now());
            if let Some(left) = hold.until.and_then(|until| until.checked_duration_since(now)) {
                return left;
            }
            let wait = self.backoff.delay(hold.times).min(LONGEST_HOLD);
            (hold.until, hold.times) = (Some(now + wait), hold.times.saturating_add(1));
            wait
        })
    }

    /// Tells the other workers, which takes time while Redis is slow.
    pub(crate) async fn tell(&self, discovery: Discovery) {
        let Discovery { sign, job, reason } = discovery;
        let stage = self.stage;
        let (asked, at_most) = sign.waits.unwrap_or((Duration::ZERO, self.backoff.max));
        // A limit that only lowers the rate asks for no wait.
        let at_once =
            sign.event == BreakerEvent::Limited && asked.is_zero() && sign.waits.is_some();
        let wait = if at_once { Duration::ZERO } else { self.backoff.delay(0).max(asked) };
        let (run_for, good_ago) = {
            let inner = self.inner();
            (inner.runs.lasts(), inner.runs.good_ago())
        };
        let report = Report {
            stage,
            event: sign.event,
            reason: &reason,
            wait,
            wait_at_most: at_most,
            job: job.as_ref(),
            worker: &self.worker,
            run_for,
            good_ago,
            witnesses: sign.witnesses,
            may_have_bought: sign.may_have_bought,
            may_stay: sign.may_stay,
            pairs: &sign.pairs,
        };
        let told = self.queue.report(report).await;
        self.inner().found = None;
        match (told, state_after(sign.event)) {
            // What this process has just changed, it need not be told.
            (Ok(Reported::Changed), Some(state)) => self.found(state, &reason, wait),
            (Ok(Reported::Own), _) => {
                self.fall_ill(&reason);
            }
            (Ok(_), _) => {}
            // The next call that ends brings the same again.
            (Err(error), _) => tracing::warn!(%error, "{stage}: could not tell the other workers"),
        }
    }
}

/// The state that a stage has after this event; `None`: the one it had.
fn state_after(event: BreakerEvent) -> Option<StageState> {
    match event {
        BreakerEvent::Halted => Some(StageState::Halted),
        BreakerEvent::Broken => Some(StageState::Broken),
        BreakerEvent::Limited => Some(StageState::Limited),
        BreakerEvent::Alive => Some(StageState::Open),
        BreakerEvent::ProbeFailed | BreakerEvent::Answers | BreakerEvent::Hurried => None,
    }
}
