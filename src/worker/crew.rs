//! The crew of a worker: what its roles share, and how each of them is made of it.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::api_health::Health;
use super::heartbeat::Heartbeat;
use super::intake::{Admitter, Intake};
use super::policies::{poll_policy, submit_policy};
use super::rescuer::Rescuer;
use super::rights::Rights;
use super::settler::{Settler, Writer};
use super::stages::StageControls;
use super::stages::apalis_backend::Entrance;
use super::stages::poll::PollStage;
use super::stages::start::{Starter, controls};
use super::stages::submit::SubmitStage;
use super::supervisor::Supervisor;
use super::wake::Wake;
use super::watchdog::Watchdog;
use crate::config::Settings;
use crate::job::PerStage;
use crate::queue::{Inbox, RuledQueue};
use crate::whilter::Client;

/// See the module.
pub(super) struct Crew {
    pub(super) name: Arc<str>,
    pub(super) queue: RuledQueue,
    pub(super) watchdog: Watchdog,
    /// What steers the stages.
    pub(super) controls: PerStage<StageControls>,
    /// How this worker itself is.
    pub(super) health: Arc<Health>,
    /// True while the Redis user has all rights.
    rights: Arc<watch::Sender<bool>>,
    /// Turns true when nothing new may be taken.
    pub(super) stopping: watch::Sender<bool>,
}

impl Crew {
    /// What is shared, under a new name.
    pub(super) fn new(settings: &Settings, queue: RuledQueue, watchdog: Watchdog) -> Self {
        let name: Arc<str> = unique_name().into();
        let health = Arc::<Health>::default();
        watchdog.asks(Arc::clone(&health));
        Self {
            controls: controls(settings, &queue, &name, &health),
            name,
            watchdog,
            health,
            rights: Arc::new(watch::Sender::new(false)),
            stopping: watch::Sender::new(false),
            queue,
        }
    }

    fn supervisor(&self) -> Supervisor {
        Supervisor::new(self.watchdog.clone(), self.stopping.clone())
    }

    /// Starts the heartbeat on its thread's runtime. It tells `silent` who is to be judged dead.
    pub(super) fn start_heartbeat(
        &self,
        runtime: Handle,
        silent: watch::Sender<Vec<String>>,
    ) -> Supervisor {
        let heartbeat = Arc::new(Heartbeat {
            queue: self.queue.clone(),
            worker: Arc::clone(&self.name),
            controls: self.controls.clone(),
            health: Arc::clone(&self.health),
            watchdog: self.watchdog.clone(),
            loop_watch: self.watchdog.watch("heartbeat"),
            silent,
        });
        let mut supervisor = self.supervisor();
        supervisor.keep("heartbeat", move || runtime.spawn(Arc::clone(&heartbeat).run()));
        supervisor
    }

    /// Starts the settler; returns where settlements are brought, and who writes them.
    pub(super) fn start_settler(&self) -> (Settler, Arc<Writer>, Supervisor) {
        let (settler, unwritten) = Settler::new();
        let writer = Arc::new(Writer {
            queue: self.queue.clone(),
            worker: Arc::clone(&self.name),
            controls: self.controls.clone(),
            loop_watch: self.watchdog.watch("settler"),
            unwritten,
        });
        let mut supervisor = self.supervisor();
        let kept = Arc::clone(&writer);
        supervisor.keep("settler", move || tokio::spawn(Arc::clone(&kept).run()));
        (settler, writer, supervisor)
    }

    /// What starts the stages. `broken_off` turns true when the calls in hand are given up.
    pub(super) fn starter(&self, settler: Settler, broken_off: watch::Receiver<bool>) -> Starter {
        Starter {
            worker: Arc::clone(&self.name),
            lease: self.queue.rules().lease,
            watchdog: self.watchdog.clone(),
            settler,
            rights: self.rights.subscribe(),
            stopping: self.stopping.subscribe(),
            broken_off,
            roles: self.supervisor(),
            lanes: self.supervisor(),
            lane_stops: Vec::new(),
        }
    }

    pub(super) fn submit_stage(&self, client: &Client, settings: &Settings) -> SubmitStage {
        SubmitStage {
            queue: self.queue.clone(),
            client: client.clone(),
            policy: submit_policy(settings),
        }
    }

    pub(super) fn poll_stage(&self, client: &Client, settings: &Settings) -> PollStage {
        PollStage {
            queue: self.queue.clone(),
            client: client.clone(),
            deliverable: settings.poll.deliverable,
            policy: poll_policy(settings),
        }
    }

    /// Who admits entries, some of them straight through this entrance.
    pub(super) fn admitter(
        &self,
        settings: &Settings,
        entrance: Entrance<SubmitStage>,
    ) -> Admitter {
        Admitter {
            queue: self.queue.clone(),
            worker: Arc::clone(&self.name),
            unknown_fields: settings.queue.unknown_fields,
            controls: self.controls.submit.clone(),
            entrance,
        }
    }

    pub(super) fn intake(&self, admitter: Admitter) -> Intake {
        Intake {
            inbox: Inbox::new(&self.queue, self.name.to_string()),
            admitter,
            rights: self.rights.subscribe(),
            loop_watch: self.watchdog.watch("intake"),
        }
    }

    pub(super) fn rescuer(
        &self,
        admitter: Admitter,
        silent: watch::Receiver<Vec<String>>,
    ) -> Rescuer {
        Rescuer {
            queue: self.queue.clone(),
            worker: Arc::clone(&self.name),
            admitter,
            silent,
            rights: self.rights.subscribe(),
            loop_watch: self.watchdog.watch("rescuer"),
        }
    }

    pub(super) fn rights_role(&self) -> Rights {
        Rights {
            queue: self.queue.clone(),
            watchdog: self.watchdog.clone(),
            given: Arc::clone(&self.rights),
            loop_watch: self.watchdog.watch("rights"),
        }
    }

    pub(super) fn wake(&self) -> Wake {
        Wake { queue: self.queue.clone(), controls: self.controls.clone() }
    }
}

/// `<host>/<version>/<ulid>`: new at every start, so that nobody keeps a dead one's beat alive.
fn unique_name() -> String {
    let host = gethostname::gethostname();
    // Visible ASCII, as the beats expect names (lua/tick.lua).
    let host = host.to_string_lossy().replace(|c: char| !c.is_ascii_graphic(), "_");
    format!("{host}/{}/{}", env!("CARGO_PKG_VERSION"), ulid::Ulid::new())
}
