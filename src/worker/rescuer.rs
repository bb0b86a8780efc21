//! The rescuer: puts back what the dead held, and tidies up what time has overtaken.
//!
//! Every worker has one; two that look at once do no harm, since each script moves a job once. If
//! all workers die, the next one that starts does it after its first beats.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::intake::{Admitter, Begin};
use super::redis_retry::RedisRetry;
use super::rights::wait_for_rights;
use super::watchdog::LoopWatch;
use crate::job::ErrorCode;
use crate::job::backoff::Backoff;
use crate::queue::{ADMIT_BATCH, Lost, QueueError, RuledQueue};
use crate::telemetry;

/// How often leases that have run out are looked for, at most; half of it is random.
const OVERDUE: Backoff = Backoff {
    initial: Duration::from_secs(5),
    multiplier: 1.0,
    max: Duration::from_secs(5),
    jitter: 0.5,
};
/// How often abandoned entries and old results are looked for.
const TIDY: Duration = Duration::from_secs(60);

/// See the module.
pub(crate) struct Rescuer {
    pub(crate) queue: RuledQueue,
    pub(crate) worker: Arc<str>,
    pub(crate) admitter: Admitter,
    /// Workers that the heartbeat has judged dead.
    pub(crate) silent: watch::Receiver<Vec<String>>,
    /// True while the Redis user has all rights.
    pub(crate) rights: watch::Receiver<bool>,
    pub(crate) loop_watch: LoopWatch,
}

impl Rescuer {
    /// Runs until the worker stops.
    pub(crate) async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        let mut retry = RedisRetry::new("rescue");
        let mut tidied = None;
        loop {
            self.loop_watch.turned();
            tokio::select! {
                () = wait_for_rights(&mut self.rights, &self.loop_watch) => {}
                _ = stopping.wait_for(|it| *it) => return,
            }
            let silent = self.silent.borrow_and_update().clone();
            match self.tick(&silent, &mut tidied).await {
                Ok(()) => retry.reset(),
                Err(error) => retry.wait(&error).await,
            }
            tokio::select! {
                () = tokio::time::sleep(OVERDUE.delay(0)) => {}
                // Fails only when the heartbeat has ended, and then so does the worker.
                _ = self.silent.changed() => {}
                _ = stopping.wait_for(|it| *it) => return,
            }
        }
    }

    /// Looks once through what the dead left and what time has overtaken.
    pub(super) async fn tick(
        &self,
        silent: &[String],
        tidied: &mut Option<Instant>,
    ) -> Result<(), QueueError> {
        self.take_back("overdue leases", |_| Lost::Overdue).await?;
        for dead in silent {
            tracing::warn!(worker = dead, "silent: taking over what it held");
            let taken = self.take_back(dead, |skip| Lost::Worker { name: dead, skip }).await?;
            let entries = self.queue.adopt_entries_of(dead, &self.worker).await?;
            self.admitter.admit(entries, Begin::Later, &self.loop_watch).await;
            // Leases that were settled meanwhile may have hidden some: the next beat looks again.
            if taken == 0 {
                self.queue.forget_worker(dead).await?;
            }
        }
        if tidied.is_none_or(|at| at.elapsed() >= TIDY) {
            loop {
                let entries = self.queue.adopt_idle_entries(&self.worker).await?;
                let more = entries.len() == ADMIT_BATCH;
                self.admitter.admit(entries, Begin::Later, &self.loop_watch).await;
                if !more {
                    break;
                }
            }
            self.queue.trim().await?;
            *tidied = Some(Instant::now());
        }
        Ok(())
    }

    /// Takes back leases, batch by batch, until there are no more; returns how many.
    async fn take_back<'a>(
        &self,
        whose: &str,
        lost: impl Fn(usize) -> Lost<'a>,
    ) -> Result<usize, QueueError> {
        let (mut taken, mut passed_over) = (0, 0);
        loop {
            let batch = self.queue.reclaim(lost(passed_over)).await?;
            taken += batch.taken;
            for id in &batch.quarantined {
                telemetry::quarantined(1);
                tracing::warn!(job.id = id, "taken out of leases: no record, or ended");
            }
            telemetry::jobs_ended("failed", ErrorCode::CrashLoop.as_str(), batch.failed);
            passed_over += batch.seen - batch.taken;
            if !batch.has_more() {
                break;
            }
        }
        if taken > 0 {
            tracing::warn!(jobs = taken, "took back {whose}");
        }
        Ok(taken)
    }
}
