//! Supervision: a role that ends while the worker runs is noticed at once, and named.
//!
//! Each role is a task that a watcher awaits. When one ends early, by a return, a panic or an
//! abort, [`Watchdog`] has it from that moment on: `/healthz` fails, nothing new is taken, and the
//! process stops as if it were told to and exits with an error. A role that the others need for that (the settler, the
//! heartbeat) is run a second time.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use super::watchdog::{RoleEnded, Watchdog};

/// Roles that are watched. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Supervisor {
    watchdog: Watchdog,
    /// Turns true when nothing new may be taken and roles may end: the first early end does that.
    stopping: watch::Sender<bool>,
    watchers: JoinSet<()>,
    tasks: Tasks,
}

/// The tasks of the roles, by name; `None`: all were ended, and none may begin.
type Tasks = Arc<Mutex<Option<Vec<(&'static str, AbortHandle)>>>>;

impl Supervisor {
    pub(crate) fn new(watchdog: Watchdog, stopping: watch::Sender<bool>) -> Self {
        let tasks = Arc::new(Mutex::new(Some(Vec::new())));
        Self { watchdog, stopping, watchers: JoinSet::new(), tasks }
    }

    /// Runs a role.
    pub(crate) fn spawn(
        &mut self,
        name: &'static str,
        role: impl Future<Output = ()> + Send + 'static,
    ) {
        self.watch(name, tokio::spawn(role));
    }

    /// Watches a role that runs already, on whatever runtime.
    pub(crate) fn watch(&mut self, name: &'static str, task: JoinHandle<()>) {
        let watcher = self.watcher(name);
        watcher.began(&task);
        self.watchers.spawn(async move {
            watcher.ended_early(task).await;
        });
    }

    /// Runs a role without which the others cannot end in good order: when it ends early, it is
    /// started once more.
    pub(crate) fn keep(
        &mut self,
        name: &'static str,
        start: impl Fn() -> JoinHandle<()> + Send + 'static,
    ) {
        let watcher = self.watcher(name);
        let first = start();
        watcher.began(&first);
        self.watchers.spawn(async move {
            if watcher.ended_early(first).await {
                let second = start();
                watcher.began(&second);
                watcher.ended_early(second).await;
            }
        });
    }

    fn watcher(&self, name: &'static str) -> Watcher {
        let (watchdog, stopping) = (self.watchdog.clone(), self.stopping.clone());
        Watcher { name, watchdog, stopping, tasks: Arc::clone(&self.tasks) }
    }

    /// Returns when all have ended.
    pub(crate) async fn ended(&mut self) {
        while self.watchers.join_next().await.is_some() {}
    }

    /// Ends all that still run.
    pub(crate) async fn shutdown(&mut self) {
        self.abort_all();
        self.ended().await;
    }

    fn abort_all(&self) {
        let tasks = lock(&self.tasks).take();
        tasks.into_iter().flatten().for_each(|(_, task)| task.abort());
    }

    /// The names of the roles.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        lock(&self.tasks).iter().flatten().map(|(name, _)| *name).collect()
    }

    /// Ends a role as a mistake of ours would; false: there is none of that name.
    pub(crate) fn abort(&self, name: &str) -> bool {
        let tasks = lock(&self.tasks);
        let named = tasks.iter().flatten().find(|(it, _)| *it == name);
        named.inspect(|(_, task)| task.abort()).is_some()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.abort_all();
    }
}

/// Awaits one role's end.
struct Watcher {
    name: &'static str,
    watchdog: Watchdog,
    stopping: watch::Sender<bool>,
    tasks: Tasks,
}

impl Watcher {
    fn began(&self, task: &JoinHandle<()>) {
        match &mut *lock(&self.tasks) {
            Some(tasks) => tasks.push((self.name, task.abort_handle())),
            None => task.abort(),
        }
    }

