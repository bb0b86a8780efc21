//! What the queue costs. `make bench` prints a table and writes target/bench.json.
//!
//! - `bare`: the bare caller, a process of its own.
//! - `site`: the processes that are measured, and their CPU time.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]
#![expect(clippy::cast_precision_loss, reason = "figures are rounded anyway")]

mod bare;
mod scripts;
mod site;

use std::time::{Duration, Instant};

use clap::Parser;
use tokio::process::Command;

use self::site::{DELAY, Sandbox, Store, Worker};

#[derive(Parser)]
struct Arguments {
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// Jobs in a round.
    #[arg(long, default_value_t = 100_000)]
    jobs: usize,
    /// Rounds of the bare caller and of the queue, one after the other.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The command line that starts a Redis; else what is on the PATH.
    #[arg(long, env = "REELQ_REDIS_SERVER")]
    redis_server: Option<String>,
    #[command(subcommand)]
    command: Option<Mode>,
}

#[derive(clap::Subcommand)]
enum Mode {
    /// Be the bare caller.
    Bare(bare::Options),
    /// Measure each script alone.
    Scripts,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Mode::Bare(options)) => return bare::run(options).await,
        Some(Mode::Scripts) => return scripts::run(arguments.redis_server.as_deref()).await,
        None => {}
    }
    let mut rounds = Vec::new();
    for _ in 0..arguments.rounds {
        let bare = bare_round(arguments.jobs).await?;
        let queue = queue_round(arguments.jobs, arguments.redis_server.as_deref()).await?;
        let round = Round { bare, queue };
        println!(
            "bare {:6.0}/s at {:5.1} µs; queue {:6.0}/s at {:5.1} µs (worker) + {:5.1} µs (Redis)",
            bare.rate, bare.caller, queue.rate, queue.caller, queue.redis
        );
        rounds.push(round);
    }
    println!(
        "median ratios: lives/s {:.2}, CPU {:.2}",
        median(rounds.iter().map(|it| it.queue.rate / it.bare.rate)),
        median(rounds.iter().map(|it| (it.queue.caller + it.queue.redis) / it.bare.caller))
    );
    Ok(())
}

/// One round of both.
struct Round {
    bare: Figures,
    queue: Figures,
}

/// Lives per second, and microseconds of CPU time per life.
#[derive(Clone, Copy)]
struct Figures {
    rate: f64,
    /// Of the bare caller, or of the worker.
    caller: f64,
    redis: f64,
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn per_job(cpu: Duration, jobs: usize) -> f64 {
    cpu.as_secs_f64() * 1e6 / jobs as f64
}

/// The id and the body of a job, 400 bytes long.
fn body(number: usize) -> (String, String) {
    let id = format!("job-{number:07}");
    let body = format!(
        r#"{{"client-request-id":"{id}","customer-id":"acme","use-case-id":"birthday","user-id":"user-{number:07}","phrase-texts":["{}"]}}"#,
        "Happy birthday! ".repeat(16)
    );
    (id, body)
}

async fn bare_round(jobs: usize) -> anyhow::Result<Figures> {
    let sandbox = Sandbox::start().await?;
    let child = Command::new(std::env::current_exe()?)
        .args(["bare", "--api", &sandbox.url])
        .args(["--jobs", &jobs.to_string(), "--delay-ms", &DELAY.as_millis().to_string()])
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let output = child.wait_with_output().await?;
    anyhow::ensure!(output.status.success());
    let figures = String::from_utf8(output.stdout)?;
    let figures: Vec<f64> =
        figures.split_whitespace().map(|it| it.parse().unwrap_or(f64::NAN)).collect();
    sandbox.stop().await?;
    let [took, cpu] = figures[..] else { anyhow::bail!("the bare caller printed {figures:?}") };
    Ok(Figures { rate: jobs as f64 * 1e6 / took, caller: cpu / jobs as f64, redis: 0.0 })
}

async fn queue_round(jobs: usize, redis_server: Option<&str>) -> anyhow::Result<Figures> {
    let sandbox = Sandbox::start().await?;
    let store = Store::start(redis_server).await?;
    let worker = Worker::start(&store, &sandbox.url).await?;
    let (redis_before, worker_before) = (store.cpu()?, worker.cpu()?);
    let began = Instant::now();
    let mut next = 0;
    while next < jobs {
        let mut pipeline = redis::pipe();
        for number in next..jobs.min(next + 64) {
            pipeline.cmd("XADD").arg(&["reelq:{video}:jobs", "*", "job", &body(number).1]).ignore();
        }
        next = jobs.min(next + 64);
        let () = pipeline.query_async(&mut store.raw.clone()).await?;
    }
    store.results_reach(jobs).await?;
    let took = began.elapsed();
    let figures = Figures {
        rate: jobs as f64 / took.as_secs_f64(),
        caller: per_job(worker.cpu()? - worker_before, jobs),
        redis: per_job(store.cpu()? - redis_before, jobs),
    };
    worker.stop().await?;
    store.redis.stop().await?;
    sandbox.stop().await?;
    Ok(figures)
}
