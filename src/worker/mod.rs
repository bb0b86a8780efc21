//! The worker: takes jobs, calls the remote API, follows the videos, until it is told to stop.
//!
//! Its roles are loops of their own: `intake` (inbox to records), two claim loops with an apalis
//! worker each (`submit`, `poll`), `settler` (outcomes to Redis), `heartbeat` (beats and due times),
//! `rescuer` (what the dead left), `rights` (whether Redis lets it) and `wake`. They share permits and alarms and nothing else;
//! nothing is held in memory that is not in Redis. A handler returns an outcome and never
//! touches Redis; the layer around it settles it. The supervisor notices a role that ends early:
//! then the worker stops, as if it were told to.

mod alarm;
mod api_health;
mod heartbeat;
mod intake;
mod policies;
mod redis_retry;
mod rescuer;
mod rights;
mod settler;
mod stages;
mod supervisor;
mod wake;
mod watchdog;

use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::WorkerContext;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use self::alarm::{Alarm, LONGEST_WAIT};
use self::api_health::Breaker;
use self::api_health::SlowStart;
use self::heartbeat::{Heartbeat, HeartbeatThread};
use self::intake::{Admitter, Intake};
pub(crate) use self::policies::retention;
use self::policies::{longest_waits, poll_policy, submit_policy, submit_rules, trim_ages};
use self::rescuer::Rescuer;
use self::rights::Rights;
use self::settler::{LAST_SETTLEMENTS, Settler, Writer};
use self::stages::Stage;
use self::stages::poll::PollStage;
use self::stages::start::{Fitter, Watched};
use self::stages::submit::SubmitStage;
use self::supervisor::Supervisor;
use self::wake::Wake;
use crate::config::{Api, Settings};
use crate::queue::{Inbox, Queue, QueueError};
use crate::whilter::{BuildError, Client, TokenTurn};

pub use self::supervisor::RoleEnded;
pub use self::watchdog::Watchdog;

