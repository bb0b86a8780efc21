//! The demo's child processes: this program with another command.

use std::path::Path;
use std::process::Stdio;

use anyhow::Context;
use tokio::process::Command;

/// How `reelq COMMAND` is started under this configuration, quietly.
///
/// Settings in the demo's own environment are not the demo's: they could lead to another Redis.
/// Its own process group keeps a terminal's Ctrl-C from it: the demo ends it.
pub(super) fn process(configuration: &Path, command: &str) -> anyhow::Result<Command> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut process = Command::new(program);
    process
        .env_clear()
        .arg("--config")
        .arg(configuration)
        .arg(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    Ok(process)
}
