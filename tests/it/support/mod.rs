//! What the tests share: a private Redis, a queue on it, a dump of its key space.

pub(crate) mod dump;
pub(crate) mod moves;
pub(crate) mod processes;
pub(crate) mod proxy;

use std::io::Write;
use std::time::Duration;

use reelq::cli::private_redis::PrivateRedis;
use reelq::job::{EntryFields, JobId, QueueName, Request, Stage};
use reelq::queue::{BreakerEvent, ConnectOptions, Queue, Report, RuledQueue, Rules};

/// The server that the tests are to use, as the README's test command sets it.
pub(crate) fn redis_command() -> Option<String> {
    std::env::var_os("REELQ_REDIS_SERVER").map(|it| it.to_string_lossy().into_owned())
}

/// The rules of the tests' queues; a test that needs others says so.
pub(crate) const RULES: Rules = Rules {
    lease: Duration::from_secs(60),
    completed_retention: Duration::from_secs(100),
    failed_retention: Duration::from_secs(200),
    results_retention: Duration::from_secs(100),
    results_max_age: Duration::from_secs(200),
    max_age: Duration::from_secs(86_400),
    unconfirmed_grace: Duration::from_secs(30),
    max_unconfirmed: 2,
    refused_grace: Duration::from_secs(5),
    backoff_max: Duration::from_secs(60),
    poll_max: Duration::from_secs(30),
};

/// A Redis and a queue on it.
pub(crate) struct TestQueue {
    pub(crate) url: String,
    pub(crate) queue: RuledQueue,
    pub(crate) raw: redis::aio::MultiplexedConnection,
    /// Ended with the queue, if it is ours.
    _redis: Option<PrivateRedis>,
}

impl TestQueue {
    /// A queue on a private Redis.
    pub(crate) async fn start() -> Self {
        let redis = PrivateRedis::start(redis_command().as_deref()).await.expect("a Redis server");
        Self::on(redis.url(), Some(redis)).await
    }

    /// A queue on the Redis at this address.
    pub(crate) async fn on(url: String, redis: Option<PrivateRedis>) -> Self {
        let name = QueueName::new("video").unwrap();
        let queue = Queue::connect(ConnectOptions::new(&url), &name).await.unwrap();
        let queue = queue.with_rules(RULES);
        let client = redis::Client::open(url.as_str()).unwrap();
        let config =
            redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(20)));
        let raw = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
        Self { url, queue, raw, _redis: redis }
    }

    /// A plain command, as redis-cli would send it.
    pub(crate) async fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.raw_command(words.iter().map(|word| word.as_bytes())).await
    }

    /// The same with words that are no text.
    pub(crate) async fn raw_command<'a, T: redis::FromRedisValue>(
        &self,
        words: impl IntoIterator<Item = &'a [u8]>,
    ) -> T {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        command.query_async(&mut self.raw.clone()).await.expect("a plain command")
    }

    /// Whether one of the queue's keys is there.
    pub(crate) async fn exists(&self, name: &str) -> bool {
        self.command(&["EXISTS", &format!("{}{name}", self.queue.keys().prefix())]).await
    }

    pub(crate) async fn dump(&self) -> String {
        dump::dump(&mut self.raw.clone(), self.queue.keys().prefix()).await
    }
}

/// Says that a test is skipped, past its captured output, so that it is seen; and in the file that
/// `make test` shows at its end.
pub(crate) fn skipped(what: &str) {
    let said = format!("skipped: {}\n", what.lines().next().unwrap_or_default());
    say(&said);
    if let Some(file) = std::env::var_os("REELQ_SKIPPED") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(file);
        file.and_then(|mut file| file.write_all(said.as_bytes())).unwrap();
    }
}

/// Says something past the test's captured output.
pub(crate) fn say(line: &str) {
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// A valid id.
pub(crate) fn id(id: &str) -> JobId {
    JobId::new(id).unwrap()
}

/// A small valid request.
pub(crate) fn request(name: &str) -> Request {
    Request::new(id(name), "acme", "birthday", "ann").phrase_texts(["Hello"]).build().unwrap()
}

/// A small valid request with nothing beside it.
pub(crate) fn job(name: &str) -> (Request, EntryFields) {
    (request(name), EntryFields::default())
}

/// What `w1` reports of a stage, by the call of this job, without anything else to say.
pub(crate) fn report_of(stage: Stage, event: BreakerEvent, job: &JobId) -> Report<'_> {
    Report {
        reason: "403",
        wait: Duration::from_secs(1),
        wait_at_most: Duration::from_secs(3),
        job: Some(job),
        worker: "w1",
        ..Report::of(stage, event)
    }
}
