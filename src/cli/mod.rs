//! The command line: parses, calls the library, prints.
//!
//! Results go to standard output (NDJSON for lists and streams), progress and remarks to standard
//! error. Exit codes: 0; 1 some item failed; 2 usage; 69 Redis or the API unavailable; 78 bad
//! configuration, all mistakes listed at once (docs/contract.md, section 6).
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

mod command;
mod config;
mod demo;
mod enqueue;
mod gateway;
mod generate;
mod healthcheck;
mod operate;
pub mod private_redis;
mod results;
mod sandbox;
mod service;
mod stats;
mod status;
mod worker;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use tokio::runtime::Builder;

use self::command::Outcome;
use self::service::Signals;
use crate::config::{ConfigErrors, Settings};
use crate::queue::QueueError;

/// A durable job queue and worker for the Whilter.AI Realtime Media API.
#[derive(Debug, Parser)]
#[command(name = "reelq", version, about)]
pub struct Arguments {
    /// The configuration file; else REELQ_CONFIG, ./config/reelq.toml, /etc/reelq/reelq.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say more on standard error; twice for every detail
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take jobs until SIGTERM or SIGINT; serve health and metrics
    Worker,
    /// Serve jobs and results over HTTP, and take the remote API's push, until SIGTERM or SIGINT
    Gateway,
    /// Put requests on the queue: a JSON object, an array, or NDJSON
    Enqueue(enqueue::Options),
    /// Show one job's record
    Status(status::Options),
    /// Show the whole queue at a glance
    Stats(stats::Options),
    /// Read the result stream as NDJSON
    Results(results::Options),
    /// End live jobs at once; what was sent may still be made and billed
    Cancel(operate::CancelOptions),
    /// Make live jobs due now (an unconfirmed one is sent once more), let ended ones live again
    Retry(operate::RetryOptions),
    /// Settle a job whose POST was never answered, by what you found out
    Resolve(operate::ResolveOptions),
    /// Submit nothing until `resume`; status checks go on
    Pause(operate::PauseOptions),
    /// Submit again
    Resume(operate::ResumeOptions),
    /// Stand in for the remote API, with fault injection
    Sandbox(Box<sandbox::Options>),
    /// Show the whole thing at work: a private Redis, the sandbox, a gateway, three workers, one of
    /// them killed
    Demo(demo::Options),
    /// Print the effective configuration and where each value came from
    Config(config::Options),
    /// Ask /healthz of this machine's process, as its configuration says; exit code 1 if it is not well
    Healthcheck,
    /// Print what completes commands and options in a shell
    Completions(generate::CompletionsOptions),
    /// Write the manual, one page a command, into a directory
    Manual(generate::ManualOptions),
}

/// Exit code: some item failed.
const SOME_FAILED: u8 = 1;
/// Exit code: wrong usage, as clap has it.
const WRONG_USAGE: u8 = 2;
/// Exit code: Redis or the API is not available.
const UNAVAILABLE: u8 = 69;
/// Exit code: the configuration is wrong.
const BAD_CONFIGURATION: u8 = 78;

/// Runs a command to its end.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    // A worker or a gateway waits for others nearly all its time: one thread carries thousands of
    // lives a second, and two would only wake each other. More work is for more replicas.
    let mut builder = if matches!(arguments.command, Command::Worker | Command::Gateway) {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    let runtime = builder.enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(arguments)),
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(Outcome::Success) => ExitCode::SUCCESS,
        Ok(Outcome::SomeFailed) => ExitCode::from(SOME_FAILED),
        Ok(Outcome::WrongUsage) => ExitCode::from(WRONG_USAGE),
        Err(error) => {
            // Nobody may read it any more; the exit code says enough.
            let _ = writeln!(std::io::stderr(), "reelq: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<ConfigErrors>() {
        return BAD_CONFIGURATION;
    }
    match error.downcast_ref::<QueueError>() {
        Some(QueueError::Misconfigured(_)) => BAD_CONFIGURATION,
        Some(QueueError::Unavailable(_) | QueueError::LoginRefused(_)) => UNAVAILABLE,
        Some(QueueError::Refused(_) | QueueError::Unexpected(_)) | None => SOME_FAILED,
    }
}

async fn dispatch(arguments: Arguments) -> anyhow::Result<Outcome> {
    let load = || Settings::load(arguments.config.as_deref());
    match arguments.command {
        Command::Worker => {
            let (first, second) = (Signals::listen(), Signals::listen());
            worker::run(load()?, arguments.verbose, first, second).await
        }
        Command::Gateway => {
            let signals = Signals::listen();
            gateway::run(load()?, arguments.verbose, signals).await
        }
        Command::Enqueue(options) => enqueue::run(&load()?, options).await,
        Command::Status(options) => status::run(&load()?, options).await,
        Command::Stats(options) => stats::run(&load()?, options).await,
        Command::Results(options) => results::run(&load()?, options).await,
        Command::Cancel(options) => operate::cancel(&load()?, options).await,
        Command::Retry(options) => operate::retry(&load()?, options).await,
        Command::Resolve(options) => operate::resolve(&load()?, options).await,
        Command::Pause(options) => operate::pause(&load()?, options).await,
        Command::Resume(options) => operate::resume(&load()?, options).await,
        Command::Sandbox(options) => sandbox::run(*options, arguments.verbose).await,
        Command::Demo(options) => demo::run(options).await,
        Command::Config(options) => config::run(load(), options),
        Command::Healthcheck => healthcheck::run(&load()?).await,
        Command::Completions(options) => generate::completions(&options, Arguments::command()),
        Command::Manual(options) => generate::manual(&options, Arguments::command()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::RoleEnded;

    #[test]
    fn a_role_that_ended_is_no_success() {
        let ended = RoleEnded { name: "settler", why: "it returned".to_owned() };
        assert_eq!(exit_code(&ended.into()), SOME_FAILED);
    }

    #[test]
    fn the_contract_names_the_exit_codes() {
        let contract = include_str!("../../docs/contract.md");
        let table = contract.split("| exit code |").nth(1).unwrap().split("\n\n").next().unwrap();
        let codes: Vec<u8> =
            table.lines().filter_map(|row| row.split('|').nth(1)?.trim().parse().ok()).collect();
        // 0 is the system's.
        assert_eq!(codes, [0, SOME_FAILED, WRONG_USAGE, UNAVAILABLE, BAD_CONFIGURATION]);
    }
}
