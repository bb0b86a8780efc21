//! What `worker` and `gateway` have in common around their work: signals are heard from the first
//! moment on, the service manager and those on call are told how it is, and Redis is awaited.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::command::connect;
use crate::config::Loaded;
use crate::http::Operations;
use crate::queue::{QueueError, RuledQueue};
use crate::telemetry::Metrics;
use crate::worker::{RedisRetry, Watchdog};

/// A process that serves until it is told to stop.
pub(super) struct Service {
    /// Whether it works.
    pub(super) watchdog: Watchdog,
    /// Serves health and metrics, if anywhere.
    pub(super) operations: Option<JoinHandle<()>>,
    /// What the metrics of the whole queue are taken from, once Redis is there.
    queue: Arc<OnceLock<RuledQueue>>,
}

impl Service {
    /// Serves health and metrics, and tells the service manager that the process is ready: a Redis
    /// that is away is awaited, and no reason to start it again.
    pub(super) async fn start(loaded: &Loaded, metrics: Metrics) -> anyhow::Result<Self> {
        let (watchdog, queue) = (Watchdog::default(), Arc::<OnceLock<RuledQueue>>::default());
        let operations = match loaded.settings.http.listen {
            None => None,
            Some(listen) => {
                let operations =
                    Operations { queue: queue.clone(), watchdog: watchdog.clone(), metrics };
                Some(operations.serve(listen).await.context("http.listen")?)
            }
        };
        if let Some(within) = sd_notify::watchdog_enabled() {
            tokio::spawn(keep_alive(watchdog.clone(), within / 2));
        }
        tell(NotifyState::Ready);
        Ok(Self { watchdog, operations, queue })
    }

    /// Connects to Redis, which may take until it is there and lets us in.
    ///
    /// # Errors
    /// What only another configuration mends.
    pub(super) async fn redis(&self, loaded: &Loaded) -> anyhow::Result<RuledQueue> {
        let mut retry = RedisRetry::at_start("connecting to Redis");
        loop {
            let error = match connect(loaded).await {
                Ok(queue) => {
                    retry.reset();
                    let _ = self.queue.set(queue.clone());
                    return Ok(queue);
                }
                Err(error) => error,
            };
            match error.downcast_ref::<QueueError>() {
                None | Some(QueueError::Misconfigured(_)) => return Err(error),
                Some(why) => {
                    self.watchdog.redis_away(why);
                    retry.wait(why).await;
                }
            }
        }
    }

    /// Returns at the next signal, having told the service manager that it stops.
    pub(super) async fn told_to_stop(signals: &mut Signals) {
        signals.next().await;
        tell(NotifyState::Stopping);
    }
}

/// Tells the service manager twice in its time that this process works, as long as it does. One of
/// which a role has ended stops by itself, and is not to be killed while it does.
async fn keep_alive(watchdog: Watchdog, every: Duration) {
    loop {
        if watchdog.stuck().is_empty() {
            tell(NotifyState::Watchdog);
        }
        sleep(every).await;
    }
}

/// Tells the service manager, if there is one.
fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// SIGTERM and SIGINT, heard from when it is made.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to hear them. Needs a runtime.
    pub(super) fn listen() -> Self {
        let listen = |kind| signal(kind).expect("the runtime handles signals");
        Self {
            terminate: listen(SignalKind::terminate()),
            interrupt: listen(SignalKind::interrupt()),
        }
    }

    /// Returns at the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Returns at the next SIGTERM or SIGINT.
pub(super) async fn interrupted() {
    Signals::listen().next().await;
}
