//! The worker: takes jobs, calls the remote API, follows the videos, until it is told to stop.
//!
//! Its roles are loops of their own: `intake` (inbox to records), two claim loops with an apalis
//! worker each (`submit`, `poll`), `settler` (outcomes to Redis), `pulse` (beats and due times),
//! `sweeper` (what the dead left) and `wake`. They share permits and alarms and nothing else;
//! nothing is held in memory that is not in Redis. A handler returns an outcome and never
//! touches Redis; the layer around it settles it.

mod alarm;
mod claims;
mod faults;
mod fitter;
mod guard;
mod health;
mod intake;
mod lane;
mod poll;
mod pulse;
mod retry;
mod rules;
mod settler;
mod stage;
mod submit;
mod sweeper;
mod wake;
mod window;

use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::WorkerContext;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use self::alarm::{Alarm, LONGEST_WAIT};
use self::fitter::{Fitter, Watched};
use self::guard::Guard;
use self::intake::{Admitter, Intake};
use self::poll::PollStage;
use self::pulse::Pulse;
pub(crate) use self::rules::retention;
use self::rules::{poll_policy, submit_policy, submit_rules, trim_ages};
use self::settler::{LAST_SETTLEMENTS, Settler, Writer};
use self::stage::Stage;
use self::submit::SubmitStage;
use self::sweeper::Sweeper;
use self::wake::Wake;
use self::window::Window;
use crate::config::{Api, Settings};
use crate::queue::{Inbox, Queue, QueueError};
use crate::whilter::{BuildError, Client, TokenTurn};

pub use self::health::Health;

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
    #[error("the pulse could not start: {0}")]
    Pulse(#[from] std::io::Error),
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    name: Arc<str>,
    queue: Queue,
    health: Health,
    grace: Duration,
    /// Turns true when nothing new may be taken.
    stopping: watch::Sender<bool>,
    /// Turns true when the calls in hand are given up.
    broken_off: watch::Sender<bool>,
    /// Turns true when the last settlement is written.
    stopped: watch::Sender<bool>,
    roles: JoinSet<()>,
    lanes: JoinSet<()>,
    writer: Arc<Writer>,
    /// Ends when all lanes have ended and what they came to is written.
    settling: JoinHandle<()>,
    contexts: Vec<WorkerContext>,
    windows: [Window; 2],
    pulse: std::thread::JoinHandle<()>,
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
        let health = Health::default();
        let (submit_alarm, poll_alarm) = (Arc::<Alarm>::default(), Arc::<Alarm>::default());
        let rules = submit_rules(settings);
        let retention = retention(settings);
        let (stopping, _) = watch::channel(false);
        let (broken_off, broken_off_seen) = watch::channel(false);
        let (stopped, stopped_seen) = watch::channel(false);
        let (silent, silent_seen) = watch::channel(Vec::new());
        let watched = |stage, concurrency, backoff| {
            let window = Window::new(u32::try_from(concurrency).unwrap_or(u32::MAX));
            let guard = Guard::new(stage, queue.clone(), rules, backoff, window.clone());
            Watched { window, guard: Arc::new(guard) }
        };
        let (submit_policy, poll_policy) = (submit_policy(settings), poll_policy(settings));
        let watched_submit =
            watched(SubmitStage::NAME, settings.submit.concurrency, submit_policy.backoff);
        let watched_poll = watched(PollStage::NAME, settings.poll.concurrency, poll_policy.backoff);
        let pulse = Pulse {
            queue: queue.clone(),
            worker: Arc::clone(&name),
            submit_alarm: Arc::clone(&submit_alarm),
            poll_alarm: Arc::clone(&poll_alarm),
            submit_guard: Arc::clone(&watched_submit.guard),
            poll_guard: Arc::clone(&watched_poll.guard),
            health: health.clone(),
            turns: health.turns("pulse"),
            silent,
        }
        .start(stopped_seen)?;

        let (settler, unwritten) = Settler::new();
        let writer = Arc::new(Writer {
            queue: queue.clone(),
            rules,
            retention,
            submit_alarm: Arc::clone(&submit_alarm),
            poll_alarm: Arc::clone(&poll_alarm),
            turns: health.turns("settler"),
            unwritten,
        });
        let settling = tokio::spawn(Arc::clone(&writer).run());

        let mut fitter = Fitter {
            worker: Arc::clone(&name),
            lease: settings.queue.lease,
            health: health.clone(),
            settler,
            broken_off: broken_off_seen,
            stopping: stopping.subscribe(),
            roles: JoinSet::new(),
            lanes: JoinSet::new(),
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
            permits: Arc::clone(submit.window.permits()),
            rated: settings.submit.rate.is_some(),
            entrance: submit.entrance,
            submit_alarm: Arc::clone(&submit_alarm),
        };
        let sweeper = Sweeper {
            queue: queue.clone(),
            worker: Arc::clone(&name),
            rules,
            retention,
            trim: trim_ages(settings),
            admitter: admitter.clone(),
            silent: silent_seen,
            turns: health.turns("sweeper"),
        };
        let intake = Intake {
            inbox: Inbox::new(queue.clone(), name.to_string()),
            admitter,
            turns: health.turns("intake"),
        };
        let wake = Wake { queue: queue.clone(), submit_alarm, poll_alarm };
        roles.spawn(intake.run(stopping.subscribe()));
        roles.spawn(sweeper.run(stopping.subscribe()));
        roles.spawn(wake.run(stopping.subscribe()));
        tracing::info!(worker = %name, queue = %settings.queue.name, "worker started");
        Ok(Self {
            name,
            queue,
            health,
            grace: settings.worker.shutdown_grace,
            stopping,
            broken_off,
            stopped,
            roles,
            lanes,
            writer,
            settling,
            contexts: vec![submit.context, poll.context],
            windows: [submit.window, poll.window],
            pulse,
        })
    }

    /// The name under which it holds leases and beats.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it works.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Stops in good order: takes nothing new, lets the calls in hand end, and shortly before
    /// the grace is over gives them up (checks are handed back, POSTs marked unconfirmed).
    pub async fn stop(mut self) {
        tracing::info!(worker = %self.name, "stopping: nothing new is taken");
        self.health.stopping();
        let until = Instant::now() + self.grace;
        self.stopping.send_replace(true);
        let give_up = until - self.grace.min(LAST_SETTLEMENTS);
        let waited = timeout_at(give_up, async {
            while self.roles.join_next().await.is_some() {}
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
        if timeout_at(until, &mut self.settling).await.is_err() {
            self.settling.abort();
            // It leaves what it held where it can be told from what is written.
            let _ = (&mut self.settling).await;
        }
        self.writer.give_up().await;
        // Those that could not even queue what they came to say so now, which takes no time.
        let _ = timeout(LONGEST_WAIT, self.calls_end()).await;
        match timeout_at(until, self.queue.forget_worker(&self.name)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "not signed off; others notice in seconds"),
            Err(_) => tracing::warn!("not signed off in time; others notice in seconds"),
        }
        self.stopped.send_replace(true);
        let pulse = self.pulse;
        // It ends at once, and has nothing to lose.
        let _ = tokio::task::spawn_blocking(move || pulse.join()).await;
        tracing::info!(worker = %self.name, "stopped");
    }

    /// Returns when every permit is free: no call is in hand, and what they came to is queued.
    async fn calls_end(&self) {
        for window in &self.windows {
            window.closed().await;
        }
    }
}

/// The fleet's turns to fetch a token are so far apart: a second, and some for the way to the API.
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
    format!("{}/{}/{}", host.to_string_lossy(), env!("CARGO_PKG_VERSION"), ulid::Ulid::new())
}
