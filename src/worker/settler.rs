//! Writes settlements: those that arrive together go to Redis in one round trip.
//!
//! A settlement is repeated until Redis has answered, however long that takes: the scripts know
//! a repetition. A worker that dies before that leaves a lease, which heals the job. A loop that
//! ends early leaves what it had where its second run takes it up. What was paid for and cannot be
//! recorded is said in the log with all its ids, for nothing else knows it.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::SendError;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::alarm::LONGEST_WAIT;
use super::redis_retry::RedisRetry;
use super::stages::{LeasedJob, StageControls};
use super::watchdog::LoopWatch;
use crate::job::{JobId, PerStage};
use crate::queue::{CLAIM_BATCH, End, Move, QueueError, RuledQueue, Settled, Settlement, Source};
use crate::telemetry;

/// When so many settlements are stuck, no more are taken up.
const MOST_STUCK: usize = 10 * CLAIM_BATCH;

/// A settlement that is to be written.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) settlement: Settlement,
    /// The job as it was claimed.
    pub(crate) job: Arc<dyn LeasedJob>,
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
    /// A settler, and what is to be written.
    pub(crate) fn new() -> (Self, Mutex<Unwritten>) {
        let (sender, receiver) = mpsc::channel(CLAIM_BATCH);
        let unwritten = Unwritten {
            receiver,
            arrived: Vec::with_capacity(CLAIM_BATCH),
            settlements: Vec::new(),
            origins: Vec::new(),
            stuck: Vec::new(),
            stuck_until: Instant::now(),
        };
        (Self { sender }, Mutex::new(unwritten))
    }

    /// Returns when the settlement is queued, which takes time only while Redis is slow.
    pub(crate) async fn settle(&self, due: Due) {
        if let Err(SendError(due)) = self.sender.send(due).await {
            say_given_up(&due.settlement, &*due.job);
        }
    }
}

/// What is still to be written. The loop holds it while it runs, and leaves it whole when it ends.
#[derive(Debug)]
pub(crate) struct Unwritten {
    receiver: mpsc::Receiver<Due>,
    /// Empty between two batches: only its space is kept.
    arrived: Vec<Due>,
    /// The batch that is being written.
    settlements: Vec<Settlement>,
    /// Where each of it comes from.
    origins: Vec<Origin>,
    /// What is tried one by one, since Redis refused it whatever else was with it.
    stuck: Vec<(Settlement, Origin)>,
    /// When they are tried next.
    stuck_until: Instant,
}

/// The job of a settlement, and who waits until it is written.
type Origin = (Arc<dyn LeasedJob>, Option<oneshot::Sender<Infallible>>);

impl Unwritten {
    /// Waits for settlements and takes up as many as one batch holds; 0: nobody can bring any more.
    async fn take_up_more(&mut self) -> usize {
        let count = self.receiver.recv_many(&mut self.arrived, CLAIM_BATCH).await;
        let mut arrived = std::mem::take(&mut self.arrived);
        arrived.drain(..).for_each(|due| self.take_up(due));
        self.arrived = arrived;
        count
    }

    fn take_up(&mut self, due: Due) {
        self.settlements.push(due.settlement);
        self.origins.push((due.job, due.until_written));
    }
}

/// The loop's surroundings.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) queue: RuledQueue,
    pub(crate) worker: Arc<str>,
    pub(crate) controls: PerStage<StageControls>,
    pub(crate) loop_watch: LoopWatch,
    pub(crate) unwritten: Mutex<Unwritten>,
}

