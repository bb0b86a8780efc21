//! `reelq stats`: the whole queue at a glance, once or again and again.

use std::time::Duration;

use comfy_table::{Table, presets};

use super::{Outcome, connect};
use crate::config::Loaded;
use crate::queue::Stats;

/// Time between two looks of `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Look again every second, until interrupted
    #[arg(long)]
    watch: bool,
    /// Print a JSON object a look
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(loaded: &Loaded, options: Options) -> anyhow::Result<Outcome> {
    let queue = connect(loaded).await?;
    loop {
        let stats = queue.stats().await?;
        if options.json {
            println!("{}", serde_json::to_string(&stats)?);
        } else {
            println!("{}", table(&stats));
        }
        if !options.watch {
            return Ok(Outcome::Success);
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

fn table(stats: &Stats) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let late = |ms: u64| if ms == 0 { String::new() } else { format!("oldest {ms} ms late") };
    let mut row = |name: &str, value: u64, remark: String| {
        table.add_row([name.to_owned(), value.to_string(), remark]);
    };
    row("inbox", stats.inbox, String::new());
    row(
        "waiting",
        stats.waiting,
        format!("{} due {}", stats.waiting_due, late(stats.oldest_submit_ms)),
    );
    row("unconfirmed", stats.unconfirmed, String::new());
    row(
        "polling",
        stats.polling,
        format!("{} due {}", stats.polling_due, late(stats.oldest_poll_ms)),
    );
    row("leased", stats.leased, "in a worker's hands".to_owned());
    row("dead", stats.dead, "failed or expired, kept for inspection".to_owned());
    row("results", stats.results, "entries on the stream".to_owned());
    row("rejected", stats.rejected, "entries kept aside".to_owned());
    row("workers", stats.workers, String::new());
    for (name, total) in &stats.counters {
        row(&format!("total {name}"), *total, String::new());
    }
    if let Some(reason) = &stats.paused {
        row("paused", 1, super::printable(reason));
    }
    table
}
