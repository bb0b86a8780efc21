//! What the queue costs. `make bench` prints a table and writes target/bench.json.
//!
//! - `bare`: the bare caller.
//! - `fleet`: what running it takes, and twenty workers on one queue.
//! - `http`: enqueueing over HTTP.
//! - `measures`: what is measured beside whole lives.
//! - `scripts`: where Redis's time goes.
//! - `site`: the processes that are measured, and their CPU time.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]
#![expect(clippy::cast_precision_loss, reason = "figures are rounded anyway")]

mod bare;
mod fleet;
mod http;
mod measures;
mod scripts;
mod site;

use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::runtime::Builder;

use self::bare::InFlight;
use self::site::{DELAY, Sandbox, Store, Worker, cpu_of};

#[derive(Parser)]
struct Arguments {
    /// Given by cargo.
    #[arg(long, hide = true, global = true)]
    bench: bool,
    /// Jobs in a round.
    #[arg(long, default_value_t = 100_000)]
    jobs: usize,
    /// Rounds of the bare caller and of the queue, one after the other.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Overdue checks that are drained.
    #[arg(long, default_value_t = 1_000_000)]
    drain: usize,
    /// The command line that starts a Redis; else what is on the PATH.
    #[arg(long, env = "REELQ_REDIS_SERVER")]
    redis_server: Option<String>,
    #[command(subcommand)]
    command: Option<Mode>,
}

#[derive(clap::Subcommand)]
enum Mode {
    /// Be the bare caller.
    Bare(BareOptions),
    /// Measure each script alone.
    Scripts,
    /// Measure whole lives and nothing else.
    Lives(InFlight),
    /// Measure the drain of overdue checks and nothing else.
    Drain,
    /// Measure enqueueing over HTTP and nothing else; needs wrk.
    Http,
    /// Measure what is kept, what durability costs and a fleet of workers, and nothing else.
    Fleet,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut builder = match &arguments.command {
        Some(Mode::Bare(BareOptions { two_threads: false, .. })) => Builder::new_current_thread(),
        Some(
            Mode::Bare(_) | Mode::Scripts | Mode::Lives(_) | Mode::Drain | Mode::Http | Mode::Fleet,
        )
        | None => Builder::new_multi_thread(),
    };
    builder.enable_all().build()?.block_on(measure(arguments))
}

async fn measure(arguments: Arguments) -> anyhow::Result<()> {
    let redis_server = arguments.redis_server.as_deref();
    let lives =
        async |in_flight| lives(arguments.jobs, arguments.rounds, in_flight, redis_server).await;
    match &arguments.command {
        Some(Mode::Bare(options)) => return call_barely(options).await,
        Some(Mode::Scripts) => return scripts::run(redis_server).await,
        Some(Mode::Lives(in_flight)) => return lives(*in_flight).await.map(drop),
        Some(Mode::Drain) => {
            let drained = measures::drain(redis_server, arguments.drain).await?;
            println!("drain: {drained}");
            return Ok(());
        }
        Some(Mode::Http) => {
            println!("http: {}", http::run(redis_server).await?);
            return Ok(());
        }
        Some(Mode::Fleet) => {
            println!("fleet: {}", fleet::run(redis_server).await?);
            return Ok(());
        }
        None => {}
    }
    let mut figures = serde_json::Map::new();
    let mut note = |name: &str, measured: Value| {
        println!("{name}: {measured}");
        figures.insert(name.to_owned(), measured);
    };
    note("enqueue", measures::enqueue(redis_server).await?);
    note("http", http::run(redis_server).await?);
    note("pickup", measures::pickup(redis_server).await?);
    note("lateness", measures::lateness(redis_server).await?);
    note("idle", measures::idle(redis_server).await?);
    note("memory", measures::memory(redis_server).await?);
    note("lives", lives(InFlight::DEFAULT).await?);
    note("lives_100_in_flight", lives(InFlight { posts: 100, gets: 100 }).await?);
    note("fleet", fleet::run(redis_server).await?);
    note("drain", measures::drain(redis_server, arguments.drain).await?);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench.json");
    std::fs::write(path, serde_json::to_string_pretty(&figures)?)?;
    println!("written to target/bench.json");
    Ok(())
}

/// What the bare caller is started with.
#[derive(clap::Args)]
struct BareOptions {
    /// Where the sandbox is.
    #[arg(long)]
    api: String,
    /// How many jobs.
    #[arg(long)]
    jobs: usize,
    /// From an accepted POST to its status check, in milliseconds.
    #[arg(long)]
    delay_ms: u64,
    /// A runtime of two threads, as tokio would choose here, instead of one, as a worker has.
    #[arg(long)]
    two_threads: bool,
    #[command(flatten)]
    in_flight: InFlight,
}

/// Is the bare caller: makes all calls and prints the time and the CPU time they took, in
/// microseconds.
async fn call_barely(options: &BareOptions) -> anyhow::Result<()> {
    let bodies: Vec<(String, String)> = (0..options.jobs).map(body).collect();
    let caller = bare::Caller::new(&options.api, options.in_flight).await?;
    let began = Instant::now();
    let cpu_before = cpu_of(Some(std::process::id()))?;
    let urls = caller.make(bodies, Duration::from_millis(options.delay_ms)).await?;
    let took = began.elapsed();
    anyhow::ensure!(urls.len() == options.jobs, "{} of {} videos", urls.len(), options.jobs);
    let cpu = cpu_of(Some(std::process::id()))? - cpu_before;
    println!("{} {}", took.as_micros(), cpu.as_micros());
    Ok(())
}

