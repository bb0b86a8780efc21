//! The files under deploy/redis, as a server of their own reads them: what each user may do and may
//! not, and what a restart or a backup loses.
//!
//! They need a server that is a program of this machine: what runs in a container cannot see the
//! files.

use std::process::Stdio;
use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use reelq::cli::private_redis::free_port;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::cut_off::judge::verdict;
use super::support::processes::{Site, body, faultless, until};
use super::support::{TestQueue, redis_command, say, skipped};

const SOON: Duration = Duration::from_secs(60);
const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/redis");
/// In users.acl a password is the user's name after this.
const PASSWORD: &str = "development-";

/// A server that runs by deploy/redis, on what is in its directory.
struct Server {
    child: Child,
    port: u16,
    directory: TempDir,
}

impl Server {
    /// `None`, which is said: the server of these tests is no program of this machine.
    async fn start() -> Option<Self> {
        Self::start_on(free_port().await.unwrap(), tempfile::tempdir().unwrap()).await
    }

    /// The same on this port, on what an earlier one left in the directory.
    async fn start_on(port: u16, directory: TempDir) -> Option<Self> {
        let program = redis_command().unwrap_or_else(|| "redis-server".to_owned());
        if program.contains(' ') {
            skipped("deploy/redis (its server runs in a container)");
            return None;
        }
        // Its directory is looked for as soon as it is read.
        let text = std::fs::read_to_string(format!("{DEPLOY}/redis.conf")).unwrap();
        assert!(text.contains("\ndir /data\n"));
        let here = format!("\ndir {}\n", directory.path().display());
        let file = directory.path().join("redis.conf");
        std::fs::write(&file, text.replace("\ndir /data\n", &here)).unwrap();
        let child = Command::new(program)
            .arg(file)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--aclfile", &format!("{DEPLOY}/users.acl")])
            // Else it answers before it has written, while its disk is slow.
            .args(["--appendfsync", "always"])
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let server = Self { child, port, directory };
        until("the server to answer", SOON, async || server.login("operator").await.is_ok()).await;
        Some(server)
    }

    fn url(&self, user: &str) -> String {
        format!("redis://{user}:{PASSWORD}{user}@127.0.0.1:{}", self.port)
    }

    async fn login(&self, user: &str) -> redis::RedisResult<MultiplexedConnection> {
        let client = redis::Client::open(self.url(user)).unwrap();
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(SOON));
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        // Until it has read its files it answers that it loads.
        typed(&mut connection, "PING").await?;
        Ok(connection)
    }

    /// Kills it as a crash would; what it left is there for the next one.
    async fn killed(mut self) -> TempDir {
        self.child.kill().await.unwrap();
        self.directory
    }

    /// A site whose processes are the user `worker`, and the test itself too.
    async fn site(&self, options: reelq::sandbox::Options) -> Site {
        Site::on(TestQueue::on(self.url("worker"), None).await, options).await
    }
}

/// What a user may do beside what the product does in its name, and what it may not.
const ROLES: [(&str, &[&str], &[&str]); 5] = [
    (
        "producer",
        // What no rule can prevent: redis.conf says so.
        &["XADD reelq:{video}:jobs MAXLEN 0 * job x"],
        &[
            "XRANGE reelq:{video}:jobs - +",
            "XADD reelq:{video}:results * a b",
            "HGETALL reelq:{video}:job:a",
            "XADD reelq:{other}:jobs * job x",
            "XDEL reelq:{video}:jobs 0-1",
            "EVAL return 0",
        ],
    ),
    (
        "client",
        &["HGETALL reelq:{video}:job:a", "XLEN reelq:{video}:results"],
        &[
            "GET other",
            "XADD reelq:{other}:jobs * job x",
            "PUBLISH other x",
            "SUBSCRIBE other",
            "SCRIPT FLUSH",
            "FUNCTION FLUSH",
            "SCAN 0",
        ],
    ),
    (
        "worker",
        &["INFO memory", "ZRANGE reelq:{video}:poll 0 9"],
        &["GET other", "XADD reelq:{other}:jobs * job x", "PUBLISH other x", "CONFIG GET save"],
    ),
    (
        "operator",
        &[
            "CONFIG GET maxmemory-policy",
            "SLOWLOG GET 1",
            "CLIENT LIST",
            "INFO",
            "SET reelq:{video}:paused x EX 1",
            "XLEN reelq:{other}:jobs",
            "ACL LOG",
        ],
        &["GET other", "CONFIG SET save x", "CLIENT KILL ID 0"],
    ),
    (
        "reader",
        &[
            "XGROUP CREATE reelq:{video}:results raw 0 MKSTREAM",
            "XREADGROUP GROUP raw c COUNT 1 STREAMS reelq:{video}:results >",
            "XAUTOCLAIM reelq:{video}:results raw c 0 0",
            "XACK reelq:{video}:results raw 0-1",
            "HGETALL reelq:{video}:job:a",
            "ZRANGE reelq:{video}:dead 0 9",
        ],
        &[
            "XADD reelq:{video}:results * a b",
            "XTRIM reelq:{video}:results MAXLEN 0",
            "DEL reelq:{video}:results",
            "XGROUP DESTROY reelq:{video}:results raw",
            "XADD reelq:{video}:jobs * job x",
            "HSET reelq:{video}:job:a state failed",
            "EVAL return 0",
            "GET other",
        ],
    ),
];
/// Nobody's, whoever asks.
const NOBODYS: [&str; 5] =
    ["FLUSHALL", "KEYS *", "SHUTDOWN NOSAVE", "ACL LIST", "REPLICAOF NO ONE"];

