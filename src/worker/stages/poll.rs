//! The poll stage: one status check per job in hand, and what its answer means for the job.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Cut, LeasedJob, StageWork, event};
use crate::config::Deliverable;
use crate::job::backoff::Backoff;
use crate::job::{
    BadAnswer, CheckedAt, Claim, ErrorCode, Fault, JobId, Outcome, Stage, StatusOutcome, Streak,
};
use crate::queue::{Claimant, Claimed, End, Move, PollClaim, QueueError, RuledQueue, Source};
use crate::telemetry;
use crate::whilter::{Began, Client};
use crate::worker::api_health::Standing;

impl LeasedJob for PollClaim {
    fn id(&self) -> &JobId {
        &self.id
    }

    fn claim(&self) -> Claim {
        self.claim
    }

    fn pair(&self) -> &str {
        &self.pair
    }

    fn whilter_request_id(&self) -> Option<&str> {
        Some(&self.whilter_request_id)
    }
}

/// The poll stage of one worker.
#[derive(Clone, Debug)]
pub(crate) struct PollStage {
    pub(crate) queue: RuledQueue,
    pub(crate) client: Client,
    pub(crate) deliverable: Deliverable,
    pub(crate) policy: PollPolicy,
}

/// When a check is repeated, and when it is not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PollPolicy {
    /// The wait after the n-th check.
    pub(crate) backoff: Backoff,
    /// `poll.deadline`.
    pub(crate) deadline: Duration,
    /// `poll.abandon_after`.
    pub(crate) abandon_after: Duration,
    /// `poll.not_found_grace`.
    pub(crate) not_found_grace: Duration,
}

impl StageWork for PollStage {
    type Job = PollClaim;
    type Outcome = StatusOutcome;
    const STAGE: Stage = Stage::Poll;
    const LANE: &'static str = "poll-lane";

    async fn claim(&self, claimant: Claimant<'_>) -> Result<Claimed<PollClaim>, QueueError> {
        self.queue.claim_polls(claimant).await
    }

    async fn call(&self, job: Arc<PollClaim>, until: Instant, _: Arc<Began>) -> StatusOutcome {
        telemetry::poll_lateness(job.late_by);
        let transaction = &job.whilter_request_id;
        self.client.status(&job.id, transaction, self.deliverable, until).await
    }

    async fn check(&self, _: &str, _: Instant) -> Result<(), String> {
        // Its calls are checks themselves.
        Ok(())
    }

    fn cut_off(cut: Cut, _: Option<Instant>) -> StatusOutcome {
        let detail = cut.to_string();
        match cut {
            Cut::Stopped => StatusOutcome::HandedBack { detail },
            Cut::Panicked => StatusOutcome::RetryLater { detail, retry_after: None },
        }
    }

    fn decide(
        &self,
        job: &PollClaim,
        outcome: StatusOutcome,
        took: Duration,
        standing: Standing,
    ) -> Move {
        if matches!(outcome, StatusOutcome::Ready { .. }) {
            telemetry::accept_to_url(job.age + took);
        }
        let is_callers = outcome.signal().is_callers();
        let mut to = self.policy.decide(job, outcome, took, standing.understood_ago);
        // Another worker may have it at once, for this one keeps the call's place (Breaker::hold).
        if let Move::Repoll { delay, .. } = &mut to
            && is_callers
        {
            *delay = Duration::ZERO;
        }
        if matches!(to, Move::Finish { .. }) {
            telemetry::enqueue_to_end(job.since_admission + took);
        }
        to
    }
}

impl PollPolicy {
    /// What an outcome means for a job that is `polling` (docs/contract.md, section 7). `took` is
    /// the time since the claim. A bad answer counts while others' checks are understood; one was
    /// `others_understood_ago`.
    pub(crate) fn decide(
        &self,
        job: &PollClaim,
        outcome: StatusOutcome,
        took: Duration,
        others_understood_ago: Option<Duration>,
    ) -> Move {
        let at = CheckedAt { age: job.age + took, others_understood_ago };
        let so_far = job.streak.as_deref().and_then(Streak::parse);
        let bad = |answer| Streak::more(so_far, answer, at);
        match outcome {
            StatusOutcome::Ready { video_url, image_url } => Move::Finish {
                end: End::Completed { video_url, image_url },
                source: if job.is_pushed { Source::Webhook } else { Source::Poll },
            },
            StatusOutcome::NotYet => self.not_yet(job, at.age, took),
            StatusOutcome::RetryLater { detail, retry_after } => {
                let wait = retry_after.unwrap_or_default();
                self.again(job, bad(BadAnswer::Unanswered), &detail, wait)
            }
            StatusOutcome::Limited { detail, retry_after } => {
                self.again(job, bad(BadAnswer::Unanswered), &detail, retry_after)
            }
            // It says nothing of the API, so the run of bad answers stands as it stood.
            StatusOutcome::HandedBack { detail } => Move::Repoll {
                delay: Duration::ZERO,
                streak: job.streak.clone().unwrap_or_default(),
                event: event("handed back", &detail),
            },
            StatusOutcome::NotSent { detail }
            | StatusOutcome::Unanswered { detail }
            | StatusOutcome::NotTried { detail }
            | StatusOutcome::Refused { detail, .. }
            | StatusOutcome::NotUnderstood { detail } => {
                self.again(job, bad(BadAnswer::Unanswered), &detail, Duration::ZERO)
            }
            StatusOutcome::NotFound { detail } => {
                let fault = Fault::new(ErrorCode::UnknownTransaction, detail);
                self.fails(job, bad(BadAnswer::NotFound), fault)
            }
            StatusOutcome::BadRequest { detail } => {
                let fault = Fault::new(ErrorCode::StatusRefused, detail);
                self.fails(job, bad(BadAnswer::BadRequest), fault)
            }
            StatusOutcome::Failed(fault) => self.fails(job, bad(BadAnswer::Failed), fault),
        }
    }

