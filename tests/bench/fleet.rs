//! What running it takes: memory and disk by what is kept, speed by how durable it is, and what a
//! fleet of twenty workers does to one queue.

use std::time::{Duration, Instant};

use anyhow::Context;
use reelq::cli::private_redis::free_port;
use serde_json::{Value, json};
use tokio::time::sleep_until;

use super::measures::sent_per_s;
use super::site::{Sandbox, Store, Worker};
use super::{body, percentile};

/// So many workers are a fleet.
const WORKERS: usize = 20;
/// Jobs of one measurement.
const JOBS: usize = 40_000;
/// Jobs that come one by one.
const TRICKLE: usize = 2_000;
/// From one of these to the next.
const EVERY: Duration = Duration::from_millis(5);
/// Rounds of what is compared, one after the other.
const ROUNDS: usize = 3;

pub(crate) async fn run(redis_server: Option<&str>) -> anyhow::Result<Value> {
    Ok(json!({
        "kept": kept(redis_server).await?,
        "durable": durable(redis_server).await?,
        "fleet": fleet(redis_server).await?,
    }))
}

/// Bytes of Redis for an ended job with its result, and of the append-only file for a life.
async fn kept(redis_server: Option<&str>) -> anyhow::Result<Value> {
    let mut figures = serde_json::Map::new();
    for (end, fail_rate) in [("completed", "0"), ("failed", "1")] {
        let sandbox = Sandbox::start_with(&["--fail-rate", fail_rate]).await?;
        let store = Store::start(redis_server).await?;
        let () = store.command(&["CONFIG", "SET", "auto-aof-rewrite-percentage", "0"]).await?;
        let () = store.command(&["CONFIG", "SET", "appendonly", "yes"]).await?;
        let worker = Worker::start(&store, &sandbox.url).await?;
        let (memory, file) = (store.used_memory().await?, store.aof_size().await?);
        store.xadd_many(JOBS).await?;
        store.results_reach(JOBS).await?;
        anyhow::ensure!(store.counter(end).await? == JOBS, "some did not end {end}");
        worker.stop().await?;
        let per_job =
            |now: u64, before: u64| (now.saturating_sub(before) as f64 / JOBS as f64).round();
        let bytes = per_job(store.used_memory().await?, memory);
        let written = per_job(store.aof_size().await?, file);
        figures.insert(
            end.to_owned(),
            json!({ "bytes_per_job": bytes, "aof_bytes_per_life": written }),
        );
        store.redis.stop().await?;
        sandbox.stop().await?;
    }
    Ok(figures.into())
}

/// Lives a second by what a power cut may cost.
async fn durable(redis_server: Option<&str>) -> anyhow::Result<Value> {
    let modes =
        [("none", "no", "no"), ("everysec", "yes", "everysec"), ("always", "yes", "always")];
    let mut rates = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for ((_, appendonly, appendfsync), rates) in modes.iter().zip(&mut rates) {
            let sandbox = Sandbox::start().await?;
            let store = Store::start(redis_server).await?;
            let () = store.command(&["CONFIG", "SET", "appendfsync", appendfsync]).await?;
            let () = store.command(&["CONFIG", "SET", "appendonly", appendonly]).await?;
            let worker = Worker::start(&store, &sandbox.url).await?;
            rates.push(lives_per_s(&store, JOBS).await?);
            worker.stop().await?;
            store.redis.stop().await?;
            sandbox.stop().await?;
        }
    }
    let medians = modes
        .iter()
        .zip(&mut rates)
        .map(|((name, ..), rates)| ((*name).to_owned(), json!(percentile(rates, 50.0).round())));
    Ok(Value::Object(medians.collect()))
}

/// Puts so many jobs on the inbox at once.
async fn lives_per_s(store: &Store, jobs: usize) -> anyhow::Result<f64> {
    let began = Instant::now();
    store.xadd_many(jobs).await?;
    store.results_reach(jobs).await?;
    Ok(jobs as f64 / began.elapsed().as_secs_f64())
}

