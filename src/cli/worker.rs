//! `reelq worker`: takes jobs until SIGTERM or SIGINT, or until a role of it ends early.

use super::command::Outcome;
use super::service::{Service, Signals};
use crate::config::Loaded;
use crate::queue::{Memory, Queue};
use crate::telemetry;
use crate::worker::Worker;

/// `first` and `second` hear the same signals: the first one stops it, the second ends it.
pub(super) async fn run(
    loaded: Loaded,
    verbose: u8,
    mut first: Signals,
    mut second: Signals,
) -> anyhow::Result<Outcome> {
    let settings = &loaded.settings;
    telemetry::init(&settings.log, verbose)?;
    let metrics = telemetry::install_metrics(&settings.queue.name)?;
    let api = loaded.api()?;
    let file = loaded.file.as_ref().map_or("none".to_owned(), |it| it.display().to_string());
    tracing::info!(config.file = file, "configuration");
    let service = Service::start(&loaded, metrics).await?;
    let queue = tokio::select! {
        queue = service.redis(&loaded) => queue?,
        () = Service::told_to_stop(&mut first) => return Ok(Outcome::Success),
    };
    warn_of_eviction(&queue).await;
    let mut worker = Worker::start(settings, api, queue, service.watchdog)?;
    if let Some(operations) = service.operations {
        worker.watch("http", operations);
    }
    let twice = async {
        second.next().await;
        second.next().await;
    };
    tokio::select! {
        ended = worker.run_until(Service::told_to_stop(&mut first)) => ended?,
        () = twice => tracing::warn!("a second signal: ending at once; leases heal the rest"),
    }
    Ok(Outcome::Success)
}

/// A server that evicts keys loses live jobs, or at least what is known of ended ones.
async fn warn_of_eviction(queue: &Queue) {
    // A server that does not say it is none the worse.
    let Ok(Some(Memory { policy, .. })) = queue.memory().await else { return };
    if policy.starts_with("volatile-") {
        tracing::warn!(policy, "Redis may evict ended jobs early: set maxmemory-policy noeviction");
    } else if policy != "noeviction" {
        tracing::error!(policy, "Redis may evict live jobs: set maxmemory-policy noeviction");
    }
}
