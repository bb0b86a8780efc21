//! The queue on Redis: keys, scripts, and one function per thing that can be done to a job.
//!
//! A live job is a record plus exactly one place in one sorted set (`submit`, `unconfirmed`,
//! `poll`, or `leases` while a worker holds it). Every move is one Lua script: checks first, then
//! writes, additions before removals; every script may run twice with the same effect as once.
//! Nothing here knows HTTP or what an answer means.

mod admit;
mod aside;
mod breaker;
mod by_hand;
mod claim;
mod connection;
mod error;
mod groups;
mod inbox;
mod keys;
mod operate;
mod record;
mod results;
mod rights;
mod scripts;
mod settle;
mod stats;
mod sweep;
mod trim;

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use redis::{AsyncCommands, Value};

pub use admit::{ADMIT_BATCH, Admission, Admitted, Hands};
pub use breaker::{BreakerEvent, Report, StageState, StageView};
pub use claim::{
    CLAIM_BATCH, Claimant, Claimed, Overdue, PollClaim, Retention, SubmitClaim, SubmitRules,
};
pub use connection::{ConnectOptions, Connection};
pub use error::QueueError;
pub use inbox::{Inbox, RawEntry};
pub use keys::{KEYS, Keys, WORKERS_GROUP};
pub use operate::{Dead, Finding, Operated};
pub use record::Record;
pub use results::{JobResult, ResultReader};
pub use rights::needed_commands;
pub use settle::{End, Move, Settled, Settlement};
pub use stats::{ClosedStage, Stats};
pub use sweep::{LongestWaits, Lost, MAX_RECOVERIES, Reclaimed, SILENT_AFTER, ServerClock, Tick};
pub use trim::TrimAges;

use self::by_hand::Text;
use self::claim::Values;
use self::connection::command;
use crate::job::{Entry, EntryFields, JobId, Millis, QueueName, Request};

/// One queue. Cheap to clone; clones share the connection.
#[derive(Clone, Debug)]
pub struct Queue {
    connection: Connection,
    keys: Keys,
    /// A test's time in Unix ms; `None`: the server's.
    now_ms: Option<u64>,
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
    #[must_use]
    pub fn at(&self, now_ms: u64) -> Self {
        Self { now_ms: Some(now_ms), ..self.clone() }
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

    /// Puts one job on the queue and says at once what became of it.
    ///
    /// # Errors
    /// What the server answered. After a lost reply the job may have been accepted: enqueue it
    /// again, it will then be a [`Admission::Duplicate`].
    pub async fn enqueue(
        &self,
        request: &Request,
        fields: &EntryFields,
    ) -> Result<Admission, QueueError> {
        let admitted = self.enqueue_many(&[(request.clone(), fields.clone())]).await?;
        admitted.first().copied().ok_or_else(|| QueueError::Unexpected("no answer".to_owned()))
    }

    /// Puts many jobs on the queue, in batches of [`ADMIT_BATCH`]; the answers are in the same
    /// order.
    ///
    /// # Errors
    /// As [`Queue::enqueue`]; earlier batches have been accepted then.
    pub async fn enqueue_many(
        &self,
        jobs: &[(Request, EntryFields)],
    ) -> Result<Vec<Admission>, QueueError> {
        // By index: a closure over borrowed chunks would make the future one that cannot be spawned.
        let calls = (0..jobs.len()).step_by(ADMIT_BATCH).map(|first| {
            let mut call = admit::begin(&self.keys, self.now_ms, Hands::NONE);
            for (request, fields) in jobs.iter().skip(first).take(ADMIT_BATCH) {
                admit::add_job(&mut call, "", request, fields);
            }
            call
        });
        // While the server admits one batch, the next is put together.
        let admit = |call| async move { admit::read(self.connection.call(&call).await?) };
        let mut admitted = stream::iter(calls).map(admit).buffered(2);
        let mut admissions = Vec::with_capacity(jobs.len());
        while let Some(batch) = admitted.try_next().await? {
            admissions.extend(batch.admissions);
        }
        Ok(admissions)
    }

    /// Admits entries of the inbox stream, at most [`ADMIT_BATCH`], some of them straight into
    /// the hands of the worker that read them.
    ///
    /// # Errors
    /// What the server answered; repeating the call is safe and right.
    pub async fn admit(
        &self,
        hands: Hands<'_>,
        entries: &[(String, Entry)],
    ) -> Result<Admitted, QueueError> {
        let mut call = admit::begin(&self.keys, self.now_ms, hands);
        for (entry_id, entry) in entries {
            admit::add_entry(&mut call, entry_id, entry);
        }
        admit::read(self.connection.call(&call).await?)
    }

    /// Takes due jobs into a worker's hands to be submitted, and ends those whose time is over.
    ///
    /// # Errors
    /// What the server answered. Repeat the call under the same number: what it took is held by
    /// this worker, and nobody else gets it before the lease runs out.
    pub async fn claim_submits(
        &self,
        claimant: Claimant<'_>,
        rules: SubmitRules,
        retention: Retention,
    ) -> Result<(Claimed<SubmitClaim>, Overdue), QueueError> {
        let call = claim::submit_call(&self.keys, self.now_ms, claimant, rules, retention);
        claim::read_submit(self.connection.call(&call).await?)
    }

    /// Takes due jobs into a worker's hands to be checked.
    ///
    /// # Errors
    /// As [`Queue::claim_submits`].
    pub async fn claim_polls(
        &self,
        claimant: Claimant<'_>,
        retention: Retention,
    ) -> Result<Claimed<PollClaim>, QueueError> {
        let call = claim::poll_call(&self.keys, self.now_ms, claimant, retention);
        claim::read_poll(self.connection.call(&call).await?)
    }

    /// Records what came of jobs in the hands of this worker; the answers are in the same order.
    ///
    /// # Errors
    /// What the server answered; repeating the call is safe and right.
    pub async fn settle(
        &self,
        worker: &str,
        settlements: &[Settlement],
        rules: SubmitRules,
        retention: Retention,
    ) -> Result<Vec<Settled>, QueueError> {
        let mut batch =
            settle::batch(&self.keys, self.now_ms, worker, settlements, rules, retention);
        let replies: Vec<Value> = self.connection.call_all(&mut batch.pipeline).await?;
        batch.read(replies)
    }

    /// Says that a worker lives, and learns what is due and who has fallen silent.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn tick(&self, worker: &str, waits: LongestWaits) -> Result<Tick, QueueError> {
        let call = sweep::tick_call(&self.keys, self.now_ms, worker, waits);
        sweep::read_tick(self.connection.call(&call).await?)
    }

