//! Runs of bad signs of one stage, as one process sees them: what they say of the API, of a pair of
//! template and customer, or of this process (docs/contract.md, section 7).

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::job::{ApiSignal, JobId, Refusal, Stage};
use crate::queue::{BreakerEvent, StageState, Witnesses};

/// This many different jobs in a row that were refused halt the stage.
const JOBS_TO_HALT: usize = 10;
/// This many that were refused with a fresh token do.
const JOBS_WITHOUT_TOKEN_TO_HALT: usize = 2;
/// This many that were answered by what nobody understands do: each may be billed.
const STRANGE_JOBS_TO_HALT: usize = 3;
/// A run of this many faults breaks the stage, if it comes from enough jobs.
const FAULTS_TO_BREAK: u32 = 10;
const JOBS_TO_BREAK: usize = 5;
/// From this many jobs, or pairs, a limit is everybody's.
const JOBS_TO_LIMIT: usize = 3;
const PAIRS_TO_LIMIT: usize = 2;
/// So many bad answers, while others were well, are a pair's own fault.
const BAD_ANSWERS_OF_A_PAIR: u32 = 3;
/// So many are a job's.
const BAD_ANSWERS_OF_A_JOB: u32 = 2;
/// A good answer says for so long that its pair is let in, and a limit that it is near.
const LATELY: Duration = Duration::from_secs(10);
/// More pairs, or jobs, than this are not kept apart.
const MOST_BLAMED: usize = 1000;
/// The waits between POSTs that may each be billed while nobody understands the answers.
const STRANGE_WAIT: Duration = Duration::from_secs(60);
const STRANGE_WAIT_AT_MOST: Duration = Duration::from_secs(3600);

/// Whose call ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    /// Which job.
    pub(crate) id: &'a JobId,
    /// Its template and customer.
    pub(crate) pair: &'a str,
}

/// What a call found out, for the other workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sign {
    pub(super) event: BreakerEvent,
    pub(super) witnesses: Witnesses,
    pub(super) may_have_bought: bool,
    pub(super) may_stay: bool,
    /// The wait that goes with it; `None`: that of the stage's backoff.
    pub(super) waits: Option<(Duration, Duration)>,
    /// The pairs of the run, one a line.
    pub(super) pairs: String,
}

/// What became of a signal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) sign: Option<Sign>,
    /// Whether the API let us in, whatever it thinks of the job.
    pub(super) clean: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Runs {
    stage: Stage,
    run: Run,
    limited: Lately,
    pairs: Blamed,
    jobs: Blamed,
}

/// Jobs that met a limit, good answers between or not.
#[derive(Debug, Default)]
struct Lately {
    began: Option<Instant>,
    jobs: BTreeSet<JobId>,
}

impl Lately {
    /// One more; whether there were enough within [`LATELY`].
    fn add(&mut self, id: &JobId) -> bool {
        if self.began.is_none_or(|it| it.elapsed() >= LATELY) {
            (self.began, self.jobs) = (Some(Instant::now()), BTreeSet::new());
        }
        add(&mut self.jobs, id, JOBS_TO_LIMIT)
    }
}

/// Since the last good answer.
#[derive(Debug, Default)]
struct Run {
    began: Option<Instant>,
    length: u32,
    refused: BTreeSet<JobId>,
    without_token: BTreeSet<JobId>,
    strange: BTreeSet<JobId>,
    faults: u32,
    faulty: BTreeSet<JobId>,
    limited: BTreeSet<JobId>,
    limited_pairs: BTreeSet<String>,
    pairs: BTreeSet<String>,
}

/// Adds to a set that need not grow any more once it has enough; whether it has.
fn add<T: Ord + Clone>(set: &mut BTreeSet<T>, item: &T, enough: usize) -> bool {
    if set.len() < enough {
        set.insert(item.clone());
    }
    set.len() >= enough
}

impl Runs {
    pub(super) fn new(stage: Stage) -> Self {
        let (run, limited) = Default::default();
        Self { stage, run, limited, pairs: Blamed::default(), jobs: Blamed::default() }
    }

    /// How long ago the run of bad signs began.
    pub(super) fn lasts(&self) -> Duration {
        self.run.began.map_or(Duration::ZERO, |it| it.elapsed())
    }

    /// How many bad signs there were in a row.
    pub(super) fn length(&self) -> u32 {
        self.run.length
    }

    /// How long ago a good answer came.
    pub(super) fn good_ago(&self) -> Option<Duration> {
        self.pairs.good_at.map(|it| it.elapsed())
    }