/// Why a worker could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The API's client could not be made from the settings.
    #[error(transparent)]
    Client(#[from] BuildError),
    /// Redis did not answer.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The system gave no thread.
    #[error("the heartbeat could not start: {0}")]
    Heartbeat(#[from] std::io::Error),
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    name: Arc<str>,
    queue: Queue,
    watchdog: Watchdog,
    grace: Duration,
    /// LoopWatch true when nothing new may be taken.
    stopping: watch::Sender<bool>,
    /// LoopWatch true when the calls in hand are given up.
    broken_off: watch::Sender<bool>,
    /// LoopWatch true when the last settlement is written.
    stopped: watch::Sender<bool>,
    /// They end when nothing new may be taken.
    roles: Supervisor,
    /// They end by their contexts.
    lanes: Supervisor,
    writer: Arc<Writer>,
    /// Ends when all lanes have ended and what they came to is written.
    settling: Supervisor,
    /// They serve to the very end.
    lasting: Supervisor,
    contexts: Vec<WorkerContext>,
    slow_starts: [SlowStart; 2],
    heartbeat: HeartbeatThread,
}

impl Worker {
    /// Starts a worker under a new name.
    ///
    /// # Errors
    /// [`StartError`]: nothing was started then.
    pub async fn start(settings: &Settings, api: &Api, queue: Queue) -> Result<Self, StartError> {
        let name: Arc<str> = unique_name().into();
        let (submits, polls) = (settings.submit.concurrency, settings.poll.concurrency);
        let client = Client::new(api, submits, polls, token_turns(&queue))?;
        let watchdog = Watchdog::default();
        let (submit_alarm, poll_alarm) = (Arc::<Alarm>::default(), Arc::<Alarm>::default());
        let rules = submit_rules(settings);
        let retention = retention(settings);
        let (stopping, _) = watch::channel(false);
        let (broken_off, broken_off_seen) = watch::channel(false);
        let (stopped, stopped_seen) = watch::channel(false);
        let (silent, silent_seen) = watch::channel(Vec::new());
        let watched = |stage, concurrency, backoff| {
            let slow_start = SlowStart::new(u32::try_from(concurrency).unwrap_or(u32::MAX));
            let breaker = Breaker::new(stage, queue.clone(), rules, backoff, slow_start.clone());
            Watched { slow_start, breaker: Arc::new(breaker) }
        };
        let (submit_policy, poll_policy) = (submit_policy(settings), poll_policy(settings));
        let watched_submit =
            watched(SubmitStage::NAME, settings.submit.concurrency, submit_policy.backoff);
        let watched_poll = watched(PollStage::NAME, settings.poll.concurrency, poll_policy.backoff);
        let supervised = || Supervisor::new(watchdog.clone(), stopping.clone());
        let heartbeat = Arc::new(Heartbeat {
            queue: queue.clone(),
            worker: Arc::clone(&name),
            waits: longest_waits(settings),
            submit_alarm: Arc::clone(&submit_alarm),
            poll_alarm: Arc::clone(&poll_alarm),
            submit_breaker: Arc::clone(&watched_submit.breaker),
            poll_breaker: Arc::clone(&watched_poll.breaker),
            watchdog: watchdog.clone(),
            loop_watch: watchdog.loop_watch("heartbeat"),
            silent,
        });
        let heartbeat_thread = HeartbeatThread::start(stopped_seen)?;
        let runtime = heartbeat_thread.runtime.clone();
        let mut lasting = supervised();
        lasting.keep("heartbeat", move || runtime.spawn(Arc::clone(&heartbeat).run()));

        let (settler, unwritten) = Settler::new();
        let writer = Arc::new(Writer {
            queue: queue.clone(),
            worker: Arc::clone(&name),
            rules,
            retention,
            submit_alarm: Arc::clone(&submit_alarm),
            poll_alarm: Arc::clone(&poll_alarm),
            loop_watch: watchdog.loop_watch("settler"),
            unwritten,
        });
        let mut settling = supervised();
        let kept = Arc::clone(&writer);
        settling.keep("settler", move || tokio::spawn(Arc::clone(&kept).run()));

        let rights = Arc::new(watch::Sender::new(false));
        let mut fitter = Fitter {
            rights: rights.subscribe(),
            worker: Arc::clone(&name),
            lease: settings.queue.lease,
            watchdog: watchdog.clone(),
            settler,
            broken_off: broken_off_seen,
            stopping: stopping.subscribe(),
            roles: supervised(),
            lanes: supervised(),
        };
        let submit = SubmitStage {
            queue: queue.clone(),
            client: client.clone(),
            rules,
            retention,
            policy: submit_policy,
        };
        let (concurrency, rate) =
            (settings.submit.concurrency, settings.submit.rate.map(|it| it.0));
        let alarm = Arc::clone(&submit_alarm);
        let submit = fitter.fit(submit, concurrency, rate, watched_submit, alarm);
        let poll = PollStage {
            queue: queue.clone(),
            client,
            deliverable: settings.poll.deliverable,
            retention,
            policy: poll_policy,
        };
        let (concurrency, rate) = (settings.poll.concurrency, settings.poll.rate.map(|it| it.0));
        let poll = fitter.fit(poll, concurrency, rate, watched_poll, Arc::clone(&poll_alarm));
        let Fitter { mut roles, lanes, .. } = fitter;

        let admitter = Admitter {
            queue: queue.clone(),
            worker: Arc::clone(&name),
            lease: settings.queue.lease,
            unknown_fields: settings.queue.unknown_fields,
            permits: Arc::clone(submit.slow_start.permits()),
            rated: settings.submit.rate.is_some(),
            entrance: submit.entrance,
            submit_alarm: Arc::clone(&submit_alarm),
        };
        let rescuer = Rescuer {
            queue: queue.clone(),
            worker: Arc::clone(&name),
            rules,
            retention,
            trim: trim_ages(settings),
            admitter: admitter.clone(),
            silent: silent_seen,
            rights: rights.subscribe(),
            loop_watch: watchdog.loop_watch("rescuer"),
        };
        let intake = Intake {
            inbox: Inbox::new(queue.clone(), name.to_string()),
            admitter,
            rights: rights.subscribe(),
            loop_watch: watchdog.loop_watch("intake"),
        };
        let rights = Rights {
            queue: queue.clone(),
            watchdog: watchdog.clone(),
            given: rights,
            loop_watch: watchdog.loop_watch("rights"),
        };
        let wake = Wake { queue: queue.clone(), submit_alarm, poll_alarm };
        roles.spawn("intake", intake.run(stopping.subscribe()));
        roles.spawn("rescuer", rescuer.run(stopping.subscribe()));
        roles.spawn("rights", rights.run(stopping.subscribe()));
        roles.spawn("wake", wake.run(stopping.subscribe()));
        tracing::info!(worker = %name, queue = %settings.queue.name, "worker started");
        Ok(Self {
            name,
            queue,
            watchdog,
            grace: settings.worker.shutdown_grace,
            stopping,
            broken_off,
            stopped,
            roles,
            lanes,
            writer,
            settling,
            lasting,
            contexts: vec![submit.context, poll.context],
            slow_starts: [submit.slow_start, poll.slow_start],
            heartbeat: heartbeat_thread,
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
            // What cannot even be queued is left to the leases, as below.
            let _ = timeout_at(until, self.calls_end()).await;
        }
        for context in &self.contexts {
            // Fails only when that worker has ended already.
            let _ = context.stop();
        }
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
        let thread = self.heartbeat.thread;
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
        for slow_start in &self.slow_starts {
            slow_start.closed().await;
        }
    }
}

/// The fleet's loop_watch to fetch a token are so far apart: a second, and some for the way to the API.
const TOKENS_APART: Duration = Duration::from_millis(1100);

/// Waits for this process's turn to fetch a token. Without Redis there is no turn to wait for, and
/// nothing to do either.
fn token_turns(queue: &Queue) -> TokenTurn {
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

/// `<host>/<version>/<ulid>`: new at every start, so that nobody keeps a dead one's beat alive.
fn unique_name() -> String {
    let host = gethostname::gethostname();
    // Visible ASCII, as the beats expect names (lua/tick.lua).
    let host = host.to_string_lossy().replace(|c: char| !c.is_ascii_graphic(), "_");
    format!("{host}/{}/{}", env!("CARGO_PKG_VERSION"), ulid::Ulid::new())
}
