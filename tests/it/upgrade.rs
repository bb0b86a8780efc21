//! An upgrade without a pause: workers of an earlier version beside this one's, on one queue with jobs
//! in every state, killed in turn. `make upgrade-test` builds the earlier program.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use reelq::job::lifecycle::State;

use super::crashes::held_by;
use super::cut_off::judge::verdict;
use super::support::processes::{Site, WorkerProcess, body, faultless, until};
use super::support::{id, say, skipped};

const SOON: Duration = Duration::from_secs(60);
/// Jobs that come at a time.
const BATCH: usize = 60;

/// A queue between two versions.
struct Upgrade {
    site: Site,
    old_program: String,
    ids: Vec<String>,
}

impl Upgrade {
    /// Puts more jobs on the queue: one waits for its time, and one's time is over.
    async fn enqueue(&mut self) {
        let first = self.ids.len();
        for number in first..first + BATCH {
            let name = format!("job-{number}");
            let body = body(&name);
            let now = Timestamp::now().as_millisecond();
            let mut entry = vec!["XADD", "reelq:{video}:jobs", "*", "job", &body];
            let (soon, over) = ((now + 5_000).to_string(), (now - 1).to_string());
            match number - first {
                0 => entry.extend(["not-before", &soon]),
                1 => entry.extend(["expires-at", &over]),
                _ => {}
            }
            self.site.queue.command::<String>(&entry).await;
            self.ids.push(name);
        }
    }

    async fn states(&self) -> BTreeSet<String> {
        let mut states = BTreeSet::new();
        for name in &self.ids {
            if let Some(record) = self.site.queue.queue.record(&id(name)).await.unwrap() {
                states.insert(record.state().to_owned());
            }
        }
        states
    }

    async fn names(&self) -> BTreeSet<String> {
        let beats = ["ZRANGE", "reelq:{video}:workers", "0", "-1"];
        self.site.queue.command::<Vec<String>>(&beats).await.into_iter().collect()
    }

    /// Starts a worker and waits for its first beat.
    async fn start(&self, start: impl FnOnce(&Site) -> WorkerProcess) -> Running {
        let before = self.names().await;
        let process = start(&self.site);
        until("a first beat", SOON, async || self.names().await.len() > before.len()).await;
        let name = self.names().await.difference(&before).next().cloned().unwrap();
        Running { process, name }
    }

    async fn start_old(&self) -> Running {
        self.start(|site| site.process_of(&self.old_program, &["worker"])).await
    }

    async fn start_new(&self) -> Running {
        self.start(Site::worker).await
    }

    async fn works(&self, worker: &Running) {
        until(&format!("{} to hold jobs", worker.name), SOON, async || {
            held_by(&self.site, &worker.name).await.len() > 2
        })
        .await;
    }
}

/// A worker that has beaten.
struct Running {
    process: WorkerProcess,
    name: String,
}

#[tokio::test]
async fn workers_of_two_versions_share_a_queue_and_every_job_ends_once() {
    let Some(old_program) = std::env::var_os("REELQ_OLD_PROGRAM") else {
        skipped("an earlier version beside this one (make upgrade-test)");
        return;
    };
    let mut options = faultless();
    (options.latency, options.ready_after) = (Duration::from_millis(300), Duration::from_secs(1));
    (options.error_rate, options.drop_rate, options.fail_rate) = (0.1, 0.1, 0.2);
    let site = Site::new(options)
        .await
        .with("REELQ_API__REQUEST_TIMEOUT", "1s")
        .with("REELQ_SUBMIT__UNCONFIRMED_GRACE", "3s")
        .with("REELQ_SUBMIT__CONCURRENCY", "8")
        .with("REELQ_QUEUE__LEASE", "11s");
    let old_program = old_program.into_string().expect("a path that is text");
    let mut upgrade = Upgrade { site, old_program, ids: Vec::new() };

    let old = upgrade.start_old().await;
    upgrade.enqueue().await;
    let cancelled = upgrade.site.run(&["cancel", "job-0"]).await;
    assert_eq!(cancelled.status.code(), Some(0), "{cancelled:?}");
    // Cancelled before it was admitted it would not be known.
    upgrade.enqueue().await;
    let all: BTreeSet<_> = State::ALL.iter().map(|it| it.as_str().to_owned()).collect();
    until("a job in every state", SOON, async || upgrade.states().await == all).await;

    let new = upgrade.start_new().await;
    upgrade.enqueue().await;
    upgrade.works(&old).await;
    upgrade.works(&new).await;
    let old_held = held_by(&upgrade.site, &old.name).await.len();
    old.process.kill().await;
    // Back again, as after an upgrade that was not liked: the old one takes over from the new one.
    let old = upgrade.start_old().await;
    upgrade.enqueue().await;
    upgrade.works(&new).await;
    let new_held = held_by(&upgrade.site, &new.name).await.len();
    new.process.kill().await;
    upgrade.works(&old).await;
    let new = upgrade.start_new().await;
    upgrade.site.results_reach(upgrade.ids.len(), SOON).await;
    until("the last to end", SOON, async || {
        verdict(&upgrade.site.queue, &upgrade.ids, true).await.is_empty()
    })
    .await;
    assert_eq!(upgrade.site.results().await, upgrade.ids.len(), "each job ended once");
    say(&format!(
        "the old worker was killed with {old_held} in hand, the new one with {new_held}\n"
    ));
    for worker in [old, new] {
        assert_eq!(worker.process.stop().await, Some(0), "{}", worker.name);
    }
}
