//! `reelq stats`: the whole queue at a glance, once or again and again.

use std::time::Duration;

use comfy_table::{Table, presets};
use jiff::Timestamp;

use super::command::{Outcome, connect, print_json, print_line, printable};
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
            print_json(&stats)?;
        } else {
            print_line(table(&stats))?;
        }
        if !options.watch {
            return Ok(Outcome::Success);
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

fn table(stats: &Stats) -> Table {
    let due = |due: u64, oldest_ms: u64| match due {
        0 => "none due".to_owned(),
        _ => format!("{due} due, the oldest for {}", seconds(oldest_ms)),
    };
    let text = |what: &str| what.to_owned();
    let rows = [
        ("inbox", stats.inbox, text("not yet admitted")),
        ("waiting", stats.waiting, due(stats.waiting_due, stats.oldest_submit_ms)),
        ("unconfirmed", stats.unconfirmed, text("sent, not answered")),
        ("polling", stats.polling, due(stats.polling_due, stats.oldest_poll_ms)),
        ("leased", stats.leased, text("in a worker's hands")),
        ("dead", stats.dead, text("failed or expired, kept for inspection")),
        ("rejected", stats.rejected, text("entries kept aside")),
        ("workers", stats.workers, text("alive")),
        ("results", stats.results, text("entries on the stream")),
    ];
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, count, remark) in rows {
        table.add_row([name.to_owned(), count.to_string(), remark]);
    }
    for (group, age_ms) in &stats.result_groups_ms {
        let remark = format!("the oldest result it has not acknowledged: {}", seconds(*age_ms));
        table.add_row([printable(&format!("group {group}")), String::new(), remark]);
    }
    for (name, total) in &stats.counters {
        table.add_row([printable(&format!("total {name}")), total.to_string()]);
    }
    for (stage, view) in stats.stages.iter() {
        let words = match view.next_probe {
            Some(at) => format!("{}, tried again at {}: {}", view.state, moment(at), view.reason),
            None if view.reason.is_empty() => view.state.to_string(),
            None => format!("{}, tried now: {}", view.state, view.reason),
        };
        table.add_row([format!("stage {stage}"), String::new(), printable(&words)]);
    }
    for (worker, why) in &stats.ill {
        let remark = format!("the API answers others and not {worker}: {why}");
        table.add_row(["ill".to_owned(), String::new(), printable(&remark)]);
    }
    if let Some(reason) = &stats.paused {
        table.add_row(["paused".to_owned(), String::new(), printable(reason)]);
    }
    table
}

fn seconds(ms: u64) -> String {
    format!("{:.1} s", Duration::from_millis(ms).as_secs_f64())
}

/// A time in Unix ms as people read it, in UTC.
fn moment(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| at_ms.to_string(), |at| at.to_string())
}
