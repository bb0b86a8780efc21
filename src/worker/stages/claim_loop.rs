//! The claim loop of a stage: takes what is due as long as there are free permits.
//!
//! Claimed is begun: it asks for no more jobs than it has permits, and hands each over together
//! with its permit, so nothing waits in a dying worker's memory.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::apalis_backend::Entrance;
use super::{InHand, StageControls, StageWork};
use crate::queue::{CLAIM_BATCH, Claimant, QueueError};
use crate::telemetry;
use crate::worker::alarm::LONGEST_WAIT;
use crate::worker::redis_retry::RedisRetry;
use crate::worker::rights::wait_for_rights;
use crate::worker::watchdog::LoopWatch;

/// See the module.
pub(crate) struct ClaimLoop<S: StageWork> {
    pub(crate) work: S,
    pub(crate) worker: Arc<str>,
    pub(crate) controls: StageControls,
    pub(crate) entrance: Entrance<S>,
    /// How long a call may take.
    pub(crate) call_limit: Duration,
    /// True while the Redis user has all rights.
    pub(crate) rights: watch::Receiver<bool>,
    pub(crate) loop_watch: LoopWatch,
}

impl<S: StageWork> ClaimLoop<S> {
    /// Runs until the worker stops.
    pub(crate) async fn run(self, mut stopping: watch::Receiver<bool>) {
        let mut retry = RedisRetry::new(S::STAGE.as_str());
        let mut claims = 1_u64..;
        loop {
            self.loop_watch.turned();
            let rung = tokio::select! {
                rung = self.controls.alarm.rung() => rung,
                _ = stopping.wait_for(|it| *it) => return,
            };
            if !rung {
                continue;
            }
            let permits = tokio::select! {
                permits = self.permits_and_rights() => permits,
                _ = stopping.wait_for(|it| *it) => return,
            };
            let number = claims.next().expect("the numbers never end");
            if self.tick(permits, number, &mut retry, &mut stopping).await.is_break() {
                return;
            }
        }
    }

    /// Permits, when the Redis user has all rights; until then none is kept from others.
    async fn permits_and_rights(&self) -> OwnedSemaphorePermit {
        wait_for_rights(&mut self.rights.clone(), &self.loop_watch).await;
        self.free_permits().await
    }

    /// At least one permit, and whatever else is free; waits while all are in use.
    async fn free_permits(&self) -> OwnedSemaphorePermit {
        loop {
            self.loop_watch.turned();
            let first = Arc::clone(self.controls.slow_start.permits()).acquire_owned();
            let wait = tokio::time::timeout(LONGEST_WAIT, first);
            let Ok(permit) = wait.await else { continue };
            let mut permits = permit.expect("the semaphore is never closed");
            let more = self.controls.slow_start.permits().available_permits().min(CLAIM_BATCH - 1);
            if let Ok(more) = Arc::clone(self.controls.slow_start.permits())
                .try_acquire_many_owned(u32::try_from(more).unwrap_or(0))
            {
                permits.merge(more);
            }
            return permits;
        }
    }

    /// Finds out whether the API is there before a POST is tried, which may be billed.
    fn check(&self, transaction: String, permit: Option<OwnedSemaphorePermit>) {
        let (work, controls) = (self.work.clone(), self.controls.clone());
        let until = Instant::now() + self.call_limit;
        tokio::spawn(async move {
            let answered = work.check(&transaction, until).await;
            controls.breaker.checked(answered).await;
            drop(permit);
            controls.alarm.ring_in(Duration::ZERO);
        });
    }

    async fn wait_to_repeat(&self, retry: &mut RedisRetry, error: &QueueError) {
        retry.wait(error).await;
        wait_for_rights(&mut self.rights.clone(), &self.loop_watch).await;
    }

    /// One claim, repeated until its fate is known; sets the alarm for the next.
    pub(crate) async fn tick(
        &self,
        mut permits: OwnedSemaphorePermit,
        number: u64,
        retry: &mut RedisRetry,
        stopping: &mut watch::Receiver<bool>,
    ) -> ControlFlow<()> {
        let since = Instant::now();
        let limit = permits.num_permits();
        let (worker, rate) = (&*self.worker, self.controls.rate);
        let claimant = Claimant { worker, limit, number, rate };
        let claimed = loop {
            match self.work.claim(claimant).await {
                Ok(claimed) => break claimed,
                Err(error) => tokio::select! {
                    () = self.wait_to_repeat(retry, &error) => {}
                    // What this claim may have taken is left to its lease.
                    _ = stopping.wait_for(|it| *it) => return ControlFlow::Break(()),
                },
            }
        };
        retry.reset();
        self.controls.breaker.saw_state(claimed.state);
        for id in &claimed.quarantined {
            telemetry::quarantined(1);
            tracing::warn!(job.id = id, "taken out of {}: no record, or ended", S::STAGE);
        }
        for id in &claimed.unreadable {
            tracing::error!(job.id = id, "skipped: its id or whilter-request-id is no text");
        }
        if let Some(transaction) = claimed.to_check {
            self.check(transaction, permits.split(1));
        }
        let probe = claimed.is_probe.then_some(claimed.state);
        for job in claimed.jobs {
            let in_hand = InHand { probe, ..InHand::new(job, since, permits.split(1)) };
            self.entrance.bring(in_hand).await;
        }
        if let Some(delay) = claimed.next_in {
            self.controls.alarm.ring_in(delay);
        }
        ControlFlow::Continue(())
    }
}
