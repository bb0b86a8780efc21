//! `reelq worker`: takes jobs until SIGTERM or SIGINT.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::{Outcome, connect};
use crate::config::Loaded;
use crate::gateway::Operations;
use crate::telemetry;
use crate::worker::Worker;

pub(super) async fn run(loaded: Loaded, verbose: u8) -> anyhow::Result<Outcome> {
    let settings = &loaded.settings;
    telemetry::init(&settings.log, verbose)?;
    let metrics = telemetry::install_metrics(&settings.queue.name)?;
    let api = loaded.api()?;
    let file = loaded.file.as_ref().map_or("none".to_owned(), |it| it.display().to_string());
    tracing::info!(config.file = file, "configuration");
    let queue = connect(&loaded).await?;
    warn_of_eviction(queue.maxmemory_policy().await?.as_deref());
    let worker = Worker::start(settings, api, queue.clone()).await?;
    let operations = match settings.http.listen {
        Some(listen) => {
            let operations = Operations { queue, health: worker.health().clone(), metrics };
            Some(operations.serve(listen).await.context("http.listen")?)
        }
        None => None,
    };
    interrupted().await;
    tokio::select! {
        () = worker.stop() => {}
        () = interrupted() => tracing::warn!("a second signal: ending at once; leases heal the rest"),
    }
    if let Some(operations) = operations {
        operations.abort();
    }
    Ok(Outcome::Success)
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
    let listen = |kind| signal(kind).expect("the runtime handles signals");
    let (mut terminate, mut interrupt) =
        (listen(SignalKind::terminate()), listen(SignalKind::interrupt()));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
