//! Every key of a queue, in one place.
//!
//! All keys start with `reelq:{name}:`; the literal braces put a queue's keys into one cluster
//! slot. Scripts get that prefix and append the same names (lua/lib/record.lua); a test compares both
//! with the table in docs/contract.md.

use crate::job::{JobId, QueueName};

/// The names that follow the prefix, with their types and meaning (docs/contract.md, section 2).
pub const KEYS: [(&str, &str); 29] = [
    ("jobs", "stream"),
    ("job:", "hash"),
    ("body:", "string"),
    ("submit", "zset"),
    ("unconfirmed", "zset"),
    ("poll", "zset"),
    ("leases", "zset"),
    ("claimed:admit:", "string"),
    ("claimed:submit:", "string"),
    ("claimed:poll:", "string"),
    ("results", "stream"),
    ("dead", "zset"),
    ("rejected", "stream"),
    ("counters", "hash"),
    ("workers", "zset"),
    ("paused", "string"),
    ("stage:submit", "hash"),
    ("stage:poll", "hash"),
    ("rate:submit", "string"),
    ("rate:poll", "string"),
    ("rate:push", "string"),
    ("halt-ended:submit", "string"),
    ("good:submit", "zset"),
    ("good:poll", "zset"),
    ("checks-fail-since", "string"),
    ("ill", "hash"),
    ("token-turn", "string"),
    ("clock", "string"),
    ("wake", "channel"),
];

/// The consumer group of the workers on the inbox stream.
pub const WORKERS_GROUP: &str = "workers";

/// Makes the keys of one queue.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// The keys of the queue of this name.
    #[must_use]
    pub fn new(queue: &QueueName) -> Self {
        Self { prefix: format!("reelq:{{{queue}}}:") }
    }

    /// What all keys of the queue start with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The inbox stream.
    #[must_use]
    pub fn jobs(&self) -> String {
        self.named("jobs")
    }

    /// The result stream.
    #[must_use]
    pub fn results(&self) -> String {
        self.named("results")
    }

    /// The stream of entries that were no valid request or conflicted.
    #[must_use]
    pub fn rejected(&self) -> String {
        self.named("rejected")
    }

    /// The sorted set of live workers.
    #[must_use]
    pub fn workers(&self) -> String {
        self.named("workers")
    }

    /// The sorted set of jobs that ended `failed` or `expired`.
    #[must_use]
    pub fn dead(&self) -> String {
        self.named("dead")
    }

    /// The channel on which a stage's name says that something is due earlier.
    #[must_use]
    pub fn wake(&self) -> String {
        self.named("wake")
    }

    /// A job's record.
    #[must_use]
    pub fn job(&self, id: &JobId) -> String {
        format!("{}job:{id}", self.prefix)
    }

    /// A job's request body.
    #[must_use]
    pub fn body(&self, id: &JobId) -> String {
        format!("{}body:{id}", self.prefix)
    }

    /// The key of one of the names in [`KEYS`].
    pub(super) fn named(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}
