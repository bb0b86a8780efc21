//! Fits a stage with what makes it run: permits, a claim loop, a lane and an apalis worker.
//!
//! Called twice at a worker's start, for the submit and for the poll stage.

use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::{BoxDynError, WorkerBuilder, WorkerBuilderExt, WorkerContext};
use futures_util::FutureExt;
use tokio::sync::watch;

use super::apalis_backend::{Entrance, Lane, Settle};
use super::claim_loop::ClaimLoop;
use super::{InHand, Stage};
use crate::worker::alarm::Alarm;
use crate::worker::api_health::Breaker;
use crate::worker::api_health::FaultLog;
use crate::worker::api_health::SlowStart;
use crate::worker::settler::Settler;
use crate::worker::supervisor::Supervisor;
use crate::worker::watchdog::Watchdog;

/// What is kept of a lease for writing the outcome (docs/contract.md, section 10).
const LEASE_RESERVE: Duration = Duration::from_secs(10);

/// What both stages share.
pub(crate) struct Fitter {
    /// The worker's name.
    pub(crate) worker: Arc<str>,
    /// `queue.lease`.
    pub(crate) lease: Duration,
    pub(crate) watchdog: Watchdog,
    pub(crate) settler: Settler,
    /// LoopWatch true when the calls in hand are given up.
    pub(crate) broken_off: watch::Receiver<bool>,
    /// True while the Redis user has all rights.
    pub(crate) rights: watch::Receiver<bool>,
    /// LoopWatch true when nothing new may be taken.
    pub(crate) stopping: watch::Receiver<bool>,
    /// Where claim loops run; they end by `stopping`.
    pub(crate) roles: Supervisor,
    /// Where apalis workers run; they end by their contexts.
    pub(crate) lanes: Supervisor,
}

/// A stage's permits, and who notices when the API as a whole is not well.
pub(crate) struct Watched {
    pub(crate) slow_start: SlowStart,
    pub(crate) breaker: Arc<Breaker>,
}

/// A stage that runs.
pub(crate) struct Fitted<S: Stage> {
    /// Where jobs in hand are brought.
    pub(crate) entrance: Entrance<S>,
    /// The permits.
    pub(crate) slow_start: SlowStart,
    /// By which the apalis worker is stopped.
    pub(crate) context: WorkerContext,
}

impl Fitter {
    /// Starts a stage's claim loop and its apalis worker.
    pub(crate) fn fit<S: Stage>(
        &mut self,
        stage: S,
        concurrency: usize,
        rate: Option<f64>,
        watched: Watched,
        alarm: Arc<Alarm>,
    ) -> Fitted<S> {
        let Watched { slow_start, breaker } = watched;
        let settle = Settle {
            stage: stage.clone(),
            settler: self.settler.clone(),
            breaker: Arc::clone(&breaker),
            fault_log: Arc::new(FaultLog::new(S::NAME)),
            stopping: self.stopping.clone(),
            broken_off: self.broken_off.clone(),
        };
        let (entrance, lane) = Lane::new(concurrency, settle);
        let context = WorkerContext::new(&format!("{}/{}", self.worker, S::NAME));
        let call_limit = self.lease.saturating_sub(LEASE_RESERVE);
        let caller = stage.clone();
        let worker = WorkerBuilder::new(&context)
            .backend(lane)
            .concurrency(concurrency)
            .catch_panic()
            .build(move |in_hand: InHand<S::Job>| {
                let caller = caller.clone();
                async move {
                    let InHand { job, since, began, .. } = in_hand;
                    Ok::<_, BoxDynError>(caller.call(job, since + call_limit, began).await)
                }
            });
        let lane = worker.run().map(|ended| {
            if let Err(error) = ended {
                tracing::error!(%error, "the {} worker ended", S::NAME);
            }
        });
        self.lanes.spawn(S::LANE, lane);
        let claims = ClaimLoop {
            stage,
            worker: Arc::clone(&self.worker),
            lease: self.lease,
            rate,
            permits: Arc::clone(slow_start.permits()),
            breaker,
            entrance: entrance.clone(),
            alarm,
            rights: self.rights.clone(),
            loop_watch: self.watchdog.loop_watch(S::NAME),
        };
        self.roles.spawn(S::NAME, claims.run(self.stopping.clone()));
        Fitted { entrance, slow_start, context }
    }
}