/// One worker, and twenty: what they send when idle, how many lives a second they carry, and what
/// each worker's share is, of a burst and of a trickle.
async fn fleet(redis_server: Option<&str>) -> anyhow::Result<Value> {
    let (mut one, mut many) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        one.push(Fleet::start(redis_server, 1).await?.burst().await?);
        many.push(Fleet::start(redis_server, WORKERS).await?.burst().await?);
    }
    let mut fleet = Fleet::start(redis_server, WORKERS).await?;
    let idle = sent_per_s(&fleet.store).await?;
    let mut spread = async |jobs: usize, every: Duration| -> anyhow::Result<Value> {
        let before = fleet.accepted().await?;
        let begin = tokio::time::Instant::now();
        let first = fleet.jobs;
        fleet.jobs += jobs;
        for number in first..fleet.jobs {
            sleep_until(begin + every * u32::try_from(number - first)?).await;
            fleet.store.xadd(&body(number).1).await?;
        }
        fleet.store.results_reach(fleet.jobs).await?;
        let after = fleet.accepted().await?;
        let mut done: Vec<f64> = after.iter().zip(before).map(|(now, then)| now - then).collect();
        let mean = jobs as f64 / done.len() as f64;
        let of_mean = |part: f64, done: &mut Vec<f64>| percentile(done, part) / mean;
        Ok(json!({ "least": of_mean(0.0, &mut done), "most": of_mean(100.0, &mut done) }))
    };
    let burst = spread(JOBS, Duration::ZERO).await?;
    let trickle = spread(TRICKLE, EVERY).await?;
    fleet.stop().await?;
    Ok(json!({
        "workers": WORKERS,
        "idle_sent_per_s": idle,
        "one_worker_lives_per_s": percentile(&mut one, 50.0).round(),
        "lives_per_s": percentile(&mut many, 50.0).round(),
        "share_of_the_mean": { "burst": burst, "trickle": trickle },
    }))
}

/// Workers that serve metrics, on one queue.
struct Fleet {
    sandbox: Sandbox,
    store: Store,
    workers: Vec<(Worker, String)>,
    /// Jobs so far.
    jobs: usize,
}

impl Fleet {
    async fn start(redis_server: Option<&str>, count: usize) -> anyhow::Result<Self> {
        let (sandbox, store) = (Sandbox::start().await?, Store::start(redis_server).await?);
        let mut workers = Vec::new();
        for _ in 0..count {
            let address = format!("127.0.0.1:{}", free_port().await?);
            let settings = [("REELQ_HTTP__LISTEN", &*address)];
            workers.push((Worker::start_with(&store, &sandbox.url, &settings).await?, address));
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while store.queue.stats().await?.workers < count as u64 {
            anyhow::ensure!(Instant::now() < deadline, "some workers do not beat");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(Self { sandbox, store, workers, jobs: 0 })
    }

    async fn burst(self) -> anyhow::Result<f64> {
        let rate = lives_per_s(&self.store, JOBS).await?;
        self.stop().await?;
        Ok(rate)
    }

    /// How many submits of each worker were accepted.
    async fn accepted(&self) -> anyhow::Result<Vec<f64>> {
        let series =
            "reelq_api_requests_total{queue=\"video\",endpoint=\"submit\",outcome=\"2xx\"} ";
        let mut counts = Vec::new();
        for (_, address) in &self.workers {
            let metrics = reqwest::get(format!("http://{address}/metrics")).await?.text().await?;
            let line = metrics.lines().find_map(|line| line.strip_prefix(series));
            counts.push(line.context("no count of submits")?.parse()?);
        }
        Ok(counts)
    }

    async fn stop(self) -> anyhow::Result<()> {
        for (worker, _) in self.workers {
            worker.stop().await?;
        }
        self.store.redis.stop().await?;
        self.sandbox.stop().await
    }
}
