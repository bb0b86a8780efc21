//! `reelq completions` and `reelq manual`: what a package installs beside the program, made from the
//! command line's own definition.

use std::path::PathBuf;

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;

use super::command::{Outcome, print_line};

#[derive(Debug, clap::Args)]
pub(super) struct CompletionsOptions {
    /// For which shell
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct ManualOptions {
    /// Where the pages are written; it is made if it is not there
    directory: PathBuf,
}

pub(super) fn completions(
    options: &CompletionsOptions,
    mut command: Command,
) -> anyhow::Result<Outcome> {
    // What is printed at once cannot be cut off by a reader that goes.
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(options.shell, &mut command, name, &mut script);
    print_line(String::from_utf8(script)?.trim_end())?;
    Ok(Outcome::Success)
}

pub(super) fn manual(options: &ManualOptions, command: Command) -> anyhow::Result<Outcome> {
    let directory = &options.directory;
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(command, directory))
        .with_context(|| directory.display().to_string())?;
    Ok(Outcome::Success)
}