/// Rounds of the bare caller and of the queue, one after the other.
async fn lives(
    jobs: usize,
    count: usize,
    in_flight: InFlight,
    redis_server: Option<&str>,
) -> anyhow::Result<Value> {
    let mut rounds = Vec::new();
    for _ in 0..count {
        let bare = bare_round(jobs, in_flight, false).await?;
        let bare_two_threads = bare_round(jobs, in_flight, true).await?;
        let queue = queue_round(jobs, in_flight, redis_server).await?;
        println!(
            "  bare {:6.0}/s at {:5.1} µs, on two threads {:6.0}/s at {:5.1} µs; \
             queue {:6.0}/s at {:5.1} µs (worker) + {:5.1} µs (Redis)",
            bare.rate,
            bare.caller,
            bare_two_threads.rate,
            bare_two_threads.caller,
            queue.rate,
            queue.caller,
            queue.redis
        );
        rounds.push(Round { bare, bare_two_threads, queue });
    }
    let median =
        |of: fn(&Round) -> f64| percentile(&mut rounds.iter().map(of).collect::<Vec<_>>(), 50.0);
    Ok(json!({
        "jobs": jobs,
        "rounds": count,
        "bare_per_s": median(|it| it.bare.rate),
        "queue_per_s": median(|it| it.queue.rate),
        "ratio_of_rates": median(|it| it.queue.rate / it.bare.rate),
        "bare_cpu_us": median(|it| it.bare.caller),
        "bare_two_threads_per_s": median(|it| it.bare_two_threads.rate),
        "bare_two_threads_cpu_us": median(|it| it.bare_two_threads.caller),
        "ratio_of_rates_to_two_threads": median(|it| it.queue.rate / it.bare_two_threads.rate),
        "ratio_of_cpu_to_two_threads":
            median(|it| (it.queue.caller + it.queue.redis) / it.bare_two_threads.caller),
        "worker_cpu_us": median(|it| it.queue.caller),
        "redis_cpu_us": median(|it| it.queue.redis),
        "ratio_of_cpu": median(|it| (it.queue.caller + it.queue.redis) / it.bare.caller),
        "calls_sent_per_job": median(|it| it.queue.sent),
        "inner_commands_per_job": median(|it| it.queue.inner_commands),
    }))
}

/// One round of each.
struct Round {
    bare: Figures,
    bare_two_threads: Figures,
    queue: Figures,
}

/// Lives per second, and microseconds of CPU time per life.
#[derive(Clone, Copy)]
struct Figures {
    rate: f64,
    /// Of the bare caller, or of the worker.
    caller: f64,
    redis: f64,
    /// Calls that the worker sent to Redis per job.
    sent: f64,
    /// Commands that the scripts carried out per job.
    inner_commands: f64,
}

/// The value below which this part (in per cent) of them lie, rounded to two digits after the point.
fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1) as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is an index")]
    let index = (last * part / 100.0).round() as usize;
    values.get(index).map_or(f64::NAN, |value| (value * 100.0).round() / 100.0)
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

async fn bare_round(
    jobs: usize,
    in_flight: InFlight,
    two_threads: bool,
) -> anyhow::Result<Figures> {
    let sandbox = Sandbox::start().await?;
    let child = Command::new(std::env::current_exe()?)
        .args(["bare", "--api", &sandbox.url])
        .args(["--jobs", &jobs.to_string(), "--delay-ms", &DELAY.as_millis().to_string()])
        .args(["--posts", &in_flight.posts.to_string(), "--gets", &in_flight.gets.to_string()])
        .args(two_threads.then_some("--two-threads"))
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let output = child.wait_with_output().await?;
    anyhow::ensure!(output.status.success());
    let figures = String::from_utf8(output.stdout)?;
    let figures: Vec<f64> =
        figures.split_whitespace().map(|it| it.parse().unwrap_or(f64::NAN)).collect();
    sandbox.stop().await?;
    let [took, cpu] = figures[..] else { anyhow::bail!("the bare caller printed {figures:?}") };
    Ok(Figures {
        rate: jobs as f64 * 1e6 / took,
        caller: cpu / jobs as f64,
        redis: 0.0,
        sent: 0.0,
        inner_commands: 0.0,
    })
}

async fn queue_round(
    jobs: usize,
    in_flight: InFlight,
    redis_server: Option<&str>,
) -> anyhow::Result<Figures> {
    let sandbox = Sandbox::start().await?;
    let store = Store::start(redis_server).await?;
    let (posts, gets) = (in_flight.posts.to_string(), in_flight.gets.to_string());
    let settings = [("REELQ_SUBMIT__CONCURRENCY", &*posts), ("REELQ_POLL__CONCURRENCY", &*gets)];
    let worker = Worker::start_with(&store, &sandbox.url, &settings).await?;
    let (redis_before, worker_before) = (store.cpu()?, worker.cpu()?);
    let began = Instant::now();
    store.xadd_many(jobs).await?;
    store.results_reach(jobs).await?;
    let took = began.elapsed();
    // Among the other commands are the producer's XADDs.
    let calls = store.calls().await?;
    let figures = Figures {
        rate: jobs as f64 / took.as_secs_f64(),
        caller: per_job(worker.cpu()? - worker_before, jobs),
        redis: per_job(store.cpu()? - redis_before, jobs),
        sent: calls.sent as f64 / jobs as f64,
        inner_commands: (calls.inner as f64 - jobs as f64) / jobs as f64,
    };
    worker.stop().await?;
    store.redis.stop().await?;
    sandbox.stop().await?;
    Ok(figures)
}
