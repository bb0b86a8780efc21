//! `reelq status ID`: one job's record.

use comfy_table::{Table, presets};

use super::command::{Outcome, connect, print_json, print_line, printable};
use crate::config::Loaded;
use crate::job::JobId;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The client-request-id
    id: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(loaded: &Loaded, options: Options) -> anyhow::Result<Outcome> {
    let id = JobId::new(&options.id).map_err(|why| anyhow::anyhow!("ID {why}"))?;
    let Some(record) = connect(loaded).await?.record(&id).await? else {
        eprintln!(
            "no record of {id}: never accepted (`reelq results` shows what was rejected), or ended \
             so long ago that it has expired"
        );
        return Ok(Outcome::SomeFailed);
    };
    if options.json {
        let object: serde_json::Map<String, serde_json::Value> =
            std::iter::once(("client-request-id", id.as_str()))
                .chain(record.fields())
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect();
        print_json(&object)?;
    } else {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.add_row(["client-request-id", id.as_str()]);
        for (name, value) in record.fields() {
            table.add_row([name, &printable(value)]);
        }
        print_line(table)?;
    }
    Ok(Outcome::Success)
}
