//! Waiting for the ends of jobs: one reader of the result stream serves all who wait in a process.
//!
//! Whoever waits is registered before the job's record is read, so that no end falls between the
//! two. The stream is read only while somebody waits, from its end at that moment on. An end that the
//! reader misses, after a failover that forgot some entries, is found when the wait is over, for then
//! the record is read once more.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::error::QueueError;
use super::handle::Queue;
use super::record::Record;
use super::results::{JobResult, ResultReader};
use crate::job::JobId;

/// Entries of one read.
const PAGE: usize = 256;
/// How long a read waits for an entry.
const BLOCK: Duration = Duration::from_secs(5);
/// How long the reader waits after an error.
const AGAIN_IN: Duration = Duration::from_millis(500);

/// What a wait for a job came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// It has ended.
    Ended(JobResult),
    /// It lives.
    Lives(Record),
    /// There is no record of it.
    Unknown,
}

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Waiters {
    queue: Queue,
    /// How long the server may take for one answer.
    answers_within: Duration,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Told when somebody begins to wait.
    begun: Notify,
    /// True while the stream is read, from a moment on that is known.
    reading: watch::Sender<bool>,
}

/// Who waits, by number.
#[derive(Debug, Default)]
struct Waiting {
    by_job: HashMap<JobId, Vec<(u64, oneshot::Sender<JobResult>)>>,
    /// For any result.
    for_any: HashMap<u64, oneshot::Sender<JobResult>>,
    last_number: u64,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.by_job.is_empty() && self.for_any.is_empty()
    }
}

impl Waiters {
    /// The server may take so long for one answer. Nobody is told anything unless [`Waiters::run`] runs.
    #[must_use]
    pub fn new(queue: Queue, answers_within: Duration) -> Self {
        Self { queue, answers_within, shared: Arc::default() }
    }

    /// Waits for a job's end, until then.
    ///
    /// # Errors
    /// What the server answered when the record was read.
    pub async fn ended(
        &self,
        id: &JobId,
        until: impl Future<Output = ()>,
    ) -> Result<Awaited, QueueError> {
        let mut until = pin!(until);
        let mut ticket = self.register(Some(id));
        let found = self.in_time(async {
            self.is_read().await;
            self.look(id).await
        });
        let found = found.await?;
        if !matches!(found, Awaited::Lives(_)) {
            return Ok(found);
        }
        tokio::select! {
            Ok(result) = &mut ticket.result => Ok(Awaited::Ended(result)),
            () = &mut until => self.in_time(self.look(id)).await,
        }
    }

    /// The results after `entry_id`, at most `count`; waits for the first, until then.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn results(
        &self,
        entry_id: &str,
        count: usize,
        until: impl Future<Output = ()>,
    ) -> Result<Vec<JobResult>, QueueError> {
        let mut ticket = self.register(None);
        let found = self.in_time(async {
            self.is_read().await;
            self.queue.results_page(entry_id, count).await
        });
        let found = found.await?;
        if !found.is_empty() {
            return Ok(found);
        }
        tokio::select! {
            _ = &mut ticket.result => {}
            () = until => {}
        }
        self.in_time(self.queue.results_page(entry_id, count)).await
    }

    /// Returns when the stream is read, so that no entry is missed from then on.
    async fn is_read(&self) {
        // The sender is our own, and never gone.
        let _ = self.shared.reading.subscribe().wait_for(|it| *it).await;
    }

    /// How the job stands now.
    async fn look(&self, id: &JobId) -> Result<Awaited, QueueError> {
        let Some(record) = self.queue.record(id).await? else { return Ok(Awaited::Unknown) };
        Ok(match JobResult::of(id, &record) {
            Some(result) => Awaited::Ended(result),
            None => Awaited::Lives(record),
        })
    }

    async fn in_time<T>(
        &self,
        asked: impl Future<Output = Result<T, QueueError>>,
    ) -> Result<T, QueueError> {
        let answered = timeout(self.answers_within, asked).await;
        answered.unwrap_or_else(|_| Err(QueueError::io(ErrorKind::TimedOut)))
    }

    /// Registers somebody who waits for a job's end, or for any result.
    fn register(&self, id: Option<&JobId>) -> Ticket {
        let (sender, result) = oneshot::channel();
        let mut waiting = self.shared.lock();
        waiting.last_number += 1;
        let number = waiting.last_number;
        match id {
            Some(id) => waiting.by_job.entry(id.clone()).or_default().push((number, sender)),
            None => drop(waiting.for_any.insert(number, sender)),
        }
        self.shared.begun.notify_one();
        Ticket { id: id.cloned(), number, result, shared: Arc::clone(&self.shared) }
    }

    /// Reads for all who wait, for ever; `turned` is called with each read.
    pub async fn run(self, turned: impl Fn()) {
        loop {
            turned();
            if self.shared.is_idle() {
                let begun = timeout(BLOCK, self.shared.begun.notified());
                // Nobody has begun to wait.
                if begun.await.is_err() {
                    continue;
                }
            }
            match self.queue.last_result_id().await {
                Ok(last) => self.read_from(last, &turned).await,
                Err(error) => self.wait_to_repeat(&error).await,
            }
        }
    }

    /// Reads as long as anybody waits.
    async fn read_from(&self, last: String, turned: &impl Fn()) {
        let mut reader: ResultReader = self.queue.results_after(last);
        self.shared.reading.send_replace(true);
        while !self.shared.has_become_idle() {
            turned();
            match reader.read(PAGE, BLOCK).await {
                Ok(results) => results.into_iter().for_each(|result| self.shared.tell(result)),
                Err(error) => self.wait_to_repeat(&error).await,
            }
        }
    }

    async fn wait_to_repeat(&self, error: &QueueError) {
        tracing::warn!(%error, "the result stream cannot be read; again soon");
        sleep(AGAIN_IN).await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_idle(&self) -> bool {
        self.lock().is_empty()
    }

    /// Stops reading if nobody waits. Whoever begins to wait after that sees that nobody reads.
    fn has_become_idle(&self) -> bool {
        let waiting = self.lock();
        let idle = waiting.is_empty();
        if idle {
            self.reading.send_replace(false);
        }
        idle
    }

    /// Gives a result to all who wait for it. A rejected entry says nothing about the job of its id.
    fn tell(&self, result: JobResult) {
        let id = result.get("client-request-id").and_then(|id| JobId::new(id).ok());
        let id = id.filter(|_| result.status() != "rejected");
        let mut waiting = self.lock();
        let for_job = id.and_then(|id| waiting.by_job.remove(&id)).unwrap_or_default();
        let for_any = std::mem::take(&mut waiting.for_any);
        drop(waiting);
        for sender in for_job.into_iter().map(|(_, sender)| sender).chain(for_any.into_values()) {
            // Who has gone meanwhile needs it no more.
            let _ = sender.send(result.clone());
        }
    }
}

/// A place among those who wait, left when it is dropped.
struct Ticket {
    id: Option<JobId>,
    number: u64,
    result: oneshot::Receiver<JobResult>,
    shared: Arc<Shared>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut waiting = self.shared.lock();
        let Some(id) = &self.id else {
            waiting.for_any.remove(&self.number);
            return;
        };
        if let Some(others) = waiting.by_job.get_mut(id) {
            others.retain(|(number, _)| *number != self.number);
            if others.is_empty() {
                waiting.by_job.remove(id);
            }
        }
    }
}
