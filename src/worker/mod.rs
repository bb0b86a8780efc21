//! The worker: takes jobs, calls the remote API, follows the videos, until it is told to stop.
//!
//! Its roles are loops of their own: `intake` (inbox to records), two claim loops with an apalis
//! worker each (`submit`, `poll`), `settler` (outcomes to Redis), `heartbeat` (beats and due times),
//! `rescuer` (what the dead left), `rights` (whether Redis lets it) and `wake`. `crew` makes them;
//! `stages` and `api_health` are what the two claim loops and their calls consist of.
//!
//! What a worker holds is leased in Redis; in memory there is only what its calls came to, until the
//! settler has written it. A handler returns an outcome and never touches Redis; the layer around it
//! settles it. The supervisor notices a role that ends early: then the worker stops, as if it were
//! told to.

mod alarm;
mod api_health;
mod crew;
mod heartbeat;
mod intake;
mod policies;
mod redis_retry;
mod rescuer;
mod rights;
mod settler;
mod stages;
mod supervisor;
#[cfg(test)]
#[cfg(feature = "cli")]
mod tests;
mod wake;
mod watchdog;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use self::alarm::LONGEST_WAIT;
use self::crew::Crew;
use self::heartbeat::HeartbeatThread;
use self::settler::{LAST_SETTLEMENTS, Writer};
use self::stages::StageControls;
use self::stages::start::{LaneStop, Starter};
use crate::config::{Api, Settings};
use crate::job::PerStage;
use crate::queue::RuledQueue;
use crate::whilter::{BuildError, Client, TokenTurn};

pub(crate) use self::redis_retry::RedisRetry;
pub(crate) use self::supervisor::Supervisor;
pub use self::watchdog::{RoleEnded, Watchdog};

