//! Rights: looks whether the Redis user may do all that a worker needs, before anything is claimed
//! and after Redis has refused something. Until the rights are there nothing is claimed or admitted;
//! what was begun is still settled.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::alarm::LONGEST_WAIT;
use super::redis_retry::RedisRetry;
use super::watchdog::{LoopWatch, Watchdog};
use crate::queue::{QueueError, RuledQueue};

/// What is missing is said again so often.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// See the module.
pub(crate) struct Rights {
    pub(crate) queue: RuledQueue,
    pub(crate) watchdog: Watchdog,
    /// True while all rights are there.
    pub(crate) given: Arc<watch::Sender<bool>>,
    pub(crate) loop_watch: LoopWatch,
}

impl Rights {
    /// Runs until the worker stops.
    pub(crate) async fn run(self, mut stopping: watch::Receiver<bool>) {
        tokio::select! {
            () = self.look_for_ever() => {}
            _ = stopping.wait_for(|it| *it) => {}
        }
    }

    async fn look_for_ever(&self) {
        let mut retry = RedisRetry::new("rights");
        let mut said = None;
        loop {
            match self.tick(&mut said).await {
                Ok(true) => self.wait_for_a_refusal().await,
                Ok(false) => sleep(LONGEST_WAIT).await,
                Err(error) => {
                    retry.wait(&error).await;
                    continue;
                }
            }
            retry.reset();
        }
    }

    /// Looks once; says whether all rights are there. `said` is when it was last said what is not.
    pub(super) async fn tick(&self, said: &mut Option<Instant>) -> Result<bool, QueueError> {
        self.loop_watch.turned();
        let missing = match self.queue.missing_rights().await {
            // The right to ask is missing.
            Err(error) if error.is_missing_right() => vec![error.to_string()],
            other => other?,
        };
        let complete = missing.is_empty();
        if complete && said.take().is_some() {
            tracing::info!("the Redis user has all rights that a worker needs");
        }
        if !complete && said.is_none_or(|at| at.elapsed() >= SAID_EVERY) {
            let missing = missing.join("; ");
            tracing::error!(missing, "the Redis user lacks rights: nothing is claimed until then");
            *said = Some(Instant::now());
        }
        self.watchdog.lacks(missing);
        self.given.send_replace(complete);
        Ok(complete)
    }

    async fn wait_for_a_refusal(&self) {
        while timeout(LONGEST_WAIT, self.queue.connection().right_refused()).await.is_err() {
            self.loop_watch.turned();
        }
    }
}

/// Returns when the Redis user has all rights; whoever waits so is not stuck.
pub(crate) async fn wait_for_rights(given: &mut watch::Receiver<bool>, loop_watch: &LoopWatch) {
    // An error says that the one who looks has ended, and with it the worker.
    while timeout(LONGEST_WAIT, given.wait_for(|it| *it)).await.is_err() {
        loop_watch.turned();
    }
}
