//! The heartbeat: one call a second that says this worker lives and learns what is due.
//!
//! It runs on a thread and a connection of its own, so that a busy runtime never makes a living
//! worker look dead. Should it end early, it is started again, for the calls in hand are to end
//! before others take them over. Others are judged only after several beats in a row: after a stall of
//! Redis everybody looks dead.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;
use tokio::time::Instant;

use super::api_health::Health;
use super::redis_retry::RedisRetry;
use super::stages::StageControls;
use super::watchdog::{LoopWatch, Watchdog};
use crate::job::{PerStage, Stage};
use crate::queue::{Beat, QueueError, RuledQueue, ServerClock, Tick};

/// Time between two beats.
const BEAT: Duration = Duration::from_secs(1);
/// Beats in a row before others may be judged.
pub(super) const BEATS_TO_JUDGE: u32 = 5;

/// See the module.
pub(crate) struct Heartbeat {
    /// Any connection to the queue: the heartbeat opens its own from it.
    pub(crate) queue: RuledQueue,
    pub(crate) worker: Arc<str>,
    pub(crate) controls: PerStage<StageControls>,
    pub(crate) health: Arc<Health>,
    pub(crate) watchdog: Watchdog,
    pub(crate) loop_watch: LoopWatch,
    /// Workers that are to be judged dead, for the rescuer.
    pub(crate) silent: watch::Sender<Vec<String>>,
}

/// The thread on which a heartbeat runs.
#[derive(Debug)]
pub(crate) struct HeartbeatThread {
    pub(crate) runtime: Handle,
    pub(crate) thread: thread::JoinHandle<()>,
}

impl HeartbeatThread {
    /// Starts the thread; it ends when `stopped` turns true.
    ///
    /// # Errors
    /// When the system gives no thread or no timer.
    pub(crate) fn start(mut stopped: watch::Receiver<bool>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let until_stopped = async move {
            // An error says that the worker is gone.
            let _ = stopped.wait_for(|it| *it).await;
        };
        let thread = thread::Builder::new()
            .name("reelq-heartbeat".to_owned())
            .spawn(move || runtime.block_on(until_stopped))?;
        Ok(Self { runtime: handle, thread })
    }
}

impl Heartbeat {
    /// Runs until its thread ends.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut retry = RedisRetry::new("beat");
        loop {
            let Err(error) = self.beat_on_one_connection(&mut retry).await;
            self.watchdog.redis_away(&error);
            retry.wait(&error).await;
        }
    }

    async fn beat_on_one_connection(
        &self,
        retry: &mut RedisRetry,
    ) -> Result<Infallible, QueueError> {
        self.loop_watch.turned();
        let queue = self.queue.on_own_connection().await?;
        let mut beats = 0_u32;
        loop {
            let clock = self.tick(&queue, &mut beats).await?;
            retry.reset();
            if clock != ServerClock::PullingIn {
                tokio::time::sleep(BEAT).await;
            }
        }
    }

    /// One beat; `beats` is how many came in a row before it, and with it.
    pub(super) async fn tick(
        &self,
        queue: &RuledQueue,
        beats: &mut u32,
    ) -> Result<ServerClock, QueueError> {
        let asked = Instant::now();
        let (good_ago, ill) = (self.health.good_ago(), self.health.own_fault());
        let beat = Beat { worker: &self.worker, good_ago, ill: ill.as_deref() };
        let tick = queue.tick(beat).await?;
        self.loop_watch.turned();
        // An answer that took so long tells of a stall, in which nobody could beat; and by a clock
        // that went back nobody can be judged.
        let steady = asked.elapsed() < BEAT && tick.clock == ServerClock::Steady;
        *beats = if steady { beats.saturating_add(1) } else { 0 };
        let clock = tick.clock;
        self.take_in(tick, *beats);
        Ok(clock)
    }

    fn take_in(&self, tick: Tick, beats: u32) {
        if self.watchdog.redis_answered(tick.paused) != tick.paused {
            let now = if tick.paused { "paused: nothing is submitted" } else { "resumed" };
            tracing::info!("the queue is {now}");
        }
        if tick.clock == ServerClock::WentBack {
            tracing::warn!("the clock of Redis had gone back: what was due is due again");
        }
        self.health.heard(tick.understood_ago, tick.others_good_ago);
        for (stage, controls) in self.controls.iter() {
            controls.breaker.saw(tick.stages.of(stage), tick.now);
            // While the queue is paused, no submit is due.
            let due_in = tick.due_in.of(stage).filter(|_| stage == Stage::Poll || !tick.paused);
            if let Some(delay) = due_in {
                controls.alarm.ring_in(delay);
            }
        }
        self.watchdog.stages_seen(tick.stages, tick.now);
        if beats >= BEATS_TO_JUDGE {
            self.silent.send_if_modified(|silent| {
                let changed = !tick.silent.is_empty() || !silent.is_empty();
                *silent = tick.silent;
                changed
            });
        }
    }
}