impl Writer {
    /// Runs until nobody can bring settlements any more.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut unwritten = self.unwritten.lock().await;
        while self.tick(&mut unwritten).await.is_continue() {}
    }

    /// Takes up what has arrived, waiting for it for a moment, and writes it; says whether more may
    /// come.
    pub(super) async fn tick(&self, unwritten: &mut Unwritten) -> ControlFlow<()> {
        self.loop_watch.turned();
        // What an earlier run was about to write goes first.
        if unwritten.settlements.is_empty() {
            if unwritten.stuck.len() >= MOST_STUCK {
                sleep_until(unwritten.stuck_until).await;
                self.try_stuck(unwritten).await;
                return ControlFlow::Continue(());
            }
            match timeout(LONGEST_WAIT, unwritten.take_up_more()).await {
                Ok(0) if unwritten.stuck.is_empty() => return ControlFlow::Break(()),
                Ok(0) => sleep_until(unwritten.stuck_until).await,
                Ok(_) | Err(_) => {}
            }
        }
        self.write(unwritten).await;
        self.try_stuck(unwritten).await;
        ControlFlow::Continue(())
    }

    /// Writes the batch; what Redis refuses whatever is with it is stuck then.
    async fn write(&self, unwritten: &mut Unwritten) {
        let mut retry = RedisRetry::new("settle");
        let mut may_be_one = false;
        while !unwritten.settlements.is_empty() {
            let error = match self.settle(&unwritten.settlements).await {
                Ok(settled) => {
                    let written = unwritten.settlements.iter().zip(&unwritten.origins);
                    for ((settlement, (job, _)), settled) in written.zip(settled) {
                        self.report(settlement, &**job, settled).await;
                    }
                    unwritten.settlements.clear();
                    unwritten.origins.clear();
                    return;
                }
                Err(error) => error,
            };
            if may_be_one && error.is_of_content() {
                let (settlements, origins) = (&mut unwritten.settlements, &mut unwritten.origins);
                unwritten.stuck.extend(settlements.drain(..).zip(origins.drain(..)));
                return;
            }
            may_be_one = error.is_of_content();
            retry.wait(&error).await;
        }
    }

    /// Tries what is stuck, each by itself, so that one job's damage does not hold up the others.
    /// What is still to be tried stays where it is, for the loop may be ended here.
    async fn try_stuck(&self, unwritten: &mut Unwritten) {
        if unwritten.stuck.is_empty() || Instant::now() < unwritten.stuck_until {
            return;
        }
        let (mut index, mut last_error) = (0, None);
        while let Some((settlement, (job, _))) = unwritten.stuck.get(index) {
            self.loop_watch.turned();
            match self.settle(std::slice::from_ref(settlement)).await {
                Ok(settled) => {
                    for settled in settled {
                        self.report(settlement, &**job, settled).await;
                    }
                    unwritten.stuck.swap_remove(index);
                }
                Err(error) => {
                    telemetry::redis_error(error.kind());
                    last_error = Some((settlement.id.clone(), error));
                    index += 1;
                }
            }
        }
        if let Some((id, error)) = last_error {
            let jobs = unwritten.stuck.len();
            tracing::warn!(job.id = %id, jobs, %error, "cannot be written, nor may others; again soon");
        }
        unwritten.stuck_until = Instant::now() + LONGEST_WAIT;
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, QueueError> {
        self.queue.settle(&self.worker, settlements).await
    }

    /// Gives up what could not be written, which is said in the log; nobody may bring any more.
    /// The loop must have ended.
    pub(crate) async fn give_up(&self) {
        let mut unwritten = self.unwritten.lock().await;
        unwritten.receiver.close();
        while let Ok(due) = unwritten.receiver.try_recv() {
            unwritten.take_up(due);
        }
        for (settlement, (job, _)) in unwritten.settlements.iter().zip(&unwritten.origins) {
            say_given_up(settlement, &**job);
        }
        for (settlement, (job, _)) in &unwritten.stuck {
            say_given_up(settlement, &**job);
        }
    }

    async fn report(&self, settlement: &Settlement, job: &dyn LeasedJob, settled: Settled) {
        let id = &settlement.id;
        match settled {
            Settled::Done => self.follow_up(id, &settlement.to),
            Settled::AlsoAccepted => {
                tracing::warn!(job.id = %id, "accepted twice by the API: two videos may be billed");
            }
            Settled::Pushed => report_completed(id, Source::Webhook),
            Settled::Refused => {
                if let Move::Requeue { refusal: Some(fault), .. } = &settlement.to {
                    report_end(id, &End::Failed(fault.clone()), Source::Submit);
                }
            }
            Settled::Stale => tracing::info!(job.id = %id, "a late answer under an old claim"),
            Settled::Late => tracing::info!(job.id = %id, "a late answer to an ended job"),
            Settled::Gone if is_paid(&settlement.to) => self.keep_aside(settlement, job).await,
            Settled::Gone => tracing::warn!(job.id = %id, "its record is gone from Redis"),
        }
    }

    /// The API was paid for it, and somebody has deleted its record meanwhile.
    async fn keep_aside(&self, settlement: &Settlement, job: &dyn LeasedJob) {
        let id = &settlement.id;
        say_lost("its record is gone from Redis", settlement, job);
        let (whilter_request_id, url) = known(&settlement.to, job);
        let reason = format!(
            "paid for, and its record is gone: {}, whilter-request-id {} {}",
            words(&settlement.to),
            whilter_request_id.unwrap_or_default(),
            url.unwrap_or_default()
        );
        // Once: a repetition after a lost reply might be a second entry, and the log has it all.
        if let Err(error) = self.queue.keep_aside(id, reason.trim_end()).await {
            tracing::warn!(job.id = %id, %error, "it may not stand among the rejected entries");
        }
    }

    fn follow_up(&self, id: &JobId, to: &Move) {
        match to {
            Move::Accept { first_check_in, .. } => {
                self.controls.poll.alarm.ring_in(*first_check_in)
            }
            Move::Repoll { delay, .. } => self.controls.poll.alarm.ring_in(*delay),
            Move::Requeue { delay, .. } => self.controls.submit.alarm.ring_in(*delay),
            Move::Unconfirm { event, .. } => {
                tracing::warn!(job.id = %id, "{event}");
                self.controls.submit.alarm.ring_in(self.queue.rules().unconfirmed_grace);
            }
            Move::Finish { end, source } => report_end(id, end, *source),
        }
    }
}

