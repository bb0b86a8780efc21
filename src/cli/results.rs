//! `reelq results`: the result stream as NDJSON.

use std::time::Duration;

use super::command::{Outcome, connect, print_json};
use crate::config::Loaded;
use crate::queue::{QueueError, ResultReader};

/// Entries of one read.
const PAGE: usize = 100;
/// How long a read waits with `--follow`.
const FOLLOW: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Wait for further results, until interrupted or `--count` is reached
    #[arg(long)]
    follow: bool,
    /// Read as a consumer of this group, and acknowledge what was printed
    #[arg(long, value_name = "G")]
    group: Option<String>,
    /// Create the group if it is not there
    #[arg(long, requires = "group")]
    create: bool,
    /// End after N results
    #[arg(long, value_name = "N")]
    count: Option<usize>,
}

pub(super) async fn run(loaded: &Loaded, options: Options) -> anyhow::Result<Outcome> {
    let queue = connect(loaded).await?;
    let mut reader: ResultReader = match &options.group {
        Some(group) => {
            if options.create {
                queue.create_results_group(group).await?;
            }
            // One name for all runs: what an interrupted run did not print comes again.
            queue.results_of_group(group, "reelq-cli")
        }
        None => queue.results_after("0"),
    };
    let block = if options.follow { FOLLOW } else { Duration::from_millis(1) };
    let mut left = options.count.unwrap_or(usize::MAX);
    while left > 0 {
        let results = match reader.read(PAGE.min(left), block).await {
            Err(QueueError::Refused(error)) if error.code() == Some("NOGROUP") => {
                anyhow::bail!("there is no such group yet: --create creates it ({error})")
            }
            read => read?,
        };
        if results.is_empty() && !options.follow {
            break;
        }
        left -= results.len();
        for result in &results {
            print_json(&result.fields)?;
        }
        if let Some(group) = &options.group {
            let ids: Vec<String> = results.into_iter().map(|result| result.entry_id).collect();
            queue.acknowledge(group, &ids).await?;
        }
    }
    Ok(Outcome::Success)
}
