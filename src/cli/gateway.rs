//! `reelq gateway`: the HTTP front, until SIGTERM or SIGINT, or until a task of it ends early.

use std::io;

use anyhow::Context;
use tokio::net::TcpListener;

use super::command::{Outcome, connect};
use super::worker::{interrupted, serve_operations};
use crate::config::{ConfigErrors, Loaded};
use crate::http::RunningGateway;
use crate::telemetry;

pub(super) async fn run(loaded: Loaded, verbose: u8) -> anyhow::Result<Outcome> {
    let settings = &loaded.settings;
    telemetry::init(&settings.log, verbose)?;
    let metrics = telemetry::install_metrics(&settings.queue.name)?;
    loaded.check_gateway()?;
    let listen = settings.gateway.listen;
    let listener = match TcpListener::bind(listen).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            return Err(ConfigErrors::one(format!("gateway.listen: {listen} is taken")).into());
        }
        other => other.with_context(|| format!("gateway.listen: {listen}"))?,
    };
    let queue = connect(&loaded).await?;
    let mut gateway = RunningGateway::start(settings, queue.clone(), listener);
    let watchdog = gateway.watchdog().clone();
    if let Some(operations) = serve_operations(settings, &queue, watchdog, metrics).await? {
        gateway.watch("http", operations);
    }
    gateway.run_until(interrupted()).await?;
    Ok(Outcome::Success)
}
