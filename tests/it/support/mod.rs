//! What the tests share: a private Redis, a queue on it, a dump of its key space.

pub(crate) mod dump;
pub(crate) mod processes;
pub(crate) mod proxy;

use reelq::cli::private_redis::PrivateRedis;
use reelq::job::{EntryFields, JobId, QueueName, Request};
use reelq::queue::{ConnectOptions, Queue};

/// The server that the tests are to use, as the README's test command sets it.
pub(crate) fn redis_command() -> Option<String> {
    std::env::var_os("REELQ_REDIS_SERVER").map(|it| it.to_string_lossy().into_owned())
}

/// A private Redis and a queue on it.
pub(crate) struct TestQueue {
    pub(crate) redis: PrivateRedis,
    pub(crate) queue: Queue,
    pub(crate) raw: redis::aio::MultiplexedConnection,
}

impl TestQueue {
    pub(crate) async fn start() -> Self {
        let redis = PrivateRedis::start(redis_command().as_deref()).await.expect("a Redis server");
        let name = QueueName::new("video").unwrap();
        let queue = Queue::connect(ConnectOptions::new(redis.url()), &name).await.unwrap();
        let client = redis::Client::open(redis.url()).unwrap();
        let config = redis::AsyncConnectionConfig::new()
            .set_response_timeout(Some(std::time::Duration::from_secs(20)));
        let raw = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
        Self { redis, queue, raw }
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

    pub(crate) async fn dump(&self) -> String {
        dump::dump(&mut self.raw.clone(), self.queue.keys().prefix()).await
    }
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
