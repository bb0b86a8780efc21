//! What is measured: Redis, sandbox and worker, each a process of its own, and their CPU time.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use reelq::cli::private_redis::{PrivateRedis, free_port};
use reelq::queue::ConnectOptions;
use reelq::{Queue, QueueName};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// From an accepted POST to its one status check.
pub(crate) const DELAY: Duration = Duration::from_millis(500);
/// From acceptance to the video: well before that check.
const READY_AFTER: &str = "100ms";

/// A sandbox process that makes no faults and answers at once.
pub(crate) struct Sandbox {
    pub(crate) child: Child,
    pub(crate) url: String,
}

impl Sandbox {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// The same with further options.
    pub(crate) async fn start_with(options: &[&str]) -> anyhow::Result<Self> {
        let address = format!("127.0.0.1:{}", free_port().await?);
        let mut command = Command::new(env!("CARGO_BIN_EXE_reelq"));
        command.args(["sandbox", "--listen", &address, "--latency", "0ms"]);
        command.args(["--ready-after", READY_AFTER, "--error-rate", "0", "--seed", "7"]);
        command.args(options);
        let child = command.stderr(Stdio::null()).kill_on_drop(true).spawn()?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            anyhow::ensure!(Instant::now() < deadline, "the sandbox does not listen");
            sleep(Duration::from_millis(5)).await;
        }
        Ok(Self { child, url: format!("http://{address}") })
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// A Redis with a queue, and plain commands.
pub(crate) struct Store {
    pub(crate) redis: PrivateRedis,
    pub(crate) queue: Queue,
    pub(crate) raw: redis::aio::MultiplexedConnection,
}

impl Store {
    pub(crate) async fn start(redis_server: Option<&str>) -> anyhow::Result<Self> {
        let redis = PrivateRedis::start(redis_server).await?;
        let name = QueueName::new("video").map_err(anyhow::Error::msg)?;
        let queue = Queue::connect(ConnectOptions::new(redis.url()), &name).await?;
        let client = redis::Client::open(redis.url())?;
        let config =
            redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(60)));
        let raw = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Self { redis, queue, raw })
    }

    /// Sends a plain command.
    pub(crate) async fn command<T: redis::FromRedisValue>(
        &self,
        words: &[&str],
    ) -> anyhow::Result<T> {
        let mut command = redis::Cmd::new();
        command.arg(words);
        Ok(command.query_async(&mut self.raw.clone()).await?)
    }

    /// Puts a request on the inbox stream.
    pub(crate) async fn xadd(&self, body: &str) -> anyhow::Result<String> {
        self.command(&["XADD", "reelq:{video}:jobs", "*", "job", body]).await
    }

    /// Puts so many requests on the inbox stream, 64 in a round trip.
    pub(crate) async fn xadd_many(&self, jobs: usize) -> anyhow::Result<()> {
        for first in (0..jobs).step_by(64) {
            let mut pipeline = redis::pipe();
            for number in first..jobs.min(first + 64) {
                let words = ["reelq:{video}:jobs", "*", "job", &super::body(number).1];
                pipeline.cmd("XADD").arg(&words).ignore();
            }
            let () = pipeline.query_async(&mut self.raw.clone()).await?;
        }
        Ok(())
    }

    /// One of the queue's totals.
    pub(crate) async fn counter(&self, name: &str) -> anyhow::Result<usize> {
        let total: Option<usize> = self.command(&["HGET", "reelq:{video}:counters", name]).await?;
        Ok(total.unwrap_or(0))
    }

    /// What was called since the server began.
    pub(crate) async fn calls(&self) -> anyhow::Result<Calls> {
        let info: String = self.command(&["INFO", "commandstats"]).await?;
        let mut calls = Calls::default();
        for line in info.lines() {
            let Some((name, figures)) =
                line.strip_prefix("cmdstat_").and_then(|it| it.split_once(":calls="))
            else {
                continue;
            };
            let count: u64 = figures.split(',').next().unwrap_or_default().parse()?;
            match name {
                "evalsha" | "xreadgroup" => calls.sent += count,
                // The bench's own look at the results.
                "xlen" => {}
                _ => calls.inner += count,
            }
        }
        Ok(calls)
    }

    pub(crate) async fn used_memory(&self) -> anyhow::Result<u64> {
        self.info("memory", "used_memory:").await
    }

    /// Bytes of the append-only file.
    pub(crate) async fn aof_size(&self) -> anyhow::Result<u64> {
        self.info("persistence", "aof_current_size:").await
    }

    async fn info(&self, section: &str, name: &'static str) -> anyhow::Result<u64> {
        let info: String = self.command(&["INFO", section]).await?;
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.context(name)?.trim().parse()?)
    }

    pub(crate) async fn results(&self) -> anyhow::Result<usize> {
        self.command(&["XLEN", "reelq:{video}:results"]).await
    }

    /// Waits until there are so many results.
    pub(crate) async fn results_reach(&self, count: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(600);
        while self.results().await? < count {
            anyhow::ensure!(Instant::now() < deadline, "{count} results do not come");
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu_of(self.redis.process_id())
    }
}

/// What a worker sent (scripts and reads of the inbox), and all other commands: those inside the
/// scripts, and a producer's XADDs.
#[derive(Default)]
pub(crate) struct Calls {
    pub(crate) sent: u64,
    pub(crate) inner: u64,
}

/// A worker process with default settings, except for the first check.
pub(crate) struct Worker {
    pub(crate) child: Child,
}

impl Worker {
    /// Starts it and waits for its first beat.
    pub(crate) async fn start(store: &Store, api: &str) -> anyhow::Result<Self> {
        Self::start_with(store, api, &[]).await
    }

    /// The same with further settings.
    pub(crate) async fn start_with(
        store: &Store,
        api: &str,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let first = format!("{}ms", DELAY.as_millis());
        let mut command = Command::new(env!("CARGO_BIN_EXE_reelq"));
        command.env_clear().arg("worker").current_dir(std::env::temp_dir()).envs([
            ("REELQ_REDIS__URL", store.redis.url().as_str()),
            ("REELQ_API__BASE_URL", api),
            ("REELQ_API__CLIENT_ID", reelq::sandbox::CLIENT_ID),
            ("REELQ_API__CLIENT_SECRET", reelq::sandbox::CLIENT_SECRET),
            ("REELQ_API__API_KEY", reelq::sandbox::API_KEY),
            ("REELQ_POLL__FIRST", &first),
            ("REELQ_POLL__JITTER", "0"),
            ("REELQ_HTTP__LISTEN", ""),
            ("REELQ_LOG__FILTER", "warn"),
        ]);
        command.envs(settings.iter().copied());
        let child = command.kill_on_drop(true).spawn()?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while store.queue.stats().await?.workers == 0 {
            anyhow::ensure!(Instant::now() < deadline, "the worker does not beat");
            sleep(Duration::from_millis(5)).await;
        }
        Ok(Self { child })
    }

    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu_of(self.child.id())
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// CPU time of a process with all its threads, user and system, by /proc.
pub(crate) fn cpu_of(process_id: Option<u32>) -> anyhow::Result<Duration> {
    let path = format!("/proc/{}/stat", process_id.context("the process has ended")?);
    let stat = std::fs::read_to_string(&path).context(path)?;
    // The second field, the command in brackets, may hold anything; utime and stime are 14 and 15.
    let fields = stat.rsplit_once(')').context("a stat file")?.1.split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|it| it.parse().unwrap_or(0)).sum::<u64>();
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}