    /// An understood answer without a URL: the only one that lets a deadline end the job.
    fn not_yet(&self, job: &PollClaim, age: Duration, took: Duration) -> Move {
        let expired = job.expires_in.is_some_and(|left| left <= took);
        if age < self.deadline && !expired {
            // Its own end is not overslept: the last check is then.
            let left = job.expires_in.map_or(Duration::MAX, |left| left.saturating_sub(took));
            let delay = self.backoff.delay(job.polls).min(left);
            return Move::Repoll { delay, streak: String::new(), event: "poll".to_owned() };
        }
        let limit = if expired { "its expires-at" } else { "poll.deadline" };
        let detail = format!("no video {} s after acceptance, past {limit}", age.as_secs());
        expire(detail)
    }

    /// An answer that fails the job when it came often enough.
    fn fails(&self, job: &PollClaim, streak: Streak, fault: Fault) -> Move {
        if streak.ends_the_job(self.not_found_grace) {
            return Move::Finish { end: End::Failed(fault), source: Source::Poll };
        }
        self.again(job, streak, &fault.detail, Duration::ZERO)
    }

    /// No understood answer: only the last backstop ends the job, when check after check came to
    /// nothing for so long while those of others were understood. Waits at least `wait`.
    fn again(&self, job: &PollClaim, streak: Streak, detail: &str, wait: Duration) -> Move {
        if streak.silent() >= self.abandon_after {
            return expire(format!(
                "no understood answer for poll.abandon_after; the last: {detail}"
            ));
        }
        let delay = self.backoff.delay(job.polls).max(wait);
        Move::Repoll { delay, streak: streak.to_string(), event: event("poll", detail) }
    }
}