fn report_completed(id: &JobId, source: Source) {
    tracing::debug!(job.id = %id, "completed");
    telemetry::jobs_ended("completed", "", 1);
    telemetry::urls_found(source.as_str(), 1);
}

fn report_end(id: &JobId, end: &End, source: Source) {
    match end {
        End::Completed { .. } => report_completed(id, source),
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

/// What is given up may be written for all we know: the reply may be what was lost.
fn say_given_up(settlement: &Settlement, job: &dyn LeasedJob) {
    say_lost("not written when the worker stopped, so its lease must heal it", settlement, job);
}

fn say_lost(why: &str, settlement: &Settlement, job: &dyn LeasedJob) {
    let (whilter_request_id, url) = known(&settlement.to, job);
    tracing::error!(
        job.id = %settlement.id,
        job.whilter_request_id = whilter_request_id,
        job.url = url,
        "{}: {why}",
        words(&settlement.to)
    );
}

/// Whether it tells of something that the API was paid for.
fn is_paid(to: &Move) -> bool {
    matches!(to, Move::Accept { .. } | Move::Finish { end: End::Completed { .. }, .. })
}

/// The API's id of the job and the URL of its video, where there are any.
fn known<'a>(to: &'a Move, job: &'a dyn LeasedJob) -> (Option<&'a str>, Option<&'a str>) {
    match to {
        Move::Accept { whilter_request_id, .. } => (Some(whilter_request_id), None),
        Move::Finish { end: End::Completed { video_url, image_url }, .. } => {
            (job.whilter_request_id(), video_url.as_deref().or(image_url.as_deref()))
        }
        Move::Finish { end: End::Failed(_) | End::Expired(_), .. }
        | Move::Requeue { .. }
        | Move::Unconfirm { .. }
        | Move::Repoll { .. } => (job.whilter_request_id(), None),
    }
}

/// What a call came to, in words.
fn words(to: &Move) -> &'static str {
    match to {
        Move::Accept { .. } => "the API accepted it",
        Move::Requeue { .. } => "the API did not accept it",
        Move::Unconfirm { .. } => "its POST was not answered",
        Move::Repoll { .. } => "its video is not known to be ready",
        Move::Finish { end: End::Completed { .. }, .. } => "its video is ready",
        Move::Finish { end: End::Failed(_), .. } => "it failed",
        Move::Finish { end: End::Expired(_), .. } => "it expired",
    }
}

/// How long a stopping worker waits for its last settlements.
pub(crate) const LAST_SETTLEMENTS: Duration = Duration::from_secs(2);
