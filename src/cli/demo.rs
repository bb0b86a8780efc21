//! `reelq demo`: the whole thing at work on this machine, and gone again at its end.
//!
//! A private Redis, the sandbox in this process, three worker processes, 60 jobs with an error
//! rate of 10 %. One worker is killed on the way, with POSTs in its hands. It ends when every
//! job has its result, shows them, and says how often each was posted and polled.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use super::command::{Outcome, printable};
use super::private_redis::{PrivateRedis, end};
use super::worker::interrupted;
use crate::job::{EntryFields, JobId, QueueName, Request};
use crate::queue::{ConnectOptions, JobResult, Queue};
use crate::sandbox::{self, Sandbox};

const JOBS: usize = 60;
const WORKERS: usize = 3;
const ERROR_RATE: f64 = 0.1;
/// Slow enough that the killed worker has POSTs in its hands.
const LATENCY: Duration = Duration::from_millis(300);
const READY_AFTER: Duration = Duration::from_secs(3);
/// One worker is killed when so many jobs have been accepted by the API.
const KILL_AT: u64 = 12;
/// How long after its begin an unanswered POST is sent again; the default is far longer.
const GRACE: Duration = Duration::from_secs(6);
/// The demo gives up then.
const LIMIT: Duration = Duration::from_secs(58);

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Keep everything running at the end, to look into the queue, until interrupted
    #[arg(long)]
    keep: bool,
    /// The command line of a Redis or Valkey server; else redis-server or valkey-server
    #[arg(long, env = "REELQ_REDIS_SERVER", value_name = "COMMAND")]
    redis_server: Option<String>,
}

/// Everything the demo started; dropping it ends all of it.
struct Scene {
    redis: PrivateRedis,
    sandbox: Sandbox,
    workers: Vec<Child>,
    queue: Queue,
    configuration: PathBuf,
    _directory: TempDir,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Outcome> {
    let mut scene = tokio::select! {
        scene = Scene::set(options.redis_server.as_deref()) => scene?,
        () = interrupted() => return Ok(Outcome::SomeFailed),
    };
    let ended = tokio::select! {
        played = timeout(LIMIT, scene.play()) => played.context("the demo took too long")?,
        () = interrupted() => {
            eprintln!("interrupted: cleaning up");
            scene.strike().await?;
            return Ok(Outcome::SomeFailed);
        }
    };
    if options.keep && ended.is_ok() {
        println!("\nEverything keeps running until you press Ctrl-C. Try:");
        let program = std::env::current_exe().context("finding this program")?;
        println!("  {} --config {} stats", program.display(), scene.configuration.display());
        interrupted().await;
    }
    scene.strike().await?;
    ended
}

impl Scene {
    async fn set(redis_server: Option<&str>) -> anyhow::Result<Self> {
        let redis = PrivateRedis::start(redis_server).await?;
        let sandbox = sandbox::start(sandbox::Options {
            listen: ([127, 0, 0, 1], 0).into(),
            latency: LATENCY,
            ready_after: READY_AFTER,
            error_rate: ERROR_RATE,
            ..sandbox::Options::default()
        })
        .await?;
        let directory = tempfile::tempdir()?;
        let configuration = directory.path().join("reelq.toml");
        std::fs::write(&configuration, configuration_text(&redis, &sandbox))?;
        let name = QueueName::new("video").expect("a valid name");
        let queue = Queue::connect(ConnectOptions::new(redis.url()), &name).await?;
        let workers = (0..WORKERS).map(|_| worker(&configuration)).collect::<Result<_, _>>()?;
        println!(
            "Redis on port {}, the sandbox on {}, {WORKERS} workers.",
            redis.port(),
            sandbox.addr()
        );
        println!(
            "{JOBS} jobs; {:.0} % of the POSTs fail; one worker will be killed with SIGKILL. A POST \
             whose answer never came is sent again after {} s here (the default is 30 s).",
            ERROR_RATE * 100.0,
            GRACE.as_secs()
        );
        Ok(Self { redis, sandbox, workers, queue, configuration, _directory: directory })
    }

