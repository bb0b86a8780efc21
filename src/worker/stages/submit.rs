//! The submit stage: one POST per job in hand, and what its answer means for the job.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Cut, LeasedJob, StageWork, event};
use crate::job::backoff::Backoff;
use crate::job::request::body_to_send;
use crate::job::{Claim, ErrorCode, Fault, JobId, Refusal, Stage, SubmitOutcome};
use crate::queue::{Claimant, Claimed, End, Move, QueueError, RuledQueue, Source, SubmitClaim};
use crate::telemetry;
use crate::whilter::{Began, Client};
use crate::worker::api_health::Standing;

impl LeasedJob for SubmitClaim {
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
        None
    }
}

/// The submit stage of one worker.
#[derive(Clone, Debug)]
pub(crate) struct SubmitStage {
    pub(crate) queue: RuledQueue,
    pub(crate) client: Client,
    pub(crate) policy: SubmitPolicy,
}

/// When a submit is repeated, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubmitPolicy {
    /// The wait before the n-th repeat.
    pub(crate) backoff: Backoff,
    /// `submit.max_attempts`.
    pub(crate) max_attempts: u32,
    /// `poll.first`, with its jitter.
    pub(crate) first_check: Backoff,
}

impl StageWork for SubmitStage {
    type Job = SubmitClaim;
    type Outcome = SubmitOutcome;
    const STAGE: Stage = Stage::Submit;
    const LANE: &'static str = "submit-lane";

    async fn claim(&self, claimant: Claimant<'_>) -> Result<Claimed<SubmitClaim>, QueueError> {
        let (claimed, overdue) = self.queue.claim_submits(claimant).await?;
        let deadline = ErrorCode::SubmitDeadline.as_str();
        telemetry::jobs_ended("expired", deadline, overdue.expired);
        telemetry::jobs_ended("failed", ErrorCode::SubmitUnconfirmed.as_str(), overdue.failed);
        telemetry::jobs_ended("completed", "", overdue.completed);
        telemetry::urls_found(Source::Webhook.as_str(), overdue.completed);
        Ok(claimed)
    }

    async fn call(
        &self,
        job: Arc<SubmitClaim>,
        until: Instant,
        began: Arc<Began>,
    ) -> SubmitOutcome {
        if job.body.is_empty() {
            let detail = "its request body is gone from Redis; enqueue it anew under another id";
            return SubmitOutcome::Rejected(Fault::new(ErrorCode::InvalidJob, detail));
        }
        let body = Bytes::from(body_to_send(&job.body).into_owned());
        self.client.submit(&job.id, body, until, &began).await
    }

    async fn check(&self, transaction: &str, until: Instant) -> Result<(), String> {
        self.client.answers(transaction, until).await
    }

    fn cut_off(cut: Cut, began: Option<Instant>) -> SubmitOutcome {
        let detail = cut.to_string();
        match (began, cut) {
            (Some(at), _) => {
                SubmitOutcome::Unknown { detail, sent_ago: at.elapsed(), by_gateway: false }
            }
            (None, Cut::Stopped) => SubmitOutcome::HandedBack { detail },
            (None, Cut::Panicked) => {
                SubmitOutcome::RetryLater { detail, spends_attempt: true, retry_after: None }
            }
        }
    }

    fn decide(
        &self,
        job: &SubmitClaim,
        outcome: SubmitOutcome,
        _took: Duration,
        standing: Standing,
    ) -> Move {
        self.policy.decide(job, outcome, standing)
    }
}

impl SubmitPolicy {
    /// What an outcome means for a job that is `submitting` (docs/contract.md, section 7). No attempt is
    /// spent while the stage is halted, nor by a fault of this worker's own, nor the last one by a probe.
    pub(crate) fn decide(
        &self,
        job: &SubmitClaim,
        outcome: SubmitOutcome,
        standing: Standing,
    ) -> Move {
        match outcome {
            SubmitOutcome::Accepted { whilter_request_id } => {
                Move::Accept { whilter_request_id, first_check_in: self.first_check.delay(0) }
            }
            SubmitOutcome::RetryLater { detail, spends_attempt, retry_after } => {
                let is_last = job.attempts.saturating_add(1) >= self.max_attempts;
                let Standing { is_halted, is_ill, is_probe, .. } = standing;
                let is_spared = is_halted || is_ill || is_probe && is_last;
                let spends_attempt = spends_attempt && !is_spared;
                if spends_attempt && is_last {
                    return give_up(job, Fault::new(ErrorCode::TooManyAttempts, detail));
                }
                let delay = self.delay(job).max(retry_after.unwrap_or_default());
                let event = event("retry", &detail);
                Move::Requeue { delay, spends_attempt, event, refusal: None }
            }
            SubmitOutcome::Limited { detail, retry_after } => {
                requeue(self.delay(job).max(retry_after), event("retry", &detail), None)
            }
            // Another worker may have it at once, for this one keeps the call's place (Breaker::hold).
            SubmitOutcome::NotSent { detail } => {
                requeue(Duration::ZERO, event("retry", &detail), None)
            }
            SubmitOutcome::NotTried { detail } => {
                requeue(self.delay(job), event("retry", &detail), None)
            }
            SubmitOutcome::HandedBack { detail } => {
                requeue(Duration::ZERO, event("handed back", &detail), None)
            }
            SubmitOutcome::Refused { detail, refusal } => {
                let event = event("refused", &detail);
                // A token that is refused is not the job's fault, nor is what only this worker meets.
                let judges = refusal == Refusal::Call && !standing.is_ill;
                let is_callers = refusal != Refusal::Call;
                let delay = if is_callers { Duration::ZERO } else { self.delay(job) };
                let refusal = judges.then(|| Fault::new(ErrorCode::ApiRefused, detail));
                requeue(delay, event, refusal)
            }
            SubmitOutcome::RejectedWithId { whilter_request_id, .. } if job.unconfirmed > 0 => {
                Move::Accept { whilter_request_id, first_check_in: self.first_check.delay(0) }
            }
            SubmitOutcome::Conflicts(fault) if job.posts > 1 => hold(&fault),
            SubmitOutcome::Rejected(fault)
            | SubmitOutcome::Conflicts(fault)
            | SubmitOutcome::RejectedWithId { fault, .. } => give_up(job, fault),
            SubmitOutcome::Unknown { detail, sent_ago, .. }
            | SubmitOutcome::NotUnderstood { detail, sent_ago } => {
                Move::Unconfirm { event: event("unconfirmed", &detail), hold: false, sent_ago }
            }
        }
    }

