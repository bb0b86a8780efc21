//! `reelq gateway`: the HTTP front, until SIGTERM or SIGINT, or until a task of it ends early.

use std::io;

use anyhow::Context;
use tokio::net::TcpListener;

use super::command::Outcome;
use super::service::{Service, Signals};
use crate::config::{ConfigErrors, Loaded};
use crate::http::{RunningGateway, answer_unavailable};
use crate::telemetry;

pub(super) async fn run(
    loaded: Loaded,
    verbose: u8,
    mut signals: Signals,
) -> anyhow::Result<Outcome> {
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
    let service = Service::start(&loaded, metrics).await?;
    let queue = tokio::select! {
        queue = service.redis(&loaded) => queue?,
        never = answer_unavailable(&listener) => match never {},
        () = Service::told_to_stop(&mut signals) => return Ok(Outcome::Success),
    };
    let mut gateway = RunningGateway::start(settings, queue, listener, service.watchdog);
    if let Some(operations) = service.operations {
        gateway.watch("http", operations);
    }
    gateway.run_until(Service::told_to_stop(&mut signals)).await?;
    Ok(Outcome::Success)
}
