//! `reelq config`: the effective configuration and where each value came from.

use comfy_table::{Table, presets};

use super::command::{Outcome, print_json, print_line, printable};
use crate::config::{ConfigErrors, Loaded};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Print one JSON object a setting
    #[arg(long)]
    json: bool,
}

pub(super) fn run(
    loaded: Result<Loaded, ConfigErrors>,
    options: Options,
) -> anyhow::Result<Outcome> {
    let loaded = loaded?;
    if options.json {
        for setting in &loaded.shown {
            print_json(setting)?;
        }
        return Ok(Outcome::Success);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for setting in &loaded.shown {
        table.add_row([&setting.key, &printable(&setting.value), &setting.origin]);
    }
    print_line(table)?;
    Ok(Outcome::Success)
}
