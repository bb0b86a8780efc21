//! The poll stage: one status check per job in hand, and what its answer means for the job.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Cut, LeasedJob, StageWork, event};
use crate::config::Deliverable;
use crate::job::backoff::Backoff;
use crate::job::{Claim, ErrorCode, Fault, JobId, Stage, StatusOutcome, Streak};
use crate::queue::{Claimant, Claimed, End, Move, PollClaim, QueueError, RuledQueue, Source};
use crate::telemetry;
use crate::whilter::{Began, Client};
use crate::worker::api_health::Breaker;

impl LeasedJob for PollClaim {
    fn id(&self) -> &JobId {
        &self.id
    }

    fn claim(&self) -> Claim {
        self.claim
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
        breaker: &Breaker,
    ) -> Move {
        if matches!(outcome, StatusOutcome::Ready { .. }) {
            telemetry::accept_to_url(job.age + took);
        }
        let unwell = breaker.is_closed() || breaker.refuses_many();
        let to = self.policy.decide(job, outcome, took, unwell);
        if matches!(to, Move::Finish { .. }) {
            telemetry::enqueue_to_end(job.since_admission + took);
        }
        to
    }
}

impl PollPolicy {
    /// What an outcome means for a job that is `polling` (docs/contract.md, section 7). `took` is
    /// the time since the claim; `unwell` says that the stage is closed, or about to be: then the fault
    /// is hardly the job's.
    pub(crate) fn decide(
        &self,
        job: &PollClaim,
        outcome: StatusOutcome,
        took: Duration,
        unwell: bool,
    ) -> Move {
        let age = job.age + took;
        let streak = job.streak.as_deref().and_then(Streak::parse);
        match outcome {
            StatusOutcome::Ready { video_url, image_url } => Move::Finish {
                end: End::Completed { video_url, image_url },
                source: if job.is_pushed { Source::Webhook } else { Source::Poll },
            },
            StatusOutcome::Failed(fault) => failed(fault),
            StatusOutcome::NotYet => self.not_yet(job, age, took),
            StatusOutcome::RetryLater { detail, retry_after } => {
                let streak = Streak::unanswered(streak, age);
                let mut again = self.again(job, age, streak, &detail, unwell);
                if let Move::Repoll { delay, .. } = &mut again {
                    *delay = (*delay).max(retry_after.unwrap_or_default());
                }
                again
            }
            // It says nothing of the API, so the run of bad answers stands as it stood.
            StatusOutcome::HandedBack { detail } => Move::Repoll {
                delay: Duration::ZERO,
                streak: job.streak.clone().unwrap_or_default(),
                event: event("handed back", &detail),
            },
            StatusOutcome::NotTried { detail }
            | StatusOutcome::Refused { detail, .. }
            | StatusOutcome::NotUnderstood { detail } => {
                self.again(job, age, Streak::unanswered(streak, age), &detail, unwell)
            }
            StatusOutcome::NotFound { detail } => {
                let streak = Streak::not_found(streak, age);
                if streak.is_unknown_transaction(age, self.not_found_grace) && !unwell {
                    return failed(Fault::new(ErrorCode::UnknownTransaction, detail));
                }
                self.again(job, age, streak, &detail, unwell)
            }
            StatusOutcome::BadRequest { detail } => {
                let streak = Streak::bad_request(streak, age);
                if streak.is_status_refused() && !unwell {
                    return failed(Fault::new(ErrorCode::StatusRefused, detail));
                }
                self.again(job, age, streak, &detail, unwell)
            }
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

    /// No understood answer: only the last backstop ends the job, when check after check came to
    /// nothing for so long, and never while the API as a whole is not well.
    fn again(
        &self,
        job: &PollClaim,
        age: Duration,
        streak: Streak,
        detail: &str,
        unwell: bool,
    ) -> Move {
        if streak.lasts(age) >= self.abandon_after && !unwell {
            return expire(format!(
                "no understood answer for poll.abandon_after; the last: {detail}"
            ));
        }
        let (delay, streak) = (self.backoff.delay(job.polls), streak.to_string());
        Move::Repoll { delay, streak, event: event("poll", detail) }
    }
}

fn failed(fault: Fault) -> Move {
    Move::Finish { end: End::Failed(fault), source: Source::Poll }
}

fn expire(detail: String) -> Move {
    let fault = Fault::new(ErrorCode::PollDeadline, detail);
    Move::Finish { end: End::Expired(fault), source: Source::Poll }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
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
        POLICY.decide(claim, outcome, SECOND, false)
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
        let streak = "unanswered 1 1000";
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
        let young = decide(&claim(SECOND, Some("not-found 2 5")), StatusOutcome::NotYet);
        assert_eq!(young, again_in(4 * SECOND));
        let old = decide(&claim(POLICY.deadline, None), StatusOutcome::NotYet);
        assert_eq!(code(&old), Some(ErrorCode::PollDeadline));
    }

    #[test]
    fn a_deadline_ends_a_job_by_an_answer_and_never_by_the_clock() {
        let late = claim(10 * POLICY.deadline, None);
        assert!(matches!(decide(&late, fault_of_connection()), Move::Repoll { .. }));
        let event = "poll: reset".to_owned();
        let streak = format!("unanswered 1 {}", (late.age + SECOND).as_millis());
        let again = Move::Repoll { delay: 4 * SECOND, streak, event };
        assert_eq!(decide(&late, fault_of_connection()), again);
    }

    #[test]
    fn a_job_is_abandoned_when_check_after_check_came_to_nothing_and_all_else_is_well() {
        let unseen = claim(9 * POLICY.abandon_after, None);
        assert!(matches!(decide(&unseen, fault_of_connection()), Move::Repoll { .. }));
        let abandoned = claim(POLICY.abandon_after + SECOND, Some("unanswered 1 1000"));
        for outcome in [fault_of_connection(), not_found()] {
            let unwell = POLICY.decide(&abandoned, outcome.clone(), SECOND, true);
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
    fn an_unknown_transaction_needs_three_answers_over_the_grace_and_no_company() {
        let twice = claim(70 * SECOND, Some("not-found 2 1000"));
        assert_eq!(code(&decide(&twice, not_found())), Some(ErrorCode::UnknownTransaction));
        let in_company = POLICY.decide(&twice, not_found(), SECOND, true);
        assert!(matches!(in_company, Move::Repoll { streak, .. } if streak == "not-found 3 1000"));
        let once = decide(&claim(70 * SECOND, Some("not-found 1 1000")), not_found());
        assert!(matches!(once, Move::Repoll { .. }));
    }

    #[test]
    fn a_fault_of_the_connection_leaves_a_streak_alone() {
        let kept = decide(&claim(SECOND, Some("bad-request 4 7")), fault_of_connection());
        assert!(matches!(kept, Move::Repoll { streak, .. } if streak == "bad-request 4 7"));
        let fifth = StatusOutcome::BadRequest { detail: "400".to_owned() };
        let ended = decide(&claim(SECOND, Some("bad-request 4 7")), fifth);
        assert_eq!(code(&ended), Some(ErrorCode::StatusRefused));
    }
}