    /// Somebody else found the stage well: what was seen before says nothing of it any more.
    pub(super) fn reopened(&mut self) {
        self.run = Run::default();
        self.pairs.good("", Instant::now());
        self.jobs.good("", Instant::now());
    }

    /// What a signal means for the stage, which is in this state. A `probe` was to find that out.
    pub(super) fn note(
        &mut self,
        caller: Caller<'_>,
        signal: ApiSignal,
        state: StageState,
        probe: bool,
    ) -> Noted {
        let only_probed = state >= StageState::Broken;
        let failed_probe = || (probe && only_probed).then(|| Sign::of(BreakerEvent::ProbeFailed));
        if signal == ApiSignal::Nothing {
            // A probe that found out nothing is followed by another.
            return Noted { sign: failed_probe(), clean: false };
        }
        if matches!(signal, ApiSignal::Alive | ApiSignal::Answered) {
            self.run = Run::default();
            if signal == ApiSignal::Alive {
                self.pairs.good(caller.pair, Instant::now());
                self.jobs.good(caller.id.as_str(), Instant::now());
            }
            let opens = only_probed || probe;
            return Noted { sign: opens.then(|| Sign::of(BreakerEvent::Alive)), clean: true };
        }
        // A broken API that says anything at all works again.
        let speaks = state == StageState::Broken && !is_fault(signal);
        let opens = speaks.then(|| Sign::of(BreakerEvent::Alive));
        if is_answer(signal) && self.is_at_fault(caller) {
            return Noted { sign: opens.or_else(failed_probe), clean: true };
        }
        let bad = self.bad(caller, signal);
        let halts = bad.as_ref().is_some_and(|it| it.event == BreakerEvent::Halted);
        let sign = if halts && state != StageState::Halted || !only_probed {
            bad
        } else if speaks {
            opens
        } else {
            probe.then(|| self.sign(BreakerEvent::ProbeFailed, signal))
        };
        Noted { sign, clean: false }
    }

    /// One more bad answer; whether it is the pair's own fault, or the job's.
    fn is_at_fault(&mut self, Caller { id, pair }: Caller<'_>) -> bool {
        let pair = self.pairs.is_at_fault(pair, BAD_ANSWERS_OF_A_PAIR);
        let job = self.jobs.is_at_fault(id.as_str(), BAD_ANSWERS_OF_A_JOB);
        pair || job
    }

    /// One more bad sign; what follows from it while the stage is open.
    fn bad(&mut self, Caller { id, pair }: Caller<'_>, signal: ApiSignal) -> Option<Sign> {
        let run = &mut self.run;
        run.began.get_or_insert_with(Instant::now);
        run.length = run.length.saturating_add(1);
        add(&mut run.pairs, &pair.to_owned(), JOBS_TO_HALT);
        if !is_fault(signal) {
            (run.faults, run.faulty) = Default::default();
        }
        if !is_fault(signal) && !matches!(signal, ApiSignal::Refused(_)) {
            run.refused.clear();
            run.without_token.clear();
        }
        if !is_fault(signal) && signal != ApiSignal::Strange {
            run.strange.clear();
        }
        let event = match signal {
            ApiSignal::Refused(refusal) => {
                let enough = add(&mut run.refused, id, JOBS_TO_HALT);
                let by_token = refusal == Refusal::Token
                    && add(&mut run.without_token, id, JOBS_WITHOUT_TOKEN_TO_HALT);
                (refusal == Refusal::Credentials || enough || by_token)
                    .then_some(BreakerEvent::Halted)
            }
            ApiSignal::Strange => {
                add(&mut run.strange, id, STRANGE_JOBS_TO_HALT).then_some(BreakerEvent::Halted)
            }
            ApiSignal::Limited(wait) => return self.limited(id, pair, wait),
            ApiSignal::Alive | ApiSignal::Answered | ApiSignal::Nothing => None,
            ApiSignal::Unreachable
            | ApiSignal::Silent
            | ApiSignal::Failing { .. }
            | ApiSignal::Gateway => {
                run.faults = run.faults.saturating_add(1);
                let of_many = add(&mut run.faulty, id, JOBS_TO_BREAK);
                (of_many && run.faults >= FAULTS_TO_BREAK).then_some(BreakerEvent::Broken)
            }
        };
        event.map(|event| self.sign(event, signal))
    }

