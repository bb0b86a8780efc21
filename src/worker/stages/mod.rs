//! What the two stages of a job's life, submit and poll, have in common.
//!
//! A stage claims due jobs, makes one call to the remote API for each, and says what that came
//! to ([`StageWork`]). Everything around it (permits, the apalis worker, the settlement) is written
//! once, for any stage, and steered by its [`StageControls`].

pub(super) mod apalis_backend;
pub(super) mod claim_loop;
pub(super) mod poll;
pub(super) mod start;
pub(super) mod submit;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::api_health::{Breaker, FaultLog, SlowStart, Standing};
use crate::job::{Claim, JobId, Outcome, Stage};
use crate::queue::{Claimant, Claimed, Move, QueueError, StageState};
use crate::whilter::Began;

/// What is particular to one stage of a job's life.
pub(crate) trait StageWork: Clone + Send + Sync + Unpin + 'static {
    /// What is in hand.
    type Job: LeasedJob;
    /// What the call came to.
    type Outcome: Outcome + Debug + Send + Sync + 'static;
    /// Which stage it is the work of.
    const STAGE: Stage;
    /// The name of its lane among the roles.
    const LANE: &'static str;

    /// Takes due jobs into this worker's hands. After an error it is called again in the same way.
    fn claim(
        &self,
        claimant: Claimant<'_>,
    ) -> impl Future<Output = Result<Claimed<Self::Job>, QueueError>> + Send;

    /// Makes the call, which ends by `until` at the latest, and says meanwhile what it has `began`.
    fn call(
        &self,
        job: Arc<Self::Job>,
        until: Instant,
        began: Arc<Began>,
    ) -> impl Future<Output = Self::Outcome> + Send;

    /// Whether the API is there, by a status check of any transaction, which ends by `until` at the
    /// latest; an error says in words why it is not.
    fn check(
        &self,
        transaction: &str,
        until: Instant,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// What a call came to that has no answer; `began`: when its request began to be sent.
    fn cut_off(cut: Cut, began: Option<Instant>) -> Self::Outcome;

    /// Turns the outcome into the job's move; `took` is the time since the claim.
    fn decide(
        &self,
        job: &Self::Job,
        outcome: Self::Outcome,
        took: Duration,
        standing: Standing,
    ) -> Move;
}

/// What steers one stage of a worker. Cheap to clone; clones share all of it.
#[derive(Clone, Debug)]
pub(crate) struct StageControls {
    /// Calls in flight at most: `submit.concurrency` or `poll.concurrency`.
    pub(crate) concurrency: usize,
    /// Calls a second of the whole fleet: `submit.rate` or `poll.rate`; `None`: any.
    pub(crate) rate: Option<f64>,
    /// Rings when there may be something to claim.
    pub(crate) alarm: Arc<Alarm>,
    /// Who notices when the API as a whole is not well.
    pub(crate) breaker: Arc<Breaker>,
    /// The permits, one for each call in flight.
    pub(crate) slow_start: SlowStart,
    /// Who says in the log what goes wrong.
    pub(crate) fault_log: Arc<FaultLog>,
}

/// Why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cut {
    /// The worker stops and can wait no longer, or does not begin it any more.
    #[error("the worker stopped")]
    Stopped,
    /// A mistake of ours.
    #[error("its handler panicked")]
    Panicked,
}

/// A claimed job.
pub(crate) trait LeasedJob: Debug + Send + Sync + 'static {
    /// Which job.
    fn id(&self) -> &JobId;
    /// Under which claim.
    fn claim(&self) -> Claim;
    /// Its template and customer: what it shares a fault with.
    fn pair(&self) -> &str;
    /// The API's id of it, once there is one.
    fn whilter_request_id(&self) -> Option<&str>;
}

/// A job on its way through the apalis worker. Its permit is free again when its call has ended
/// and what came of it is queued to be written.
#[derive(Debug)]
pub(crate) struct InHand<J> {
    /// The job.
    pub(crate) job: Arc<J>,
    /// When it was claimed.
    pub(crate) since: Instant,
    /// The state of the stage, halted or broken, that its call is to probe.
    pub(crate) probe: Option<StageState>,
    /// When the request of its call began to be sent.
    pub(crate) began: Arc<Began>,
    /// Taken out by the layer that settles the job.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

impl<J> InHand<J> {
    /// A job that was just claimed.
    pub(crate) fn new(job: J, since: Instant, permit: Option<OwnedSemaphorePermit>) -> Self {
        Self { job: Arc::new(job), since, probe: None, began: Arc::default(), permit }
    }

    /// Takes the job with its permit, and leaves the job without it.
    pub(crate) fn take(&mut self) -> Self {
        Self {
            job: Arc::clone(&self.job),
            since: self.since,
            probe: self.probe,
            began: Arc::clone(&self.began),
            permit: self.permit.take(),
        }
    }
}

/// An item of the history: short, and without the comma that separates items.
pub(crate) fn event(what: &str, detail: &str) -> String {
    const LONGEST: usize = 60;
    let detail = detail.replace(',', ";");
    format!("{what}: {}", &detail[..detail.floor_char_boundary(LONGEST)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_fits_into_the_history() {
        let event = event("retry", &"ä,".repeat(100));
        assert!(event.len() < 80 && !event.contains(','));
    }
}
