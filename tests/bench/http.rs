//! Enqueueing over HTTP, by an independent generator of load (wrk): the gateway's cheapest route, jobs
//! one by one, jobs in arrays; and the library beside it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use reelq::cli::private_redis::free_port;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::site::{Store, cpu_of};
use super::{measures, percentile};

/// Connections that wrk keeps busy, on one thread.
const CONNECTIONS: &str = "64";
/// Each kind of request is sent for so long in a round.
const SECONDS: &str = "4s";
const ROUNDS: usize = 5;
/// Jobs of an array.
const ARRAY: usize = 500;

/// A gateway process with default settings.
struct Gateway {
    child: Child,
    address: String,
}

impl Gateway {
    async fn start(store: &Store) -> anyhow::Result<Self> {
        let address = format!("127.0.0.1:{}", free_port().await?);
        let mut command = Command::new(env!("CARGO_BIN_EXE_reelq"));
        command.env_clear().arg("gateway").current_dir(std::env::temp_dir()).envs([
            ("REELQ_REDIS__URL", store.redis.url().as_str()),
            ("REELQ_GATEWAY__LISTEN", &address),
            ("REELQ_HTTP__LISTEN", ""),
            ("REELQ_LOG__FILTER", "warn"),
        ]);
        let child = command.kill_on_drop(true).spawn()?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            anyhow::ensure!(Instant::now() < deadline, "the gateway does not listen");
            sleep(Duration::from_millis(5)).await;
        }
        Ok(Self { child, address })
    }
}

/// Requests per second, and microseconds of CPU for each: the gateway's and Redis's.
struct Figures {
    rate: f64,
    gateway: f64,
    redis: f64,
}

/// Sends requests with so many jobs each to a gateway and a Redis of their own; 0 is `HEAD`.
async fn load(redis_server: Option<&str>, jobs: usize) -> anyhow::Result<Figures> {
    let store = Store::start(redis_server).await?;
    let mut gateway = Gateway::start(&store).await?;
    let (of_gateway, of_redis) = (cpu_of(gateway.child.id())?, store.cpu()?);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/enqueue.lua");
    let url = format!("http://{}", gateway.address);
    let output = Command::new("wrk")
        .args(["-t1", "-c", CONNECTIONS, "-d", SECONDS, "-s", script, &url, "--", "job"])
        .arg(jobs.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .context("wrk is needed for this (Debian: apt-get install wrk)")?
        .wait_with_output()
        .await?;
    let said = String::from_utf8(output.stdout)?;
    let line = said.lines().find_map(|line| line.strip_prefix("measured "));
    let measured: Vec<f64> = line
        .with_context(|| format!("wrk said: {said}"))?
        .split(' ')
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let [requests, micros, failed] = measured[..] else { anyhow::bail!("wrk said: {said}") };
    anyhow::ensure!(failed == 0.0, "{failed} of {requests} requests failed");
    // What wrk gave up at its end may have been admitted as well.
    let accepted = store.counter("accepted").await? as f64;
    anyhow::ensure!(accepted >= requests * jobs as f64, "{accepted} of {requests} requests");
    let cpu = |now: Duration, before: Duration| (now - before).as_secs_f64() * 1e6 / requests;
    let figures = Figures {
        rate: requests * 1e6 / micros,
        gateway: cpu(cpu_of(gateway.child.id())?, of_gateway),
        redis: cpu(store.cpu()?, of_redis),
    };
    gateway.child.kill().await?;
    store.redis.stop().await?;
    Ok(figures)
}

/// One round of each kind.
struct Round {
    head: Figures,
    single: Figures,
    arrays: Figures,
    /// Jobs per second.
    bulk: f64,
}

impl Round {
    fn array_jobs(&self) -> f64 {
        self.arrays.rate * ARRAY as f64
    }
}

/// Rounds of each kind, one after the other; rates per second, CPU in microseconds a request, of an
/// array's job.
pub(crate) async fn run(redis_server: Option<&str>) -> anyhow::Result<Value> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let round = Round {
            head: load(redis_server, 0).await?,
            single: load(redis_server, 1).await?,
            arrays: load(redis_server, ARRAY).await?,
            bulk: measures::bulk(redis_server).await?,
        };
        println!(
            "  HEAD {:6.0}/s at {:5.1} µs; one by one {:6.0}/s at {:5.1} µs + {:5.1} µs (Redis); \
             arrays {:6.0} jobs/s; library {:6.0} jobs/s",
            round.head.rate,
            round.head.gateway,
            round.single.rate,
            round.single.gateway,
            round.single.redis,
            round.array_jobs(),
            round.bulk,
        );
        rounds.push(round);
    }
    let median =
        |of: fn(&Round) -> f64| percentile(&mut rounds.iter().map(of).collect::<Vec<_>>(), 50.0);
    Ok(json!({
        "head_per_s": median(|it| it.head.rate),
        "head_cpu_us": median(|it| it.head.gateway),
        "single_per_s": median(|it| it.single.rate),
        "single_cpu_us": median(|it| it.single.gateway + it.single.redis),
        "ratio_of_single_to_head": median(|it| it.single.rate / it.head.rate),
        "array_jobs_per_s": median(Round::array_jobs),
        "array_job_cpu_us": median(|it| (it.arrays.gateway + it.arrays.redis) / ARRAY as f64),
        "bulk_per_s": median(|it| it.bulk),
        "ratio_of_array_to_bulk": median(|it| it.array_jobs() / it.bulk),
    }))
}