    fn delay(&self, job: &SubmitClaim) -> Duration {
        self.backoff.delay(job.retries)
    }
}

/// Fails the job, unless an earlier POST of it was never answered: then the API most likely has
/// it (and finds fault with the repetition), and failing it would lose a video that is paid.
fn give_up(job: &SubmitClaim, fault: Fault) -> Move {
    if job.unconfirmed == 0 {
        return Move::Finish { end: End::Failed(fault), source: Source::Submit };
    }
    hold(&fault)
}

/// Waits for a person, or for the API's push: the API most likely has the job.
fn hold(fault: &Fault) -> Move {
    let event = event("held", &fault.detail);
    Move::Unconfirm { event, hold: true, sent_ago: Duration::ZERO }
}

/// Waits for its next submit, without having spent an attempt.
fn requeue(delay: Duration, event: String, refusal: Option<Fault>) -> Move {
    Move::Requeue { delay, spends_attempt: false, event, refusal }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: SubmitPolicy = SubmitPolicy {
        backoff: Backoff {
            initial: Duration::from_secs(1),
            multiplier: 2.0,
            max: Duration::from_secs(60),
            jitter: 0.0,
        },
        max_attempts: 3,
        first_check: Backoff {
            initial: Duration::from_secs(5),
            multiplier: 1.0,
            max: Duration::from_secs(5),
            jitter: 0.0,
        },
    };

    fn decide(job: &SubmitClaim, outcome: SubmitOutcome) -> Move {
        POLICY.decide(job, outcome, Standing::default())
    }

    fn held(why: &str) -> Move {
        Move::Unconfirm { event: format!("held: {why}"), hold: true, sent_ago: Duration::ZERO }
    }

    fn claim(attempts: u32, retries: u32, unconfirmed: u32) -> SubmitClaim {
        let id = JobId::new("a").unwrap();
        let (posts, pair, body) = (unconfirmed + attempts + 1, "t c".to_owned(), Vec::new());
        SubmitClaim { id, claim: Claim(1), attempts, retries, unconfirmed, posts, pair, body }
    }

    fn fault(code: ErrorCode) -> Fault {
        Fault::new(code, "why")
    }

    fn retry_later(spends_attempt: bool, retry_after_s: u64) -> SubmitOutcome {
        let retry_after = (retry_after_s > 0).then(|| Duration::from_secs(retry_after_s));
        SubmitOutcome::RetryLater { detail: "500, busy".to_owned(), spends_attempt, retry_after }
    }

    fn requeued(delay_s: u64, spends_attempt: bool) -> Move {
        let event = "retry: 500; busy".to_owned();
        Move::Requeue { delay: Duration::from_secs(delay_s), spends_attempt, event, refusal: None }
    }

    #[test]
    fn a_retry_waits_longer_each_time_and_at_least_as_long_as_asked() {
        assert_eq!(decide(&claim(0, 0, 0), retry_later(true, 0)), requeued(1, true));
        assert_eq!(decide(&claim(0, 3, 0), retry_later(false, 0)), requeued(8, false));
        assert_eq!(decide(&claim(0, 3, 0), retry_later(false, 30)), requeued(30, false));
        assert_eq!(decide(&claim(0, 99, 0), retry_later(false, 0)), requeued(60, false));
    }

    #[test]
    fn the_last_attempt_that_counts_fails_the_job() {
        let too_many = |it| matches!(it, Move::Finish { end: End::Failed(fault), .. } if fault.code == ErrorCode::TooManyAttempts);
        assert!(!too_many(decide(&claim(1, 1, 0), retry_later(true, 0))));
        assert!(too_many(decide(&claim(2, 2, 0), retry_later(true, 0))));
        assert!(!too_many(decide(&claim(2, 2, 0), retry_later(false, 0))), "does not count");
        for standing in [
            Standing { is_halted: true, ..Standing::default() },
            Standing { is_ill: true, ..Standing::default() },
            Standing { is_probe: true, ..Standing::default() },
        ] {
            let waits = POLICY.decide(&claim(2, 2, 0), retry_later(true, 0), standing);
            assert!(matches!(waits, Move::Requeue { spends_attempt: false, .. }), "{standing:?}");
        }
        let probe = Standing { is_probe: true, ..Standing::default() };
        assert_eq!(POLICY.decide(&claim(1, 1, 0), retry_later(true, 0), probe), requeued(2, true));
        let detail = "an earlier POST may have been taken";
        let last = SubmitOutcome::RetryLater {
            detail: detail.to_owned(),
            spends_attempt: true,
            retry_after: None,
        };
        assert_eq!(decide(&claim(2, 2, 1), last), held(detail));
    }

    #[tokio::test(start_paused = true)]
    async fn a_post_without_an_answer_is_unknown_only_if_it_was_begun() {
        let began = Instant::now();
        tokio::time::advance(Duration::from_secs(7)).await;
        for cut in [Cut::Stopped, Cut::Panicked] {
            let begun = decide(&claim(0, 0, 0), SubmitStage::cut_off(cut, Some(began)));
            let (event, sent_ago) = (format!("unconfirmed: {cut}"), Duration::from_secs(7));
            assert_eq!(begun, Move::Unconfirm { event, hold: false, sent_ago });
        }
        let not_begun = |cut| decide(&claim(0, 2, 0), SubmitStage::cut_off(cut, None));
        let waits = |delay_s, spends_attempt, event: &str| Move::Requeue {
            delay: Duration::from_secs(delay_s),
            spends_attempt,
            event: event.to_owned(),
            refusal: None,
        };
        let handed_back = waits(0, false, "handed back: the worker stopped");
        assert_eq!(not_begun(Cut::Stopped), handed_back);
        assert_eq!(not_begun(Cut::Panicked), waits(4, true, "retry: its handler panicked"));
    }

    #[test]
    fn a_rejection_fails_a_job_unless_the_api_most_likely_has_it() {
        for code in [ErrorCode::BadRequest, ErrorCode::ApiRejected, ErrorCode::InvalidJob] {
            let rejected = || SubmitOutcome::Rejected(fault(code));
            let failed = Move::Finish { end: End::Failed(fault(code)), source: Source::Submit };
            assert_eq!(decide(&claim(0, 0, 0), rejected()), failed);
            assert_eq!(decide(&claim(0, 0, 1), rejected()), held("why"));
            let named = || SubmitOutcome::RejectedWithId {
                fault: fault(code),
                whilter_request_id: "w".to_owned(),
            };
            assert_eq!(decide(&claim(0, 0, 0), named()), failed);
            let accept = decide(&claim(0, 0, 1), named());
            assert!(
                matches!(accept, Move::Accept { whilter_request_id, .. } if whilter_request_id == "w")
            );
        }
    }

    #[test]
    fn an_unknown_fate_is_unconfirmed_and_a_refusal_waits() {
        let detail = "time-out".to_owned();
        let sent_ago = Duration::from_secs(7);
        let unconfirmed =
            Move::Unconfirm { event: "unconfirmed: time-out".to_owned(), hold: false, sent_ago };
        let unknown = SubmitOutcome::Unknown { detail, sent_ago, by_gateway: true };
        assert_eq!(decide(&claim(9, 9, 0), unknown), unconfirmed);
        let (a_while, judged) =
            (Duration::from_secs(1), Some(Fault::new(ErrorCode::ApiRefused, "403")));
        for (who, delay, refusal) in [
            (Refusal::Call, a_while, judged),
            (Refusal::Token, Duration::ZERO, None),
            (Refusal::Credentials, Duration::ZERO, None),
        ] {
            let refused = || SubmitOutcome::Refused { detail: "403".to_owned(), refusal: who };
            let waits = |refusal| requeue(delay, "refused: 403".to_owned(), refusal);
            assert_eq!(decide(&claim(2, 0, 0), refused()), waits(refusal));
            let ill = Standing { is_ill: true, ..Standing::default() };
            assert_eq!(POLICY.decide(&claim(2, 0, 0), refused(), ill), waits(None), "it is ours");
        }
    }

    #[test]
    fn a_conflict_fails_a_job_unless_it_may_be_with_an_earlier_post_of_it() {
        let conflict = || SubmitOutcome::Conflicts(fault(ErrorCode::BadRequest));
        let failed =
            Move::Finish { end: End::Failed(fault(ErrorCode::BadRequest)), source: Source::Submit };
        assert_eq!(decide(&claim(0, 0, 0), conflict()), failed);
        assert_eq!(decide(&claim(1, 1, 0), conflict()), held("why"));
    }
}
