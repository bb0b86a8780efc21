//! Writes settlements: those that arrive together go to Redis in one round trip.
//!
//! A settlement is repeated until Redis has answered, however long that takes: the scripts know
//! a repetition. A worker that dies before that leaves a lease, which heals the job.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::alarm::{Alarm, LONGEST_WAIT};
use super::health::Turns;
use super::retry::Retry;
use crate::job::JobId;
use crate::queue::{CLAIM_BATCH, End, Move, Queue, Retention, Settled, Settlement, SubmitRules};
use crate::telemetry;

/// A settlement that is to be written.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) settlement: Settlement,
    /// Dropped when it is written, for whoever waits for that.
    pub(crate) until_written: Option<oneshot::Sender<Infallible>>,
}

/// Where handlers bring their settlements. When the last clone is gone, the loop writes what it
/// has and ends.
#[derive(Clone, Debug)]
pub(crate) struct Settler {
    sender: mpsc::Sender<Due>,
}

impl Settler {
    /// A settler and the loop that serves it.
    pub(crate) fn new(writer: Writer) -> (Self, impl Future<Output = ()>) {
        let (sender, receiver) = mpsc::channel(CLAIM_BATCH);
        (Self { sender }, writer.run(receiver))
    }

    /// Returns when the settlement is queued, which takes time only while Redis is slow.
    pub(crate) async fn settle(&self, due: Due) {
        // Fails only when the loop has ended with the process; the lease heals the job.
        let _ = self.sender.send(due).await;
    }
}

/// The loop's surroundings.
pub(crate) struct Writer {
    pub(crate) queue: Queue,
    pub(crate) rules: SubmitRules,
    pub(crate) retention: Retention,
    pub(crate) submit_alarm: Arc<Alarm>,
    pub(crate) poll_alarm: Arc<Alarm>,
    pub(crate) turns: Turns,
}

impl Writer {
    async fn run(self, mut receiver: mpsc::Receiver<Due>) {
        let mut arrived = Vec::with_capacity(CLAIM_BATCH);
        loop {
            self.turns.turned();
            match timeout(LONGEST_WAIT, receiver.recv_many(&mut arrived, CLAIM_BATCH)).await {
                Ok(0) => return,
                Ok(_) => {}
                Err(_) => continue,
            }
            let (batch, _waiting): (Vec<_>, Vec<_>) =
                arrived.drain(..).map(|it| (it.settlement, it.until_written)).unzip();
            let settled = self.write(&batch).await;
            for (settlement, settled) in batch.iter().zip(settled) {
                self.report(settlement, settled);
            }
        }
    }

    async fn write(&self, settlements: &[Settlement]) -> Vec<Settled> {
        let mut retry = Retry::new("settle");
        loop {
            match self.queue.settle(settlements, self.rules, self.retention).await {
                Ok(settled) => return settled,
                Err(error) => retry.wait(&error).await,
            }
        }
    }

    fn report(&self, settlement: &Settlement, settled: Settled) {
        let id = &settlement.id;
        match settled {
            Settled::Done => self.follow_up(id, &settlement.to),
            Settled::AlsoAccepted => {
                tracing::warn!(job.id = %id, "accepted twice by the API: two videos may be billed");
            }
            Settled::Refused => {
                if let Move::Requeue { refusal: Some(fault), .. } = &settlement.to {
                    report_end(id, &End::Failed(fault.clone()));
                }
            }
            Settled::Stale => tracing::info!(job.id = %id, "a late answer under an old claim"),
            Settled::Late => tracing::info!(job.id = %id, "a late answer to an ended job"),
            Settled::Gone => tracing::warn!(job.id = %id, "its record is gone from Redis"),
        }
    }

    fn follow_up(&self, id: &JobId, to: &Move) {
        match to {
            Move::Accept { first_check_in, .. } => self.poll_alarm.ring_in(*first_check_in),
            Move::Repoll { delay, .. } => self.poll_alarm.ring_in(*delay),
            Move::Requeue { delay, .. } => self.submit_alarm.ring_in(*delay),
            Move::Unconfirm { event, .. } => {
                tracing::warn!(job.id = %id, "{event}");
                self.submit_alarm.ring_in(self.rules.grace);
            }
            Move::Finish { end, .. } => report_end(id, end),
        }
    }
}

fn report_end(id: &JobId, end: &End) {
    match end {
        End::Completed { .. } => {
            tracing::debug!(job.id = %id, "completed");
            telemetry::jobs_ended("completed", "", 1);
        }
        End::Failed(fault) => {
            tracing::warn!(job.id = %id, error = %fault.to_field(), "failed");
            telemetry::jobs_ended("failed", fault.code.as_str(), 1);
        }
        End::Expired(fault) => {
            tracing::warn!(job.id = %id, error = %fault.to_field(), "expired");
            telemetry::jobs_ended("expired", fault.code.as_str(), 1);
        }
    }
}

/// How long a stopping worker waits for its last settlements.
pub(crate) const LAST_SETTLEMENTS: Duration = Duration::from_secs(2);
