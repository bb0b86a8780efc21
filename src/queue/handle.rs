//! A queue: one connection and the keys of one name. What can be done with it stands beside the
//! call that does it, in the files of this folder.
//!
//! [`Queue`] is what a producer needs, and whoever looks; [`RuledQueue`] also knows the rules by
//! which jobs are judged, and has the verbs of the worker and of the operator.

use std::ops::Deref;
use std::sync::Arc;

use futures_util::future::ready;
use futures_util::{Stream, StreamExt};

use super::connection::{ConnectOptions, Connection};
use super::error::QueueError;
use super::keys::Keys;
use super::rules::Rules;
use super::wire::command;
use crate::job::{Millis, QueueName, Stage};

/// How a server does with its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What it uses, in bytes.
    pub used_bytes: u64,
    /// What it may use, in bytes; 0: there is no limit.
    pub limit_bytes: u64,
    /// What it does when that is full; `noeviction` is the only right answer.
    pub policy: String,
}

/// One queue. Cheap to clone; clones share the connection.
#[derive(Clone, Debug)]
pub struct Queue {
    pub(super) connection: Connection,
    pub(super) keys: Keys,
    /// A test's time in Unix ms; `None`: the server's.
    pub(super) now_ms: Option<u64>,
}

impl Queue {
    /// Connects to Redis.
    ///
    /// # Errors
    /// [`QueueError::Misconfigured`] for a bad address, else what the server answered.
    pub async fn connect(options: ConnectOptions, name: &QueueName) -> Result<Self, QueueError> {
        let connection = Connection::open(options).await?;
        Ok(Self { connection, keys: Keys::new(name), now_ms: None })
    }

    /// The same queue over a connection of its own.
    ///
    /// # Errors
    /// As [`Queue::connect`].
    pub async fn on_own_connection(&self) -> Result<Self, QueueError> {
        let connection = self.connection.another().await?;
        Ok(Self { connection, ..self.clone() })
    }

    /// The same queue at a time that a test chooses, in Unix ms.
    #[doc(hidden)]
    #[must_use]
    pub fn at(&self, now_ms: u64) -> Self {
        Self { now_ms: Some(now_ms), ..self.clone() }
    }

    /// The queue together with the rules by which its jobs are judged.
    #[must_use]
    pub fn with_rules(&self, rules: Rules) -> RuledQueue {
        RuledQueue { queue: self.clone(), rules: Arc::new(rules) }
    }

    /// The queue's keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The queue's connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The stages of which something is due earlier, as the wake channel tells them from now on until
    /// the connection is lost.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn wake_ups(&self) -> Result<impl Stream<Item = Stage> + use<>, QueueError> {
        let words = self.connection.messages(&self.keys.wake()).await?;
        Ok(words.filter_map(|word| ready(Stage::parse(&word))))
    }

    /// How the server does with its memory; `None`: it does not say.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn memory(&self) -> Result<Option<Memory>, QueueError> {
        let mut info = command("INFO");
        info.arg("memory");
        let info: String = match self.connection.query(&info).await {
            Ok(info) => info,
            // Whoever offers the server may keep that for himself.
            Err(QueueError::Refused(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let value = |name: &str| {
            let mut lines = info.lines().filter_map(|line| line.trim().split_once(':'));
            lines.find_map(|(it, value)| (it == name).then_some(value))
        };
        let bytes = |name| value(name).and_then(|it| it.parse().ok());
        let (used, limit) = (bytes("used_memory"), bytes("maxmemory"));
        Ok(value("maxmemory_policy").map(|policy| Memory {
            used_bytes: used.unwrap_or_default(),
            limit_bytes: limit.unwrap_or_default(),
            policy: policy.to_owned(),
        }))
    }

    /// The server's time, or the one that a test chose.
    pub(crate) async fn server_time(&self) -> Result<Millis, QueueError> {
        if let Some(now_ms) = self.now_ms {
            return Ok(Millis(now_ms));
        }
        let (seconds, micros): (u64, u64) = self.connection.query(&command("TIME")).await?;
        Ok(Millis(seconds * 1000 + micros / 1000))
    }
}

/// A queue and its rules. Cheap to clone; whatever can be done with a [`Queue`] can be done with it.
#[derive(Clone, Debug)]
pub struct RuledQueue {
    queue: Queue,
    pub(super) rules: Arc<Rules>,
}

impl RuledQueue {
    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// As [`Queue::on_own_connection`].
    ///
    /// # Errors
    /// As [`Queue::connect`].
    pub async fn on_own_connection(&self) -> Result<Self, QueueError> {
        Ok(Self { queue: self.queue.on_own_connection().await?, ..self.clone() })
    }

    /// As [`Queue::at`].
    #[doc(hidden)]
    #[must_use]
    pub fn at(&self, now_ms: u64) -> Self {
        Self { queue: self.queue.at(now_ms), ..self.clone() }
    }
}

impl Deref for RuledQueue {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        &self.queue
    }
}
