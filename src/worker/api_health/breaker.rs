//! Notices when the API as a whole refuses, fails or limits, tells the fleet, and notices when it
//! is well again (docs/contract.md, section 7).
//!
//! One breaker per stage and process. A run of bad signs is counted here; what follows from it is
//! in Redis, for all workers: one worker's discovery stops all, one probe releases all. A call's
//! signal is noted at once, and told to the others only when what the call came to is written.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::SlowStart;
use crate::job::backoff::Backoff;
use crate::job::{ApiSignal, JobId, Millis, Refusal, Stage};
use crate::queue::{BreakerEvent, Report, RuledQueue, StageState, StageView};

/// This many jobs in a row that were refused, or answered strangely, halt the stage.
const JOBS_TO_HALT: usize = 3;
/// This many jobs in a row that were refused with a fresh token halt the stage.
const JOBS_WITHOUT_TOKEN_TO_HALT: usize = 2;
/// A run of this many faults breaks the stage, if it comes from enough jobs.
const FAULTS_TO_BREAK: u32 = 10;
/// The faults of a run must come from at least this many jobs to break the stage.
const JOBS_TO_BREAK: usize = 5;

/// See the module.
#[derive(Debug)]
pub(crate) struct Breaker {
    stage: Stage,
    queue: RuledQueue,
    /// The wait before the first probe, and the longest; lua/breaker.lua doubles it between.
    backoff: Backoff,
    slow_start: SlowStart,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// As last seen.
    state: StageState,
    /// What a call has found and the others are still to be told.
    found: Option<StageState>,
    /// As last said in the log.
    said: StageState,
    runs: Runs,
}

impl Inner {
    fn saw(&mut self, state: StageState) {
        // Somebody found it well: what was seen before says nothing any more.
        if self.state >= StageState::Broken && state < StageState::Broken {
            self.runs = Runs::default();
        }
        self.state = state;
    }
}

/// What a call found out about the API, for the other workers.
#[derive(Debug)]
pub(crate) struct Discovery {
    event: BreakerEvent,
    job: JobId,
    /// In words.
    reason: String,
    /// How long the API wants not to be called.
    asked: Duration,
}

/// Runs of bad signs, since the API last was alive.
#[derive(Debug, Default)]
struct Runs {
    refused: BTreeSet<JobId>,
    without_token: BTreeSet<JobId>,
    strange: BTreeSet<JobId>,
    faults: u32,
    faulty: BTreeSet<JobId>,
}

