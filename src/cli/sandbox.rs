//! `reelq sandbox`: the stand-in for the remote API, until it is interrupted.

use anyhow::Context;

use super::command::Outcome;
use super::service::interrupted;
use crate::config::{Log, LogFormat};
pub(super) use crate::sandbox::Options;

pub(super) async fn run(options: Options, verbose: u8) -> anyhow::Result<Outcome> {
    let log = Log { format: LogFormat::Auto, filter: "warn".to_owned() };
    crate::telemetry::init(&log, verbose)?;
    let listen = options.listen;
    let sandbox =
        crate::sandbox::start(options).await.with_context(|| format!("--listen {listen}"))?;
    eprintln!("sandbox listens on http://{}", sandbox.addr());
    interrupted().await;
    sandbox.stop().await;
    Ok(Outcome::Success)
}
