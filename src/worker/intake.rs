//! Intake: reads the inbox stream and admits what it finds, at once, whatever else goes on.
//!
//! It never waits for permits: what cannot begin now waits in `submit`. Entries that were read
//! and not admitted stay pending under this worker's name; the next read, or a rescuer after a
//! crash, gets them again, and admission recognises them.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::redis_retry::RedisRetry;
use super::rights::wait_for_rights;
use super::stages::apalis_backend::Entrance;
use super::stages::submit::SubmitStage;
use super::stages::{InHand, StageControls};
use super::watchdog::LoopWatch;
use crate::job::{Claim, Entry, Millis, Request, UnknownFields};
use crate::queue::{
    ADMIT_BATCH, Admission, Admitted, Hands, Inbox, QueueError, RawEntry, RuledQueue, SubmitClaim,
};
use crate::telemetry;

/// Admits entries into free hands or into `submit`. Shared by intake and rescuer.
#[derive(Clone)]
pub(crate) struct Admitter {
    pub(crate) queue: RuledQueue,
    pub(crate) worker: Arc<str>,
    pub(crate) unknown_fields: UnknownFields,
    /// Those of the submit stage.
    pub(crate) controls: StageControls,
    pub(crate) entrance: Entrance<SubmitStage>,
}

/// The intake loop.
pub(crate) struct Intake {
    pub(crate) inbox: Inbox,
    pub(crate) admitter: Admitter,
    /// True while the Redis user has all rights.
    pub(crate) rights: watch::Receiver<bool>,
    pub(crate) loop_watch: LoopWatch,
}

impl Intake {
    /// Runs until the worker stops, then admits what had been delivered to it, to wait.
    pub(crate) async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        let mut retry = RedisRetry::new("intake");
        let mut numbers = 1_u64..;
        loop {
            let number = numbers.next().expect("the numbers never end");
            let error = match self.tick(number, &mut stopping).await {
                Ok(ControlFlow::Continue(())) => {
                    retry.reset();
                    continue;
                }
                Ok(ControlFlow::Break(())) => break,
                Err(error) => error,
            };
            tokio::select! {
                () = retry.wait(&error) => {}
                _ = stopping.wait_for(|it| *it) => break,
            }
        }
        // The read that was just dropped may have been given entries.
        match self.inbox.read_own_pending().await {
            Ok(entries) => self.admitter.admit(entries, Begin::Later, &self.loop_watch).await,
            Err(error) => tracing::warn!(%error, "entries may be left for another worker"),
        }
    }

    /// Reads once, when the Redis user has all rights, and admits what came, however long that
    /// takes; breaks when the worker stops before it was read.
    pub(super) async fn tick(
        &mut self,
        number: u64,
        stopping: &mut watch::Receiver<bool>,
    ) -> Result<ControlFlow<()>, QueueError> {
        self.loop_watch.turned();
        let entries = tokio::select! {
            read = read_with_rights(&mut self.inbox, &mut self.rights, &self.loop_watch) => read?,
            _ = stopping.wait_for(|it| *it) => return Ok(ControlFlow::Break(())),
        };
        self.admitter.admit(entries, Begin::Now { number }, &self.loop_watch).await;
        Ok(ControlFlow::Continue(()))
    }
}

/// Reads when the Redis user has all rights.
async fn read_with_rights(
    inbox: &mut Inbox,
    rights: &mut watch::Receiver<bool>,
    loop_watch: &LoopWatch,
) -> Result<Vec<RawEntry>, QueueError> {
    wait_for_rights(rights, loop_watch).await;
    inbox.read().await
}

/// Whether admitted jobs may go straight into this worker's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// By the intake alone, which numbers its admissions: an entry that another role admits as
    /// well must not come into the same hands twice.
    Now {
        number: u64,
    },
    Later,
}