    /// One more wish to be called less.
    fn limited(&mut self, id: &JobId, pair: &str, wait: Duration) -> Option<Sign> {
        let run = &mut self.run;
        let many_lately = self.limited.add(id);
        let many_jobs = add(&mut run.limited, id, JOBS_TO_LIMIT);
        let many_pairs = add(&mut run.limited_pairs, &pair.to_owned(), PAIRS_TO_LIMIT);
        // Without a wait at all it only lowers the rate.
        let waits =
            |wait: Duration| Sign { waits: Some((wait, wait)), ..Sign::of(BreakerEvent::Limited) };
        let some = wait.max(Duration::from_millis(1));
        if many_pairs {
            Some(waits(some))
        } else if many_jobs {
            // It may be this pair's alone: jobs of others find that out.
            Some(Sign { pairs: pair.to_owned(), ..waits(some) })
        } else {
            // It is let in, if not so often: fewer calls a second will do.
            (many_lately && self.pairs.was_good_lately(pair)).then(|| waits(Duration::ZERO))
        }
    }

    fn sign(&self, event: BreakerEvent, signal: ApiSignal) -> Sign {
        let witnesses = match signal {
            ApiSignal::Refused(Refusal::Credentials | Refusal::Token)
            | ApiSignal::Unreachable
            | ApiSignal::Silent => Witnesses::AnyStage,
            ApiSignal::Refused(Refusal::Call) | ApiSignal::Strange => Witnesses::SameStage,
            ApiSignal::Alive
            | ApiSignal::Answered
            | ApiSignal::Nothing
            | ApiSignal::Limited(_)
            | ApiSignal::Failing { .. }
            | ApiSignal::Gateway => Witnesses::Nobody,
        };
        let strange = signal == ApiSignal::Strange;
        Sign {
            event,
            witnesses,
            may_have_bought: self.stage == Stage::Submit && is_dear(signal),
            may_stay: match signal {
                ApiSignal::Failing { wants_to_wait } => !wants_to_wait,
                ApiSignal::Unreachable => true,
                // A status check buys nothing.
                ApiSignal::Gateway | ApiSignal::Silent => self.stage == Stage::Poll,
                ApiSignal::Alive
                | ApiSignal::Answered
                | ApiSignal::Nothing
                | ApiSignal::Refused(_)
                | ApiSignal::Limited(_)
                | ApiSignal::Strange => false,
            },
            waits: strange.then_some((STRANGE_WAIT, STRANGE_WAIT_AT_MOST)),
            pairs: self.run.pairs.iter().cloned().collect::<Vec<_>>().join("\n"),
        }
    }
}

impl Sign {
    pub(super) fn of(event: BreakerEvent) -> Self {
        Self {
            event,
            witnesses: Witnesses::Nobody,
            may_have_bought: false,
            may_stay: false,
            waits: None,
            pairs: String::new(),
        }
    }
}

/// Whether the API does not work.
fn is_fault(signal: ApiSignal) -> bool {
    matches!(
        signal,
        ApiSignal::Unreachable | ApiSignal::Silent | ApiSignal::Failing { .. } | ApiSignal::Gateway
    )
}

/// Whether a POST may have bought something although nobody says so.
fn is_dear(signal: ApiSignal) -> bool {
    matches!(signal, ApiSignal::Silent | ApiSignal::Gateway)
}

/// Whether somebody answered this very job, so that a pair may be judged by it.
fn is_answer(signal: ApiSignal) -> bool {
    matches!(
        signal,
        ApiSignal::Refused(Refusal::Call)
            | ApiSignal::Failing { .. }
            | ApiSignal::Gateway
            | ApiSignal::Limited(_)
            | ApiSignal::Strange
    )
}

/// The pairs, or the jobs, that got bad answers, until they get a good one.
#[derive(Debug, Default)]
struct Blamed {
    bad: HashMap<String, Bad>,
    /// Who had the last good answer.
    good_one: String,
    good_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Bad {
    times: u32,
    first: Instant,
}

impl Blamed {
    fn good(&mut self, one: &str, now: Instant) {
        self.bad.remove(one);
        self.good_at = Some(now);
        self.good_one.clear();
        self.good_one.push_str(one);
    }

    fn was_good_lately(&self, one: &str) -> bool {
        self.good_one == one && self.good_at.is_some_and(|it| it.elapsed() < LATELY)
    }

    /// One more bad answer; whether this one itself is at fault: it had `several`, and another one got
    /// a good answer since the first of them.
    fn is_at_fault(&mut self, one: &str, several: u32) -> bool {
        if self.bad.len() >= MOST_BLAMED && !self.bad.contains_key(one) {
            self.bad.clear();
        }
        let new = || Bad { times: 0, first: Instant::now() };
        let bad = self.bad.entry(one.to_owned()).or_insert_with(new);
        bad.times = bad.times.saturating_add(1);
        bad.times >= several && self.good_at.is_some_and(|it| it > bad.first)
    }
}

#[cfg(test)]
mod tests;