/// What a server answers to a command as it would be typed.
async fn typed(connection: &mut MultiplexedConnection, words: &str) -> redis::RedisResult<()> {
    // The script of an EVAL is two words.
    let words: Vec<&str> = match words.strip_prefix("EVAL ") {
        Some(script) => vec!["EVAL", script, "0"],
        None => words.split(' ').collect(),
    };
    let mut command = redis::Cmd::new();
    words.iter().for_each(|word| {
        command.arg(word);
    });
    command.query_async::<redis::Value>(connection).await.map(|_| ())
}

#[tokio::test]
async fn each_user_may_do_what_its_role_needs_and_nothing_else() {
    let Some(server) = Server::start().await else { return };
    for (user, allowed, refused) in ROLES {
        let mut connection = server.login(user).await.unwrap();
        for words in allowed {
            typed(&mut connection, words)
                .await
                .unwrap_or_else(|it| panic!("{user}: {words}: {it}"));
        }
        for words in refused.iter().chain(&NOBODYS) {
            let error = typed(&mut connection, words).await.expect_err(&format!("{user}: {words}"));
            assert_eq!(error.code(), Some("NOPERM"), "{user}: {words}: {error}");
        }
    }
    let nobody = redis::Client::open(format!("redis://127.0.0.1:{}", server.port)).unwrap();
    let mut nobody = nobody.get_multiplexed_async_connection().await.unwrap();
    let error = typed(&mut nobody, "PING").await.unwrap_err();
    assert_eq!(error.code(), Some("NOAUTH"));
}

#[tokio::test]
async fn each_command_works_as_the_user_that_it_is_meant_for() {
    let Some(server) = Server::start().await else { return };
    let site = server.site(faultless()).await;
    let (site, http) = site.serving().await;
    let worker = site.worker();
    let run = async |user: &str, words: &str, input: &str| {
        let arguments: Vec<&str> = words.split(' ').collect();
        let output = site.run_as(&server.url(user), &arguments, input.as_bytes()).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{user}: {words}: {errors}");
    };
    let mut producer = server.login("producer").await.unwrap();
    typed(&mut producer, &format!("XADD reelq:{{video}}:jobs * job {}", body("a"))).await.unwrap();
    run("client", "enqueue --wait -", &body("b")).await;
    run("client", "results --group clients --create --count 1", "").await;
    run("client", "status b", "").await;
    site.results_reach(2, SOON).await;
    run("reader", "results --group readers --create --count 2", "").await;
    run("reader", "status a", "").await;
    run("reader", "stats", "").await;
    run("operator", "pause because", "").await;
    run("operator", "enqueue -", &body("c")).await;
    run("operator", "cancel c", "").await;
    run("operator", "retry c", "").await;
    run("operator", "resume", "").await;
    run("operator", "stats", "").await;
    site.results_reach(4, SOON).await;
    assert_eq!(http.get("/readyz").await, (200, "ready\n".to_owned()));
    let metrics = http.get("/metrics").await.1;
    assert!(!metrics.contains("reelq_redis_memory_bytes{queue=\"video\"} 0\n"), "INFO is allowed");
    assert!(metrics.contains("reelq_redis_memory_limit_bytes{queue=\"video\"} 536870912\n"));
    assert_eq!(worker.stop().await, Some(0));
}

