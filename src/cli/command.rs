//! What the commands have in common: how one connects, prints and ends.

use std::io::Write;

use anyhow::Context;

use crate::config::Loaded;
use crate::queue::{Queue, RuledQueue};
use crate::setup;

/// What a command ends with when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    /// Some item failed; each has been named.
    SomeFailed,
    /// It was asked for in a way that is not done; that has been said.
    WrongUsage,
}

/// Connects to the configured queue.
pub(super) async fn connect(loaded: &Loaded) -> anyhow::Result<RuledQueue> {
    let settings = &loaded.settings;
    let queue = Queue::connect(setup::connect_options(settings)?, &settings.queue.name)
        .await
        .with_context(|| format!("redis.url {}", settings.redis.shown()))?;
    Ok(queue.with_rules(setup::rules(settings)))
}

/// One NDJSON line.
pub(super) fn print_json(line: &impl serde::Serialize) -> anyhow::Result<()> {
    print_line(serde_json::to_string(line)?)
}

/// A line, or a table. A closed pipe is an error, so that nothing unread counts as printed.
pub(super) fn print_line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// A text from Redis as a terminal may see it.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}