/// Why a worker could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The API's client could not be made from the settings.
    #[error(transparent)]
    Client(#[from] BuildError),
    /// The system gave no thread.
    #[error("the heartbeat could not start: {0}")]
    Heartbeat(#[from] std::io::Error),
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    name: Arc<str>,
    queue: RuledQueue,
    watchdog: Watchdog,
    grace: Duration,
    /// Turns true when nothing new may be taken.
    stopping: watch::Sender<bool>,
    /// Turns true when the calls in hand are given up.
    broken_off: watch::Sender<bool>,
    /// Turns true when the last settlement is written or given up.
    stopped: watch::Sender<bool>,
    /// They end when nothing new may be taken.
    roles: Supervisor,
    /// They end by `lane_stops`.
    lanes: Supervisor,
    writer: Arc<Writer>,
    /// Ends when all lanes have ended and what they came to is written.
    settling: Supervisor,
    /// They serve to the very end.
    lasting: Supervisor,
    lane_stops: Vec<LaneStop>,
    controls: PerStage<StageControls>,
    heartbeat_thread: HeartbeatThread,
}

impl Worker {
    /// Starts a worker under a new name, on the runtime that it is called on.
    ///
    /// # Errors
    /// [`StartError`]: nothing was started then.
    pub fn start(
        settings: &Settings,
        api: &Api,
        queue: RuledQueue,
        watchdog: Watchdog,
    ) -> Result<Self, StartError> {
        let (submits, polls) = (settings.submit.concurrency, settings.poll.concurrency);
        let client = Client::new(api, submits, polls, token_turns(&queue))?;
        let (stopped, stopped_seen) = watch::channel(false);
        let heartbeat_thread = HeartbeatThread::start(stopped_seen)?;
        let crew = Crew::new(settings, queue, watchdog);

        let (silent, silent_seen) = watch::channel(Vec::new());
        let lasting = crew.start_heartbeat(heartbeat_thread.runtime.clone(), silent);
        let (settler, writer, settling) = crew.start_settler();

        let (broken_off, broken_off_seen) = watch::channel(false);
        let mut starter = crew.starter(settler, broken_off_seen);
        let entrance = starter.start(crew.submit_stage(&client, settings), &crew.controls.submit);
        starter.start(crew.poll_stage(&client, settings), &crew.controls.poll);
        let Starter { mut roles, lanes, lane_stops, .. } = starter;

        let admitter = crew.admitter(settings, entrance);
        let stopping = || crew.stopping.subscribe();
        roles.spawn("intake", crew.intake(admitter.clone()).run(stopping()));
        roles.spawn("rescuer", crew.rescuer(admitter, silent_seen).run(stopping()));
        roles.spawn("rights", crew.rights_role().run(stopping()));
        roles.spawn("wake", crew.wake().run(stopping()));

        let Crew { name, queue, watchdog, controls, stopping, .. } = crew;
        tracing::info!(worker = %name, queue = %settings.queue.name, "worker started");
        let grace = settings.worker.shutdown_grace;
        Ok(Self {
            name,
            queue,
            watchdog,
            grace,
            stopping,
            broken_off,
            stopped,
            roles,
            lanes,
            writer,
            settling,
            lasting,
            lane_stops,
            controls,
            heartbeat_thread,
        })
    }

    /// The name under which it holds leases and beats.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it works.
    #[must_use]
    pub fn watchdog(&self) -> &Watchdog {
        &self.watchdog
    }

    /// Watches a task that serves this worker, such as its HTTP server, as one of its roles. It is
    /// ended when the worker has stopped.
    pub fn watch(&mut self, name: &'static str, task: JoinHandle<()>) {
        self.lasting.watch(name, task);
    }

    /// Works until it is told to stop, or until one of its roles ends early, and stops.
    ///
    /// # Errors
    /// The role that ended first although the worker was not told to stop, or by a panic.
    pub async fn run_until(self, told: impl Future<Output = ()>) -> Result<(), RoleEnded> {
        let watchdog = self.watchdog.clone();
        tokio::select! {
            () = told => {}
            () = watchdog.role_has_ended() => {}
        }
        self.stop().await;
        watchdog.ended().map_or(Ok(()), Err)
    }

    /// Stops in good order: takes nothing new, lets the calls in hand end, and shortly before
    /// the grace is over gives them up: checks and POSTs that were not begun are handed back, other
    /// POSTs marked unconfirmed. What cannot be written by its end is said in the log.
    pub async fn stop(mut self) {
        tracing::info!(worker = %self.name, "stopping: nothing new is taken");
        self.watchdog.stopping();
        let until = Instant::now() + self.grace;
        self.stopping.send_replace(true);
        let give_up = until - self.grace.min(LAST_SETTLEMENTS);
        let waited = timeout_at(give_up, async {
            self.roles.ended().await;
            self.calls_end().await;
        });
        if waited.await.is_err() {
            tracing::warn!("the grace is nearly over: giving up the calls in hand");
            self.broken_off.send_replace(true);
            // What cannot even be queued by then is given up below, and its lease heals it.
            let _ = timeout_at(until, self.calls_end()).await;
        }
        self.lane_stops.iter().for_each(LaneStop::stop);
        self.roles.shutdown().await;
        self.lanes.shutdown().await;
        // The time may be over: then it leaves what it held, and that is given up.
        let _ = timeout_at(until, self.settling.ended()).await;
        self.settling.shutdown().await;
        self.writer.give_up().await;
        // Those that could not even queue what they came to say so now, which takes no time.
        let _ = timeout(LONGEST_WAIT, self.calls_end()).await;
        self.stopped.send_replace(true);
        self.lasting.shutdown().await;
        // After the last beat, which would sign it on again.
        match timeout_at(until, self.queue.forget_worker(&self.name)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "not signed off; others notice in seconds"),
            Err(_) => tracing::warn!("not signed off in time; others notice in seconds"),
        }
        let thread = self.heartbeat_thread.thread;
        // It ends at once, and has nothing to lose.
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        tracing::info!(worker = %self.name, "stopped");
    }

    /// The names of its roles.
    #[doc(hidden)]
    #[must_use]
    pub fn roles(&self) -> Vec<&'static str> {
        self.supervisors().iter().flat_map(|it| it.names()).collect()
    }

    /// Ends a role as a mistake of ours would, for a test; false: there is none of that name.
    #[doc(hidden)]
    #[must_use]
    pub fn end_role(&self, name: &str) -> bool {
        self.supervisors().iter().any(|it| it.abort(name))
    }

    fn supervisors(&self) -> [&Supervisor; 4] {
        [&self.roles, &self.lanes, &self.settling, &self.lasting]
    }

    /// Returns when every permit is free: no call is in hand, and what they came to is queued.
    async fn calls_end(&self) {
        for (_, controls) in self.controls.iter() {
            controls.slow_start.closed().await;
        }
    }
}

/// The fleet's turns to fetch a token are so far apart: a second, and some for the way to the API.
const TOKENS_APART: Duration = Duration::from_millis(1100);

/// Waits for this process's turn to fetch a token. Without Redis there is no turn to wait for, and
/// nothing to do either.
fn token_turns(queue: &RuledQueue) -> TokenTurn {
    let queue = queue.clone();
    Arc::new(move || {
        let queue = queue.clone();
        Box::pin(async move {
            while let Ok(wait) = queue.take_token_turn(TOKENS_APART).await
                && !wait.is_zero()
            {
                tokio::time::sleep(wait).await;
            }
        })
    })
}
