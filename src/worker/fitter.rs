//! Fits a stage with what makes it run: permits, a claim loop, a lane and an apalis worker.
//!
//! Called twice at a worker's start, for the submit and for the poll stage.

use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::{BoxDynError, WorkerBuilder, WorkerBuilderExt, WorkerContext};
use futures_util::FutureExt;
use tokio::sync::watch;

use super::alarm::Alarm;
use super::claims::ClaimLoop;
use super::faults::Faults;
use super::guard::Guard;
use super::health::Health;
use super::lane::{Entrance, Lane, Settle};
use super::settler::Settler;
use super::stage::{InHand, Stage};
use super::supervisor::Supervisor;
use super::window::Window;

/// What is kept of a lease for writing the outcome (docs/contract.md, section 10).
const LEASE_RESERVE: Duration = Duration::from_secs(10);

/// What both stages share.
pub(super) struct Fitter {
    /// The worker's name.
    pub(super) worker: Arc<str>,
    /// `queue.lease`.
    pub(super) lease: Duration,
    pub(super) health: Health,
    pub(super) settler: Settler,
    /// Turns true when the calls in hand are given up.
    pub(super) broken_off: watch::Receiver<bool>,
    /// True while the Redis user has all rights.
    pub(super) rights: watch::Receiver<bool>,
    /// Turns true when nothing new may be taken.
    pub(super) stopping: watch::Receiver<bool>,
    /// Where claim loops run; they end by `stopping`.
    pub(super) roles: Supervisor,
    /// Where apalis workers run; they end by their contexts.
    pub(super) lanes: Supervisor,
}

/// A stage's permits, and who notices when the API as a whole is not well.
pub(super) struct Watched {
    pub(super) window: Window,
    pub(super) guard: Arc<Guard>,
}

/// A stage that runs.
pub(super) struct Fitted<S: Stage> {
    /// Where jobs in hand are brought.
    pub(super) entrance: Entrance<S>,
    /// The permits.
    pub(super) window: Window,
    /// By which the apalis worker is stopped.
    pub(super) context: WorkerContext,
}

impl Fitter {
    /// Starts a stage's claim loop and its apalis worker.
    pub(super) fn fit<S: Stage>(
        &mut self,
        stage: S,
        concurrency: usize,
        rate: Option<f64>,
        watched: Watched,
        alarm: Arc<Alarm>,
    ) -> Fitted<S> {
        let Watched { window, guard } = watched;
        let settle = Settle {
            stage: stage.clone(),
            settler: self.settler.clone(),
            guard: Arc::clone(&guard),
            faults: Arc::new(Faults::new(S::NAME)),
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
            permits: Arc::clone(window.permits()),
            guard,
            entrance: entrance.clone(),
            alarm,
            rights: self.rights.clone(),
            turns: self.health.turns(S::NAME),
        };
        self.roles.spawn(S::NAME, claims.run(self.stopping.clone()));
        Fitted { entrance, window, context }
    }
}
