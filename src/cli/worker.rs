//! `reelq worker`: takes jobs until SIGTERM or SIGINT, or until a role of it ends early.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use super::command::{Outcome, connect};
use crate::config::{Loaded, Settings};
use crate::http::Operations;
use crate::queue::Queue;
use crate::telemetry::{self, Metrics};
use crate::worker::{Watchdog, Worker};

pub(super) async fn run(loaded: Loaded, verbose: u8) -> anyhow::Result<Outcome> {
    let settings = &loaded.settings;
    telemetry::init(&settings.log, verbose)?;
    let metrics = telemetry::install_metrics(&settings.queue.name)?;
    let api = loaded.api()?;
    let file = loaded.file.as_ref().map_or("none".to_owned(), |it| it.display().to_string());
    tracing::info!(config.file = file, "configuration");
    let queue = connect(&loaded).await?;
    warn_of_eviction(queue.maxmemory_policy().await?.as_deref());
    let mut worker = Worker::start(settings, api, queue.clone())?;
    let watchdog = worker.watchdog().clone();
    if let Some(operations) = serve_operations(settings, &queue, watchdog, metrics).await? {
        worker.watch("http", operations);
    }
    let (mut first, mut second) = (Interrupts::listen(), Interrupts::listen());
    let twice = async {
        second.next().await;
        second.next().await;
    };
    tokio::select! {
        ended = worker.run_until(first.next()) => ended?,
        () = twice => tracing::warn!("a second signal: ending at once; leases heal the rest"),
    }
    Ok(Outcome::Success)
}

/// Serves health and metrics, if anywhere.
pub(super) async fn serve_operations(
    settings: &Settings,
    queue: &Queue,
    watchdog: Watchdog,
    metrics: Metrics,
) -> anyhow::Result<Option<JoinHandle<()>>> {
    let Some(listen) = settings.http.listen else { return Ok(None) };
    let operations = Operations { queue: queue.clone(), watchdog, metrics };
    Ok(Some(operations.serve(listen).await.context("http.listen")?))
}

/// A server that evicts keys loses live jobs, or at least what is known of ended ones.
fn warn_of_eviction(policy: Option<&str>) {
    match policy {
        Some("noeviction") | None => {}
        Some(policy) if policy.starts_with("volatile-") => {
            tracing::warn!(
                policy,
                "Redis may evict ended jobs early: set maxmemory-policy noeviction"
            );
        }
        Some(policy) => {
            tracing::error!(policy, "Redis may evict live jobs: set maxmemory-policy noeviction");
        }
    }
}

/// Returns at the next SIGTERM or SIGINT.
pub(super) async fn interrupted() {
    Interrupts::listen().next().await;
}

/// SIGTERM and SIGINT from a moment on.
struct Interrupts {
    terminate: Signal,
    interrupt: Signal,
}

impl Interrupts {
    fn listen() -> Self {
        let listen = |kind| signal(kind).expect("the runtime handles signals");
        Self {
            terminate: listen(SignalKind::terminate()),
            interrupt: listen(SignalKind::interrupt()),
        }
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
