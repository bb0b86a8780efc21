//! The claim loop of a stage: takes what is due as long as there are free permits.
//!
//! Claimed is begun: it asks for no more jobs than it has permits, and hands each over together
//! with its permit, so nothing waits in a dying worker's memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;

use super::alarm::Alarm;
use super::health::Turns;
use super::retry::Retry;
use super::stage::{InHand, Stage};
use crate::queue::CLAIM_BATCH;

/// See the module.
pub(crate) struct ClaimLoop<S: Stage> {
    pub(crate) stage: S,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) entrance: mpsc::Sender<InHand<S::Job>>,
    pub(crate) alarm: Arc<Alarm>,
    pub(crate) turns: Turns,
}

impl<S: Stage> ClaimLoop<S> {
    /// Runs until the worker stops.
    pub(crate) async fn run(self, mut stopping: watch::Receiver<bool>) {
        let mut retry = Retry::new(S::NAME);
        loop {
            self.turns.turned();
            let rung = tokio::select! {
                rung = self.alarm.rung() => rung,
                _ = stopping.wait_for(|it| *it) => return,
            };
            if !rung {
                continue;
            }
            let permits = tokio::select! {
                permits = self.free_permits() => permits,
                _ = stopping.wait_for(|it| *it) => return,
            };
            self.turn(permits, &mut retry).await;
        }
    }

    /// At least one permit, and whatever else is free; waits while all are in use.
    async fn free_permits(&self) -> OwnedSemaphorePermit {
        loop {
            self.turns.turned();
            let first = Arc::clone(&self.permits).acquire_owned();
            let wait = tokio::time::timeout(Duration::from_secs(1), first);
            let Ok(permit) = wait.await else { continue };
            let mut permits = permit.expect("the semaphore is never closed");
            let more = self.permits.available_permits().min(CLAIM_BATCH - 1);
            if let Ok(more) =
                Arc::clone(&self.permits).try_acquire_many_owned(u32::try_from(more).unwrap_or(0))
            {
                permits.merge(more);
            }
            return permits;
        }
    }

    /// One claim; sets the alarm for the next.
    async fn turn(&self, mut permits: OwnedSemaphorePermit, retry: &mut Retry) {
        let since = Instant::now();
        match self.stage.claim(permits.num_permits()).await {
            Ok(claimed) => {
                retry.reset();
                for job in claimed.jobs {
                    let permit = permits.split(1);
                    let in_hand = InHand { job: Arc::new(job), since, permit };
                    // The lane has room for every permit and outlives this loop.
                    let _ = self.entrance.send(in_hand).await;
                }
                if let Some(delay) = claimed.next_in {
                    self.alarm.ring_in(delay);
                }
            }
            Err(error) => {
                drop(permits);
                retry.wait(&error).await;
                self.alarm.ring_in(Duration::ZERO);
            }
        }
    }
}