    async fn play(&mut self) -> anyhow::Result<Outcome> {
        let began = Instant::now();
        let jobs: Vec<(Request, EntryFields)> = (1..=JOBS).map(job).collect();
        self.queue.enqueue_many(&jobs).await?;
        let progress = bar();
        let mut results: BTreeMap<String, Vec<JobResult>> = BTreeMap::new();
        let mut reader = self.queue.results_after("0");
        let mut killed = false;
        while results.len() < JOBS {
            for result in reader.read(JOBS, Duration::from_millis(100)).await? {
                let id = result.get("client-request-id").unwrap_or_default().to_owned();
                results.entry(id).or_default().push(result);
            }
            let stats = self.queue.stats().await?;
            let submitted = stats.counters.get("submitted").copied().unwrap_or(0);
            progress.set_position(u64::try_from(results.len())?);
            progress.set_message(format!(
                "waiting {} unconfirmed {} polling {} in hand {}",
                stats.waiting, stats.unconfirmed, stats.polling, stats.leased
            ));
            if !killed && submitted >= KILL_AT {
                killed = true;
                self.workers[0].kill().await?;
                progress
                    .suspend(|| println!("Killed one worker; {submitted} jobs accepted so far."));
            }
        }
        progress.finish_and_clear();
        self.report(&results, began.elapsed())
    }

    fn report(
        &self,
        results: &BTreeMap<String, Vec<JobResult>>,
        took: Duration,
    ) -> anyhow::Result<Outcome> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["id", "status", "posts", "polls", "video"]);
        for (id, results) in results {
            for result in results {
                let field = |name| printable(result.get(name).unwrap_or("-"));
                let end = if result.status() == "completed" { "video-url" } else { "error" };
                table.add_row([
                    id.clone(),
                    field("status"),
                    field("posts"),
                    field("polls"),
                    field(end),
                ]);
            }
        }
        println!("{table}");
        let entries: usize = results.values().map(Vec::len).sum();
        let completed = results.values().flatten().filter(|it| it.status() == "completed").count();
        println!(
            "{JOBS} jobs, {entries} results, {completed} videos, in {:.0} s.",
            took.as_secs_f64()
        );
        ensure!(entries == JOBS, "some job ended more than once");
        println!(
            "Every job ended exactly once. To look into such a queue (--keep keeps this one):"
        );
        let port = self.redis.port();
        for command in [
            "XLEN 'reelq:{video}:results'",
            "XRANGE 'reelq:{video}:results' - + COUNT 1",
            "HGETALL 'reelq:{video}:job:demo-01'",
            "ZRANGE 'reelq:{video}:poll' 0 -1 WITHSCORES",
            "HGETALL 'reelq:{video}:counters'",
        ] {
            println!("  redis-cli -p {port} {command}");
        }
        Ok(if completed == JOBS { Outcome::Success } else { Outcome::SomeFailed })
    }

    /// Ends everything in good order.
    async fn strike(self) -> anyhow::Result<()> {
        for mut worker in self.workers {
            end(&mut worker).await.context("ending a worker")?;
        }
        self.sandbox.stop().await;
        self.redis.stop().await.context("ending the private Redis")
    }
}

fn job(number: usize) -> (Request, EntryFields) {
    let id = JobId::new(format!("demo-{number:02}")).expect("a valid id");
    let request = Request::new(id, "demo-customer", "birthday", format!("user-{number:02}"))
        .phrase_texts([format!("Happy birthday, user {number}!")])
        .build()
        .expect("a valid request");
    (request, EntryFields::default())
}

/// One worker process. Its own process group keeps a terminal's Ctrl-C from it: the demo ends it.
fn worker(configuration: &Path) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("finding this program")?;
    Command::new(program)
        .arg("--config")
        .arg(configuration)
        .arg("worker")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("starting a worker")
}

fn configuration_text(redis: &PrivateRedis, sandbox: &Sandbox) -> String {
    format!(
        r#"[redis]
url = "{}"
[queue]
lease = "15s"
[api]
base_url = "http://{}"
client_id = "{}"
client_secret = "{}"
api_key = "{}"
request_timeout = "5s"
[submit]
concurrency = 4
unconfirmed_grace = "{}s"
[worker]
shutdown_grace = "10s"
[http]
listen = ""
"#,
        redis.url(),
        sandbox.addr(),
        sandbox::CLIENT_ID,
        sandbox::CLIENT_SECRET,
        sandbox::API_KEY,
        GRACE.as_secs()
    )
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} ended; {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(u64::try_from(JOBS).unwrap_or(0)).with_style(style)
}