    /// Takes back a batch of leases.
    ///
    /// # Errors
    /// What the server answered; repeating the call is safe.
    pub async fn reclaim(
        &self,
        lost: Lost<'_>,
        rules: SubmitRules,
        retention: Retention,
    ) -> Result<Reclaimed, QueueError> {
        let call = sweep::reclaim_call(&self.keys, self.now_ms, lost, rules, retention);
        let mut values = Values(self.connection.call::<Vec<Value>>(&call).await?.into_iter());
        let (taken, seen, failed) = (values.take()?, values.take()?, values.take()?);
        Ok(Reclaimed { taken, failed, seen, quarantined: values.take_names()? })
    }

    /// Forgets a worker that has gone. One with entries pending is kept, so that they are taken
    /// over first.
    ///
    /// # Errors
    /// What the server answered; repeating the call is safe.
    pub async fn forget_worker(&self, worker: &str) -> Result<(), QueueError> {
        let _forgotten: bool =
            self.connection.call(&sweep::forget_call(&self.keys, self.now_ms, worker)).await?;
        Ok(())
    }

    /// What the server does when its memory is full (`noeviction` is the only right answer);
    /// `None`: it does not say.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn maxmemory_policy(&self) -> Result<Option<String>, QueueError> {
        let mut info = command("INFO");
        info.arg("memory");
        let info: String = match self.connection.query(&info).await {
            Ok(info) => info,
            // Whoever offers the server may keep that for himself.
            Err(QueueError::Refused(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let policy = info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:"));
        Ok(policy.map(|policy| policy.trim().to_owned()))
    }

    /// The server's time, or the one that a test chose.
    pub(crate) async fn server_time(&self) -> Result<Millis, QueueError> {
        if let Some(now_ms) = self.now_ms {
            return Ok(Millis(now_ms));
        }
        let (seconds, micros): (u64, u64) = self.connection.query(&command("TIME")).await?;
        Ok(Millis(seconds * 1000 + micros / 1000))
    }

    /// A job's record, live or ended; `None` when there is none.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn record(&self, id: &JobId) -> Result<Option<Record>, QueueError> {
        let fields: BTreeMap<Text, Text> =
            self.connection.manager().hgetall(self.keys.job(id)).await?;
        Ok(Record::from_fields(fields))
    }
}