    /// Returns when the role has ended; true: too early.
    async fn ended_early(&self, task: JoinHandle<()>) -> bool {
        let ended = task.await;
        let may_end = *self.stopping.borrow();
        let why = match ended {
            Err(error) if error.is_panic() => {
                format!("it panicked: {}", words(error.into_panic()))
            }
            Ok(()) | Err(_) if may_end => return false,
            Ok(()) => "it returned".to_owned(),
            Err(_) => "it was aborted".to_owned(),
        };
        let ended = RoleEnded { name: self.name, why };
        self.watchdog.role_ended(ended.clone());
        self.stopping.send_replace(true);
        tracing::error!(role = ended.name, "{ended}");
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a panic said.
fn words(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(words) => *words,
        Err(panic) => {
            panic.downcast::<&str>().map_or_else(|_| String::new(), |it| (*it).to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Stage {
        watchdog: Watchdog,
        stopping: watch::Sender<bool>,
        supervisor: Supervisor,
    }

    fn supervised() -> Stage {
        let (watchdog, stopping) = (Watchdog::default(), watch::Sender::new(false));
        let supervisor = Supervisor::new(watchdog.clone(), stopping.clone());
        Stage { watchdog, stopping, supervisor }
    }

    fn ended(name: &'static str, why: &str) -> Option<RoleEnded> {
        Some(RoleEnded { name, why: why.to_owned() })
    }

    #[tokio::test]
    async fn a_role_that_returns_panics_or_is_aborted_is_named_and_the_first_one_counts() {
        let mut it = supervised();
        it.supervisor.spawn("lasting", pending());
        assert_eq!(it.watchdog.illness(), None);
        it.supervisor.spawn("returning", async {});
        it.watchdog.role_has_ended().await;
        assert_eq!(it.watchdog.ended(), ended("returning", "it returned"));
        it.stopping.subscribe().wait_for(|it| *it).await.unwrap();
        it.supervisor.spawn("later", async { panic!("never mind") });
        it.supervisor.shutdown().await;
        assert_eq!(it.watchdog.ended(), ended("returning", "it returned"));

        let mut it = supervised();
        it.supervisor.spawn("panicking", async { panic!("number {}", 7) });
        it.watchdog.role_has_ended().await;
        assert_eq!(it.watchdog.ended(), ended("panicking", "it panicked: number 7"));
        let illness = "the role panicking ended: it panicked: number 7";
        assert_eq!(it.watchdog.illness().as_deref(), Some(illness));
        assert!(it.watchdog.unreadiness().is_some());

        let mut it = supervised();
        it.supervisor.spawn("aborted", pending());
        assert!(!it.supervisor.abort("nobody") && it.supervisor.abort("aborted"));
        it.watchdog.role_has_ended().await;
        assert_eq!(it.watchdog.ended(), ended("aborted", "it was aborted"));
    }

    #[tokio::test]
    async fn roles_may_end_when_the_worker_stops_but_not_by_a_panic() {
        let mut it = supervised();
        let mut told = it.stopping.subscribe();
        it.supervisor.spawn("obedient", async move {
            let _ = told.wait_for(|it| *it).await;
        });
        it.supervisor.spawn("deaf", pending());
        it.stopping.send_replace(true);
        it.supervisor.shutdown().await;
        assert_eq!(it.watchdog.ended(), None);
        it.supervisor.spawn("late", async { panic!("even now") });
        it.supervisor.ended().await;
        assert_eq!(it.watchdog.ended(), None, "it was ended before it began");

        let mut it = supervised();
        it.stopping.send_replace(true);
        it.supervisor.spawn("panicking", async { panic!("even now") });
        it.supervisor.ended().await;
        assert_eq!(it.watchdog.ended(), ended("panicking", "it panicked: even now"));
    }

    #[tokio::test]
    async fn a_role_that_is_kept_is_started_once_more_and_no_more() {
        let mut it = supervised();
        let starts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&starts);
        it.supervisor.keep("kept", move || {
            let start = counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move { panic!("start {start}") })
        });
        it.supervisor.ended().await;
        assert_eq!(starts.load(Ordering::Relaxed), 2);
        assert_eq!(it.watchdog.ended(), ended("kept", "it panicked: start 0"));
    }

    #[tokio::test]
    async fn a_dropped_supervisor_ends_its_roles() {
        let mut it = supervised();
        let (alive, mut seen) = watch::channel(());
        it.supervisor.spawn("lasting", async move {
            alive.send_replace(());
            pending::<()>().await;
        });
        seen.changed().await.unwrap();
        drop(it.supervisor);
        assert!(seen.changed().await.is_err(), "the task is gone");
    }
}