impl Admitter {
    /// Admits entries, however long Redis takes to answer.
    pub(crate) async fn admit(&self, raw: Vec<RawEntry>, begin: Begin, loop_watch: &LoopWatch) {
        if raw.is_empty() {
            return;
        }
        let entries: Vec<(String, Entry)> = raw
            .into_iter()
            .map(|raw| (raw.entry_id, Entry::read(raw.fields, self.unknown_fields)))
            .collect();
        let (mut permits, number) = match begin {
            // Where `submit.rate` is set, claims alone keep to it.
            Begin::Now { number } if self.controls.rate.is_none() => (self.free_permits(), number),
            Begin::Now { .. } | Begin::Later => (None, 0),
        };
        let since = Instant::now();
        let mut retry = RedisRetry::new("admit");
        let (mut may_have_run, mut may_be_one) = (false, false);
        loop {
            loop_watch.turned();
            let error = match self.queue.admit(self.hands(permits.as_ref(), number), &entries).await
            {
                Ok(admitted) => {
                    return self.hand_over(entries, &admitted, &mut permits, since).await;
                }
                Err(error) => error,
            };
            may_have_run |= !error.is_out_of_memory();
            // While Redis is full, what waits in `submit` needs the permits.
            if !may_have_run {
                permits = None;
            }
            if may_be_one && error.is_of_content() {
                break;
            }
            may_be_one = error.is_of_content();
            retry.wait(&error).await;
        }
        for entry in entries {
            self.admit_alone(entry, &mut permits, number, since, loop_watch).await;
        }
    }

    /// Admits one entry of several that could not be admitted together. If it cannot be admitted
    /// alone either, it stays pending, and whoever looks for idle entries tries it again.
    async fn admit_alone(
        &self,
        entry: (String, Entry),
        permits: &mut Option<OwnedSemaphorePermit>,
        number: u64,
        since: Instant,
        loop_watch: &LoopWatch,
    ) {
        let mut retry = RedisRetry::new("admit");
        loop {
            loop_watch.turned();
            let hands = self.hands(permits.as_ref(), number);
            match self.queue.admit(hands, std::slice::from_ref(&entry)).await {
                Ok(admitted) => {
                    return self.hand_over(vec![entry], &admitted, permits, since).await;
                }
                Err(error) if error.is_of_content() => {
                    telemetry::redis_error(error.kind());
                    tracing::error!(entry_id = entry.0, %error, "cannot be admitted, stays pending");
                    return;
                }
                Err(error) => retry.wait(&error).await,
            }
        }
    }

    fn hands(&self, permits: Option<&OwnedSemaphorePermit>, number: u64) -> Hands<'_> {
        let free = permits.map_or(0, OwnedSemaphorePermit::num_permits);
        Hands { worker: &self.worker, free, number }
    }

    async fn hand_over(
        &self,
        entries: Vec<(String, Entry)>,
        admitted: &Admitted,
        permits: &mut Option<OwnedSemaphorePermit>,
        since: Instant,
    ) {
        for ((entry_id, entry), admission) in entries.into_iter().zip(&admitted.admissions) {
            report(&entry_id, &entry, *admission);
            match (admission, entry.id) {
                (Admission::Leased, Some(id)) => {
                    let pair = entry.request.as_ref().map(Request::pair).unwrap_or_default();
                    let job = SubmitClaim {
                        id,
                        claim: Claim(1),
                        attempts: 0,
                        retries: 0,
                        unconfirmed: 0,
                        posts: 1,
                        pair,
                        body: entry.body,
                    };
                    let permit = permits.as_mut().and_then(|permits| permits.split(1));
                    telemetry::pickup(waited(&entry_id, admitted.at));
                    self.entrance.bring(InHand::new(job, since, permit)).await;
                }
                (Admission::Waiting, _) => self.controls.alarm.ring_in(Duration::ZERO),
                _ => {}
            }
        }
    }

    fn free_permits(&self) -> Option<OwnedSemaphorePermit> {
        let permits = self.controls.slow_start.permits();
        let free = permits.available_permits().min(ADMIT_BATCH);
        Arc::clone(permits).try_acquire_many_owned(u32::try_from(free).ok()?).ok()
    }
}

/// How long an entry lay on the stream.
fn waited(entry_id: &str, now: Millis) -> Duration {
    Duration::from_millis(now.since(Millis::of_entry(entry_id).unwrap_or(now)))
}

fn report(entry_id: &str, entry: &Entry, admission: Admission) {
    let id = entry.id.as_ref().map_or("?", |id| id.as_str());
    match admission {
        Admission::Leased | Admission::Waiting => tracing::debug!(job.id = id, "accepted"),
        Admission::Duplicate => tracing::info!(job.id = id, entry_id, "a duplicate: dropped"),
        Admission::Conflict => {
            telemetry::conflict();
            tracing::warn!(
                job.id = id,
                entry_id,
                "another body under a known id: kept in the stream of rejected entries, not sent"
            );
        }
        Admission::Rejected => {
            let problems = entry.request.as_ref().err().map(ToString::to_string);
            tracing::warn!(job.id = id, entry_id, problems, "no valid request: rejected");
        }
    }
}
