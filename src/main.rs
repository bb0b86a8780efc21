//! The `reelq` command.

use std::process::ExitCode;

use clap::Parser;
use reelq::cli::{Arguments, run};

fn main() -> ExitCode {
    // A closed pipe (`reelq results | head`) ends the command through an error like any other.
    run(Arguments::parse())
}