fn expire(detail: String) -> Move {
    let fault = Fault::new(ErrorCode::PollDeadline, detail);
    Move::Finish { end: End::Expired(fault), source: Source::Poll }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const OTHERS_ARE_WELL: Option<Duration> = Some(Duration::from_millis(100));
    const POLICY: PollPolicy = PollPolicy {
        backoff: Backoff {
            initial: SECOND,
            multiplier: 2.0,
            max: Duration::from_secs(30),
            jitter: 0.0,
        },
        deadline: Duration::from_secs(1800),
        abandon_after: Duration::from_secs(86_400),
        not_found_grace: Duration::from_secs(60),
    };

    fn claim(age: Duration, streak: Option<&str>) -> PollClaim {
        PollClaim {
            id: JobId::new("a").unwrap(),
            claim: Claim(2),
            whilter_request_id: "w".to_owned(),
            pair: "t c".to_owned(),
            polls: 2,
            late_by: Duration::ZERO,
            age,
            since_admission: age,
            expires_in: None,
            is_pushed: false,
            streak: streak.map(str::to_owned),
        }
    }

    fn decide(claim: &PollClaim, outcome: StatusOutcome) -> Move {
        POLICY.decide(claim, outcome, SECOND, OTHERS_ARE_WELL)
    }

    fn again_in(delay: Duration) -> Move {
        Move::Repoll { delay, streak: String::new(), event: "poll".to_owned() }
    }

    fn code(it: &Move) -> Option<ErrorCode> {
        match it {
            Move::Finish { end: End::Failed(fault) | End::Expired(fault), .. } => Some(fault.code),
            Move::Finish { end: End::Completed { .. }, .. }
            | Move::Accept { .. }
            | Move::Requeue { .. }
            | Move::Unconfirm { .. }
            | Move::Repoll { .. } => None,
        }
    }

    fn fault_of_connection() -> StatusOutcome {
        StatusOutcome::RetryLater { detail: "reset".to_owned(), retry_after: None }
    }

    fn not_found() -> StatusOutcome {
        StatusOutcome::NotFound { detail: "404".to_owned() }
    }

    /// However long nothing was understood: that is not for a stopping worker to judge.
    #[test]
    fn a_check_that_a_stop_gives_up_is_due_again_at_once() {
        let streak = "unanswered 1 0 1000 9000 90000000";
        let given_up = claim(POLICY.abandon_after + 2 * SECOND, Some(streak));
        let (delay, streak) = (Duration::ZERO, streak.to_owned());
        let event = "handed back: the worker stopped".to_owned();
        let handed_back = Move::Repoll { delay, streak, event };
        assert_eq!(decide(&given_up, PollStage::cut_off(Cut::Stopped, None)), handed_back);
        let panicked = decide(&claim(SECOND, None), PollStage::cut_off(Cut::Panicked, None));
        assert!(matches!(panicked, Move::Repoll { delay, .. } if delay == 4 * SECOND));
    }

    #[test]
    fn no_url_means_another_check_until_the_deadline() {
        let young = decide(&claim(SECOND, Some("not-found 2 1 5 9 0")), StatusOutcome::NotYet);
        assert_eq!(young, again_in(4 * SECOND));
        let old = decide(&claim(POLICY.deadline, None), StatusOutcome::NotYet);
        assert_eq!(code(&old), Some(ErrorCode::PollDeadline));
    }

    #[test]
    fn a_deadline_ends_a_job_by_an_answer_and_never_by_the_clock() {
        let late = claim(10 * POLICY.deadline, None);
        assert!(matches!(decide(&late, fault_of_connection()), Move::Repoll { .. }));
        let event = "poll: reset".to_owned();
        let age = (late.age + SECOND).as_millis();
        let streak = format!("unanswered 1 0 {age} {age} 0");
        let again = Move::Repoll { delay: 4 * SECOND, streak, event };
        assert_eq!(decide(&late, fault_of_connection()), again);
    }

    #[test]
    fn a_job_is_abandoned_when_check_after_check_came_to_nothing_and_all_else_is_well() {
        let unseen = claim(9 * POLICY.abandon_after, None);
        assert!(matches!(decide(&unseen, fault_of_connection()), Move::Repoll { .. }));
        let abandoned = claim(99 * SECOND, Some("unanswered 1 0 1000 90000 86390000"));
        for outcome in [fault_of_connection(), not_found()] {
            let unwell = POLICY.decide(&abandoned, outcome.clone(), SECOND, None);
            assert!(matches!(unwell, Move::Repoll { .. }), "{outcome:?}");
            assert_eq!(code(&decide(&abandoned, outcome)), Some(ErrorCode::PollDeadline));
        }
    }

    #[test]
    fn a_job_past_its_own_end_gets_one_last_check() {
        let mut expired = claim(SECOND, None);
        expired.expires_in = Some(3 * SECOND);
        let last = decide(&expired, StatusOutcome::NotYet);
        assert_eq!(last, again_in(2 * SECOND));
        expired.expires_in = Some(Duration::ZERO);
        assert_eq!(code(&decide(&expired, StatusOutcome::NotYet)), Some(ErrorCode::PollDeadline));
        let ready = StatusOutcome::Ready { video_url: Some("https://v".into()), image_url: None };
        assert!(matches!(decide(&expired, ready), Move::Finish { end: End::Completed { .. }, .. }));
    }

    #[test]
    fn what_fails_a_job_by_coming_again_and_again() {
        let failed = || StatusOutcome::Failed(Fault::new(ErrorCode::GenerationFailed, "why"));
        let bad_request = || StatusOutcome::BadRequest { detail: "400".to_owned() };
        for (before, last, error) in [
            ("not-found 2 1 1000 60000 0", not_found(), ErrorCode::UnknownTransaction),
            ("bad-request 4 3 1000 60000 0", bad_request(), ErrorCode::StatusRefused),
            ("failed 1 0 60000 60000 0", failed(), ErrorCode::GenerationFailed),
        ] {
            let often = claim(70 * SECOND, Some(before));
            assert_eq!(code(&decide(&often, last.clone())), Some(error), "{before}");
            let first = decide(&claim(70 * SECOND, None), last);
            assert!(matches!(first, Move::Repoll { streak, .. } if streak.contains(" 1 0 71000")));
        }
        let alone = claim(70 * SECOND, Some("not-found 2 1 1000 60000 0"));
        let unwell = POLICY.decide(&alone, not_found(), SECOND, None);
        assert!(matches!(unwell, Move::Repoll { .. }), "nobody's check is understood");
    }

    #[test]
    fn a_check_waits_as_long_as_the_api_asks() {
        let retry_after = 300 * SECOND;
        for asks in [
            StatusOutcome::Limited { detail: "429".to_owned(), retry_after },
            StatusOutcome::RetryLater { detail: "503".to_owned(), retry_after: Some(retry_after) },
        ] {
            let waits = decide(&claim(SECOND, None), asks);
            assert!(matches!(waits, Move::Repoll { delay, .. } if delay == retry_after));
        }
    }

    #[test]
    fn a_fault_of_the_connection_leaves_a_run_alone() {
        let before = "bad-request 4 3 7 1000 0";
        let kept = decide(&claim(SECOND, Some(before)), fault_of_connection());
        assert!(
            matches!(kept, Move::Repoll { streak, .. } if streak.starts_with("bad-request 4 3 7 "))
        );
    }
}
