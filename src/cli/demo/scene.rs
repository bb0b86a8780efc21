//! Everything that the demo starts, and ends.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tempfile::TempDir;
use tokio::process::Child;
use url::Url;

use super::gateway::Gateway;
use super::process::process;
use crate::cli::private_redis::{PrivateRedis, end};
use crate::job::QueueName;
use crate::queue::{ConnectOptions, Queue};
use crate::sandbox::{self, PushFaults, Sandbox};

const WORKERS: usize = 3;
const ERROR_RATE: f64 = 0.1;
/// Slow enough that the killed worker has POSTs in its hands.
const LATENCY: Duration = Duration::from_millis(300);
const READY_AFTER: Duration = Duration::from_secs(3);
/// Part of the pushes that never come, so that polls find these videos.
const PUSHES_LOST: f64 = 0.3;
/// When a video is first asked for: after its push. The default is far shorter.
const FIRST_POLL: Duration = Duration::from_secs(6);
/// How long after its begin an unanswered POST is sent again; the default is far longer.
const GRACE: Duration = Duration::from_secs(6);
/// What a push must show.
const PUSH_SECRET: &str = "demo-push-secret";

/// Everything the demo started; dropping it ends all of it.
pub(super) struct Scene {
    pub(super) redis: PrivateRedis,
    sandbox: Sandbox,
    pub(super) workers: Vec<Child>,
    pub(super) gateway: Gateway,
    pub(super) queue: Queue,
    pub(super) configuration: PathBuf,
    _directory: TempDir,
}

impl Scene {
    pub(super) async fn set(redis_server: Option<&str>) -> anyhow::Result<Self> {
        let redis = PrivateRedis::start(redis_server).await?;
        let sandbox = sandbox::start(sandbox::Options {
            listen: ([127, 0, 0, 1], 0).into(),
            latency: LATENCY,
            ready_after: READY_AFTER,
            error_rate: ERROR_RATE,
            webhook_secret: Some(PUSH_SECRET.to_owned()),
            push: PushFaults { lost_rate: PUSHES_LOST, ..PushFaults::default() },
            ..sandbox::Options::default()
        })
        .await?;
        let directory = tempfile::tempdir()?;
        let configuration = directory.path().join("reelq.toml");
        std::fs::write(&configuration, configuration_text(&redis, &sandbox))?;
        let name = QueueName::new("video").expect("a valid name");
        let queue = Queue::connect(ConnectOptions::new(redis.url()), &name).await?;
        let gateway = Gateway::start(&configuration).await?;
        let webhook = Url::parse(&gateway.push_url())?;
        sandbox.set(|options| options.webhook = Some(webhook));
        let workers = (0..WORKERS).map(|_| worker(&configuration)).collect::<Result<_, _>>()?;
        let scene =
            Self { redis, sandbox, workers, gateway, queue, configuration, _directory: directory };
        scene.tell();
        Ok(scene)
    }

    fn tell(&self) {
        println!(
            "Redis on port {}, the sandbox on {}, {WORKERS} workers, the gateway on {}.",
            self.redis.port(),
            self.sandbox.addr(),
            self.gateway.address()
        );
        println!(
            "{:.0} % of the POSTs to the API fail; one worker will be killed with SIGKILL. A POST \
             whose answer never came is sent again after {} s here (the default is 30 s), unless \
             the API has pushed its video.",
            ERROR_RATE * 100.0,
            GRACE.as_secs()
        );
        println!(
            "The API pushes each video to the gateway when it is ready, but {:.0} % of the pushes \
             are lost: these videos are found by polls, the first after {} s here (the default is \
             1 s).",
            PUSHES_LOST * 100.0,
            FIRST_POLL.as_secs()
        );
    }

    /// Ends everything in good order.
    pub(super) async fn strike(self) -> anyhow::Result<()> {
        for mut worker in self.workers {
            end(&mut worker).await.context("ending a worker")?;
        }
        self.gateway.stop().await.context("ending the gateway")?;
        self.sandbox.stop().await;
        self.redis.stop().await.context("ending the private Redis")
    }
}

fn worker(configuration: &Path) -> anyhow::Result<Child> {
    process(configuration, "worker")?.spawn().context("starting a worker")
}

/// The configuration of the workers and the gateway.
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
[poll]
first = "{}s"
[worker]
shutdown_grace = "10s"
[http]
listen = ""
[webhook]
secret = "{PUSH_SECRET}"
"#,
        redis.url(),
        sandbox.addr(),
        sandbox::CLIENT_ID,
        sandbox::CLIENT_SECRET,
        sandbox::API_KEY,
        GRACE.as_secs(),
        FIRST_POLL.as_secs()
    )
}
