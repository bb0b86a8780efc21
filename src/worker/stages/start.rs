//! Starts the stages of a worker: what steers each, its claim loop, its lane and its apalis worker.

use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::{BoxDynError, WorkerBuilder, WorkerBuilderExt, WorkerContext};
use futures_util::FutureExt;
use tokio::sync::watch;

use super::apalis_backend::{Entrance, Lane, Settle};
use super::claim_loop::ClaimLoop;
use super::{InHand, StageControls, StageWork};
use crate::config::{LEASE_RESERVE, Rate, Settings};
use crate::job::{PerStage, Stage};
use crate::queue::RuledQueue;
use crate::worker::alarm::Alarm;
use crate::worker::api_health::{Breaker, FaultLog, Health, SlowStart};
use crate::worker::policies;
use crate::worker::settler::Settler;
use crate::worker::supervisor::Supervisor;
use crate::worker::watchdog::Watchdog;

/// What steers both stages, by the settings.
pub(crate) fn controls(
    settings: &Settings,
    queue: &RuledQueue,
    worker: &Arc<str>,
    health: &Arc<Health>,
) -> PerStage<StageControls> {
    let Settings { submit, poll, .. } = settings;
    let controls = |stage, concurrency, rate: Option<Rate>, backoff| {
        let slow_start = SlowStart::new(u32::try_from(concurrency).unwrap_or(u32::MAX));
        let (queue, worker, health) = (queue.clone(), Arc::clone(worker), Arc::clone(health));
        let breaker = Breaker::new(stage, queue, worker, backoff, slow_start.clone(), health);
        StageControls {
            concurrency,
            rate: rate.map(|it| it.0),
            alarm: Arc::<Alarm>::default(),
            breaker: Arc::new(breaker),
            slow_start,
            fault_log: Arc::new(FaultLog::new(stage)),
        }
    };
    let (submits, checks) = (policies::submits(settings), policies::checks(settings));
    PerStage {
        submit: controls(Stage::Submit, submit.concurrency, submit.rate, submits),
        poll: controls(Stage::Poll, poll.concurrency, poll.rate, checks),
    }
}

/// Stops the apalis worker of a lane.
#[derive(Debug)]
pub(crate) struct LaneStop(WorkerContext);

impl LaneStop {
    pub(crate) fn stop(&self) {
        // Fails only when that worker has ended already.
        let _ = self.0.stop();
    }
}

/// What starts a stage.
pub(crate) struct Starter {
    /// The worker's name.
    pub(crate) worker: Arc<str>,
    /// `queue.lease`.
    pub(crate) lease: Duration,
    /// Watches the claim loops.
    pub(crate) watchdog: Watchdog,
    /// Where settlements are brought.
    pub(crate) settler: Settler,
    /// True while the Redis user has all rights.
    pub(crate) rights: watch::Receiver<bool>,
    /// Turns true when nothing new may be taken.
    pub(crate) stopping: watch::Receiver<bool>,
    /// Turns true when the calls in hand are given up.
    pub(crate) broken_off: watch::Receiver<bool>,
    /// Where claim loops and other roles run that end by `stopping`.
    pub(crate) roles: Supervisor,
    /// Where apalis workers run; they end by `lane_stops`.
    pub(crate) lanes: Supervisor,
    /// By which each of the lanes is stopped.
    pub(crate) lane_stops: Vec<LaneStop>,
}

impl Starter {
    /// Starts a stage's claim loop and its apalis worker; returns where jobs in hand are brought.
    pub(crate) fn start<S: StageWork>(&mut self, work: S, controls: &StageControls) -> Entrance<S> {
        let settle = Settle {
            work: work.clone(),
            settler: self.settler.clone(),
            controls: controls.clone(),
            stopping: self.stopping.clone(),
            broken_off: self.broken_off.clone(),
        };
        let (entrance, lane) = Lane::new(controls.concurrency, settle);
        let context = WorkerContext::new(&format!("{}/{}", self.worker, S::STAGE));
        let call_limit = self.lease.saturating_sub(LEASE_RESERVE);
        let caller = work.clone();
        let worker = WorkerBuilder::new(&context)
            .backend(lane)
            .concurrency(controls.concurrency)
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
                tracing::error!(%error, "the {} worker ended", S::STAGE);
            }
        });
        self.lanes.spawn(S::LANE, lane);
        self.lane_stops.push(LaneStop(context));
        let claims = ClaimLoop {
            work,
            worker: Arc::clone(&self.worker),
            controls: controls.clone(),
            entrance: entrance.clone(),
            call_limit,
            rights: self.rights.clone(),
            loop_watch: self.watchdog.watch(S::STAGE.as_str()),
        };
        self.roles.spawn(S::STAGE.as_str(), claims.run(self.stopping.clone()));
        entrance
    }
}