impl Breaker {
    pub(crate) fn new(
        stage: Stage,
        queue: RuledQueue,
        backoff: Backoff,
        slow_start: SlowStart,
    ) -> Self {
        Self { stage, queue, backoff, slow_start, inner: Mutex::default() }
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

    /// The stage's state as far as this process knows, which may be ahead of the others.
    fn state(&self) -> StageState {
        let inner = self.inner();
        inner.found.unwrap_or(inner.state)
    }

    /// Whether the stage is halted, broken or limited, as far as this process knows.
    pub(crate) fn is_closed(&self) -> bool {
        self.state() != StageState::Open
    }

    /// Whether the stage is halted, as far as this process knows: then no job may end by what the
    /// API answers to it.
    pub(crate) fn is_halted(&self) -> bool {
        self.state() == StageState::Halted
    }

    /// Whether several jobs in a row were refused or unknown to the API: then the fault is hardly
    /// theirs.
    pub(crate) fn refuses_many(&self) -> bool {
        self.inner().runs.refused.len() >= JOBS_TO_HALT
    }

    /// A call has ended, with this signal, in words `why`. `probe` is the state of the halted or broken stage
    /// that the call was to probe. Returns what is to be told to the other workers.
    pub(crate) fn note(
        &self,
        id: &JobId,
        signal: ApiSignal,
        why: &str,
        probe: Option<StageState>,
    ) -> Option<Discovery> {
        self.slow_start.ended(signal == ApiSignal::Alive);
        let mut inner = self.inner();
        let state = probe.unwrap_or(inner.state);
        let event = inner.runs.note(id, signal, state, probe.is_some())?;
        inner.found = state_after(event).or(inner.found);
        let asked = if let ApiSignal::Limited(wait) = signal { wait } else { Duration::ZERO };
        Some(Discovery { event, job: id.clone(), reason: why.to_owned(), asked })
    }

    /// Tells the other workers, which takes time while Redis is slow.
    pub(crate) async fn tell(&self, discovery: Discovery) {
        let Discovery { event, job, reason, asked } = discovery;
        let stage = self.stage;
        let wait = self.backoff.delay(0).max(asked);
        let wait_at_most = self.backoff.max;
        let report = Report { stage, event, reason: &reason, wait, wait_at_most, job: &job };
        let told = self.queue.report(report).await;
        self.inner().found = None;
        match (told, state_after(event)) {
            // What this process has just changed, it need not be told.
            (Ok(true), Some(state)) => self.found(state, &reason, wait),
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
        BreakerEvent::ProbeFailed => None,
    }
}

impl Runs {
    /// What a signal means for the stage, which is in this state.
    fn note(
        &mut self,
        id: &JobId,
        signal: ApiSignal,
        state: StageState,
        is_probe: bool,
    ) -> Option<BreakerEvent> {
        // Calls of a limited stage go on, if more slowly.
        let only_probed = state >= StageState::Broken;
        let unwell = match signal {
            // A probe that found out nothing is followed by another.
            ApiSignal::Nothing => {
                return (is_probe && only_probed).then_some(BreakerEvent::ProbeFailed);
            }
            ApiSignal::Alive => {
                *self = Self::default();
                return only_probed.then_some(BreakerEvent::Alive);
            }
            ApiSignal::Refused(refusal) => {
                self.refused(id, refusal).then_some(BreakerEvent::Halted)
            }
            ApiSignal::Strange => {
                insert(&mut self.strange, id, JOBS_TO_HALT);
                (self.strange.len() >= JOBS_TO_HALT).then_some(BreakerEvent::Halted)
            }
            ApiSignal::Fault => {
                self.faults = self.faults.saturating_add(1);
                insert(&mut self.faulty, id, JOBS_TO_BREAK);
                let broken = self.faults >= FAULTS_TO_BREAK && self.faulty.len() >= JOBS_TO_BREAK;
                broken.then_some(BreakerEvent::Broken)
            }
            ApiSignal::Limited(_) => Some(BreakerEvent::Limited),
        };
        if !matches!(signal, ApiSignal::Fault) {
            self.faults = 0;
            self.faulty.clear();
        }
        if !matches!(signal, ApiSignal::Fault | ApiSignal::Refused(_)) {
            self.refused.clear();
            self.without_token.clear();
        }
        if !matches!(signal, ApiSignal::Fault | ApiSignal::Strange) {
            self.strange.clear();
        }
        // A broken API that says anything at all works again.
        let speaks = state == StageState::Broken && !matches!(signal, ApiSignal::Fault);
        match unwell {
            Some(BreakerEvent::Halted) if state != StageState::Halted => Some(BreakerEvent::Halted),
            _ if speaks => Some(BreakerEvent::Alive),
            _ if is_probe => Some(BreakerEvent::ProbeFailed),
            event if !only_probed => event,
            _ => None,
        }
    }

    /// One more refusal; whether that is enough to halt.
    fn refused(&mut self, id: &JobId, refusal: Refusal) -> bool {
        insert(&mut self.refused, id, JOBS_TO_HALT);
        if refusal == Refusal::Token {
            insert(&mut self.without_token, id, JOBS_WITHOUT_TOKEN_TO_HALT);
        }
        refusal == Refusal::Credentials
            || self.refused.len() >= JOBS_TO_HALT
            || self.without_token.len() >= JOBS_WITHOUT_TOKEN_TO_HALT
    }
}

fn insert(jobs: &mut BTreeSet<JobId>, id: &JobId, enough: usize) {
    if jobs.len() < enough {
        jobs.insert(id.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITED: ApiSignal = ApiSignal::Limited(Duration::ZERO);
    const REFUSED: ApiSignal = ApiSignal::Refused(Refusal::Call);

    fn id(name: &str) -> JobId {
        JobId::new(name).unwrap()
    }

    /// Notes signs of jobs while the stage is open; the event of the last.
    fn last(signs: &[(&str, ApiSignal)]) -> Option<BreakerEvent> {
        let mut runs = Runs::default();
        let mut event = None;
        for (name, signal) in signs {
            event = runs.note(&id(name), *signal, StageState::Open, false);
        }
        event
    }

    #[test]
    fn three_refused_jobs_in_a_row_halt_and_one_accepted_between_does_not() {
        let refused = |name| (name, REFUSED);
        assert_eq!(last(&[refused("a"), refused("a"), refused("a"), refused("b")]), None);
        assert_eq!(last(&[refused("a"), refused("b"), refused("c")]), Some(BreakerEvent::Halted));
        for answer in [ApiSignal::Alive, LIMITED, ApiSignal::Strange] {
            let between = [refused("a"), refused("b"), ("d", answer), refused("c")];
            assert_eq!(last(&between), None, "{answer:?}");
        }
    }

    #[test]
    fn what_was_seen_before_a_stage_was_reopened_says_nothing() {
        let mut inner = Inner::default();
        let refused = |inner: &mut Inner, name| {
            let state = inner.state;
            inner.runs.note(&id(name), REFUSED, state, false)
        };
        for name in ["a", "b", "c"] {
            refused(&mut inner, name);
        }
        inner.saw(StageState::Halted);
        inner.saw(StageState::Open);
        assert_eq!(refused(&mut inner, "d"), None);
    }

    #[test]
    fn credentials_halt_at_once_and_a_fresh_token_refused_for_two_jobs() {
        let token = |name| (name, ApiSignal::Refused(Refusal::Token));
        assert_eq!(
            last(&[("a", ApiSignal::Refused(Refusal::Credentials))]),
            Some(BreakerEvent::Halted)
        );
        assert_eq!(last(&[token("a"), token("a")]), None);
        assert_eq!(last(&[token("a"), token("b")]), Some(BreakerEvent::Halted));
    }

    #[test]
    fn ten_faults_in_a_row_of_five_jobs_break() {
        let faults = |jobs: usize, count: usize| -> Vec<(&str, ApiSignal)> {
            ["a", "b", "c", "d", "e"][..jobs]
                .iter()
                .cycle()
                .take(count)
                .map(|it| (*it, ApiSignal::Fault))
                .collect()
        };
        assert_eq!(last(&faults(5, 9)), None);
        assert_eq!(last(&faults(5, 10)), Some(BreakerEvent::Broken));
        assert_eq!(last(&faults(4, 40)), None);
        let mut between = faults(5, 9);
        between.push(("f", REFUSED));
        between.extend(faults(5, 9));
        assert_eq!(last(&between), None, "it answered");
    }

    #[test]
    fn a_run_of_answers_that_nobody_understands_halts() {
        let strange = |name| (name, ApiSignal::Strange);
        assert_eq!(last(&[strange("a"), strange("b"), strange("c")]), Some(BreakerEvent::Halted));
    }

    #[test]
    fn what_a_probe_finds_opens_or_keeps_closed() {
        let probe = |signal, state| Runs::default().note(&id("a"), signal, state, true);
        for state in [StageState::Halted, StageState::Broken] {
            assert_eq!(probe(ApiSignal::Alive, state), Some(BreakerEvent::Alive));
            assert_eq!(probe(ApiSignal::Fault, state), Some(BreakerEvent::ProbeFailed));
        }
        assert_eq!(probe(REFUSED, StageState::Halted), Some(BreakerEvent::ProbeFailed));
        assert_eq!(probe(LIMITED, StageState::Halted), Some(BreakerEvent::ProbeFailed));
        assert_eq!(probe(REFUSED, StageState::Broken), Some(BreakerEvent::Alive), "it answers");
        assert_eq!(probe(ApiSignal::Nothing, StageState::Halted), Some(BreakerEvent::ProbeFailed));
        assert_eq!(last(&[("a", ApiSignal::Nothing)]), None);
        assert_eq!(last(&[("a", LIMITED)]), Some(BreakerEvent::Limited));
        let late = Runs::default().note(&id("a"), ApiSignal::Alive, StageState::Halted, false);
        assert_eq!(late, Some(BreakerEvent::Alive), "a call that was in flight is as good");
    }
}
