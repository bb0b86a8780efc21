//! What the queue costs. `make bench` prints a table and writes target/bench.json.
//!
//! - `bare`: the bare caller, a process of its own.
//! - `site`: the processes that are measured, and their CPU time.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

mod bare;
mod site;

use std::time::{Duration, Instant};

use clap::Parser;
use tokio::process::Command;

use self::site::{DELAY, Sandbox, Store, Worker, cpu_of};

#[derive(Parser)]
struct Arguments {
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// Jobs in a round.
    #[arg(long, default_value_t = 100_000)]
    jobs: usize,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[command(subcommand)]
    command: Option<Mode>,
}

#[derive(clap::Subcommand)]
enum Mode {
    /// Be the bare caller.
    Bare(bare::Options),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(Mode::Bare(options)) = arguments.command {
        return bare::run(options).await;
    }
    for _ in 0..arguments.rounds {
        bare_round(arguments.jobs).await?;
        queue_round(arguments.jobs).await?;
    }
    Ok(())
}

/// The id and the body of a job, 400 bytes long.
fn body(number: usize) -> (String, String) {
    let id = format!("job-{number:07}");
    let text = "Happy birthday! ".repeat(16);
    let body = format!(
        r#"{{"client-request-id":"{id}","customer-id":"acme","use-case-id":"birthday","user-id":"user-{number:07}","phrase-texts":["{}"]}}"#,
        &text[..text.len()]
    );
    (id, body)
}

async fn bare_round(jobs: usize) -> anyhow::Result<()> {
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
        figures.split_whitespace().map(|it| it.parse().unwrap_or(0.0)).collect();
    let usage = cpu_of(sandbox.child.id())?;
    println!(
        "bare: {:.0}/s, {:.1} us/job, sandbox {:.1} us/job",
        jobs as f64 / (figures[0] / 1e6),
        figures[1] / jobs as f64,
        usage.as_secs_f64() * 1e6 / jobs as f64
    );
    sandbox.stop().await
}

async fn queue_round(jobs: usize) -> anyhow::Result<()> {
    let sandbox = Sandbox::start().await?;
    let store = Store::start().await?;
    let worker = Worker::start(&store, &sandbox.url).await?;
    let (redis_before, worker_before) = (store.cpu()?, worker.cpu()?);
    let began = Instant::now();
    let mut next = 0;
    while next < jobs {
        let mut pipeline = redis::pipe();
        for number in next..jobs.min(next + 500) {
            pipeline.cmd("XADD").arg(&["reelq:{video}:jobs", "*", "job", &body(number).1]).ignore();
        }
        next = jobs.min(next + 500);
        let () = pipeline.query_async(&mut store.raw.clone()).await?;
    }
    println!("enqueued in {:?}", began.elapsed());
    store.results_reach(jobs).await?;
    let took = began.elapsed();
    let per_job = |it: Duration| it.as_secs_f64() * 1e6 / jobs as f64;
    println!(
        "queue: {:.0}/s, worker {:.1} us/job, redis {:.1} us/job, sandbox {:.1} us/job",
        jobs as f64 / took.as_secs_f64(),
        per_job(worker.cpu()? - worker_before),
        per_job(store.cpu()? - redis_before),
        per_job(cpu_of(sandbox.child.id())?),
    );
    let info: String = store.command(&["INFO", "commandstats"]).await?;
    println!("{info}");
    worker.stop().await?;
    store.redis.stop().await?;
    sandbox.stop().await
}