/// Jobs that are on their way in every stage while a server of deploy/redis is lost.
struct Traffic {
    site: Site,
    ids: Vec<String>,
}

impl Traffic {
    /// The same after its server has gone.
    async fn on(self, server: &Server) -> Self {
        let queue = TestQueue::on(server.url("worker"), None).await;
        Self { site: self.site.moved_to(queue), ..self }
    }

    const JOBS: usize = 120;

    async fn begin(server: &Server) -> Self {
        let mut options = faultless();
        (options.latency, options.ready_after) =
            (Duration::from_millis(50), Duration::from_secs(1));
        let site = server
            .site(options)
            .await
            .with("REELQ_SUBMIT__CONCURRENCY", "4")
            .with("REELQ_API__REQUEST_TIMEOUT", "1s")
            .with("REELQ_QUEUE__LEASE", "11s")
            .with("REELQ_SUBMIT__UNCONFIRMED_GRACE", "1s");
        let ids: Vec<_> = (0..Self::JOBS).map(|number| format!("job-{number}")).collect();
        for id in &ids {
            site.xadd(&body(id)).await;
        }
        Self { site, ids }
    }

    /// Waits until some have ended, others are polled, and others wait.
    async fn is_spread(&self) {
        let count = async |place: &str| -> usize {
            self.site.queue.command(&["ZCARD", &format!("reelq:{{video}}:{place}")]).await
        };
        until("jobs in every stage", SOON, async || {
            self.site.results().await > 10 && count("poll").await > 0 && count("submit").await > 0
        })
        .await;
    }

    async fn ends_once_each(&self) {
        self.site.results_reach(Self::JOBS, SOON).await;
        until("the last to end", SOON, async || {
            verdict(&self.site.queue, &self.ids, true).await.is_empty()
        })
        .await;
        assert_eq!(self.site.results().await, Self::JOBS, "each job ended once");
    }
}

/// The user `default` is off: without all rights a restart would forget what scripts wrote.
#[tokio::test]
async fn a_server_that_writes_always_and_is_killed_loses_nothing() {
    let Some(server) = Server::start().await else { return };
    let traffic = Traffic::begin(&server).await;
    let worker = traffic.site.worker();
    traffic.is_spread().await;
    let port = server.port;
    let again = Server::start_on(port, server.killed().await).await.unwrap();
    let traffic = traffic.on(&again).await;
    traffic.ends_once_each().await;
    let stats = traffic.site.sandbox.stats();
    assert_eq!((stats.accepted, stats.duplicates), (Traffic::JOBS as u64, 0), "{stats:?}");
    assert_eq!(worker.stop().await, Some(0));
}

/// As docs/deploy.md says: the append-only file is copied while everything runs, by hard links, and
/// another server begins with the copy.
#[tokio::test]
async fn a_backup_under_load_is_restored_and_every_job_ends_once() {
    let Some(server) = Server::start().await else { return };
    let traffic = Traffic::begin(&server).await;
    let worker = traffic.site.worker();
    traffic.is_spread().await;
    let backup = tempfile::tempdir().unwrap();
    let copied = Command::new("sh")
        .args(["-ec", "cp -al $0 $0-now && cp -a $0-now $1 && rm -r $0-now"])
        .args([
            &server.directory.path().join("appendonlydir"),
            &backup.path().join("appendonlydir"),
        ])
        .status();
    assert!(copied.await.unwrap().success());
    let accepted = traffic.site.sandbox.stats().accepted;
    // The machine is lost, and with it what happened after the copy.
    worker.kill().await;
    drop(server.killed().await);
    let restored = Server::start_on(free_port().await.unwrap(), backup).await.unwrap();
    let traffic = traffic.on(&restored).await;
    let known = traffic.site.results().await;
    assert!((1..Traffic::JOBS).contains(&known), "{known} results were in the copy");
    let worker = traffic.site.worker();
    traffic.ends_once_each().await;
    let stats = traffic.site.sandbox.stats();
    say(&format!(
        "restored with {known} results, {accepted} jobs accepted by then; accepted twice: {}\n",
        stats.duplicates
    ));
    assert_eq!(worker.stop().await, Some(0));
}
