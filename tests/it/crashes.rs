//! Workers that die: what they held is taken up by others, and nothing ends twice.

use std::collections::BTreeMap;
use std::time::Duration;

use reelq::sandbox::Endpoint;

use super::support::id;
use super::support::processes::{Site, WorkerProcess, body, faultless, until};

/// Within this time, whatever the lease, the jobs of a dead worker are taken back.
const TAKEN_BACK: Duration = Duration::from_secs(6);
const SOON: Duration = Duration::from_secs(30);
const JOBS: usize = 10;

/// Starts a worker and waits until it has beaten; returns its name as well.
async fn started(site: &Site) -> (WorkerProcess, String) {
    let before = names(site).await;
    let worker = site.worker();
    until("a worker's first beat", SOON, async || names(site).await.len() > before.len()).await;
    let name = names(site).await.into_iter().find(|name| !before.contains(name)).unwrap();
    (worker, name)
}

async fn names(site: &Site) -> Vec<String> {
    site.queue.command(&["ZRANGE", "reelq:{video}:workers", "0", "-1"]).await
}

/// A worker judges others only after several beats of its own.
async fn beats(site: &Site, name: &str, count: usize) {
    let beat = async || {
        let score: f64 = site.queue.command(&["ZSCORE", "reelq:{video}:workers", name]).await;
        score
    };
    for _ in 0..count {
        let last = beat().await;
        until("a beat", SOON, async || beat().await > last).await;
    }
}

/// The jobs in a worker's hands, with their states.
pub(super) async fn held_by(site: &Site, worker: &str) -> BTreeMap<String, String> {
    let leases: Vec<String> =
        site.queue.command(&["ZRANGE", "reelq:{video}:leases", "0", "-1"]).await;
    let mut held = BTreeMap::new();
    for name in leases {
        let Some(record) = site.queue.queue.record(&id(&name)).await.unwrap() else { continue };
        if record.get("worker") == Some(worker) {
            held.insert(name, record.state().to_owned());
        }
    }
    held
}

fn count(held: &BTreeMap<String, String>, state: &str) -> usize {
    held.values().filter(|it| *it == state).count()
}

#[tokio::test]
async fn what_a_killed_worker_held_is_taken_up_in_seconds_and_every_job_ends_once() {
    let mut options = faultless();
    // Calls are in hand for so long that the worker dies with some of both kinds.
    options.latency = Duration::from_secs(3);
    let site = Site::new(options)
        .await
        .with("REELQ_API__REQUEST_TIMEOUT", "8s")
        .with("REELQ_SUBMIT__UNCONFIRMED_GRACE", "10s");
    let (survivor, survivor_name) = started(&site).await;
    beats(&site, &survivor_name, 6).await;
    let (doomed, doomed_name) = started(&site).await;
    for number in 0..JOBS {
        site.xadd(&body(&format!("first-{number}"))).await;
    }
    until("checks in the doomed worker's hands", SOON, async || {
        count(&held_by(&site, &doomed_name).await, "polling") > 0
    })
    .await;
    for number in 0..JOBS {
        site.xadd(&body(&format!("second-{number}"))).await;
    }
    until("POSTs in the doomed worker's hands as well", SOON, async || {
        let held = held_by(&site, &doomed_name).await;
        count(&held, "polling") > 0 && count(&held, "submitting") > 0
    })
    .await;
    let held = held_by(&site, &doomed_name).await;
    doomed.kill().await;
    until("all of it to be taken back", TAKEN_BACK, async || {
        held_by(&site, &doomed_name).await.is_empty()
    })
    .await;
    for (name, state) in &held {
        let record = site.queue.queue.record(&id(name)).await.unwrap().unwrap();
        if state == "submitting" && record.get("submitted-at").is_none() {
            assert_eq!(record.state(), "unconfirmed", "{name}");
        } else {
            assert!(["polling", "completed"].contains(&record.state()), "{name}");
        }
    }
    site.results_reach(2 * JOBS, SOON).await;
    assert_eq!(survivor.stop().await, Some(0));
    let mut ends = site.ends().await;
    ends.sort();
    ends.dedup_by(|one, other| one.0 == other.0);
    assert_eq!(ends.len(), 2 * JOBS, "every job ended");
    assert_eq!(site.results().await, 2 * JOBS, "and ended once");
    assert!(ends.iter().all(|(_, status)| status == "completed"));
    for (name, _) in &ends {
        let expected = if held.get(name).is_some_and(|it| it == "submitting") { 2 } else { 1 };
        assert!(site.sandbox.posts_of(name) <= expected, "{name}");
    }
    assert_eq!(names(&site).await, Vec::<String>::new(), "the dead are forgotten");
}

/// All workers die; the next one that starts heals what they left.
#[tokio::test]
async fn a_new_worker_heals_what_the_last_one_left() {
    let mut options = faultless();
    options.latency = Duration::from_secs(2);
    let site = Site::new(options)
        .await
        .with("REELQ_API__REQUEST_TIMEOUT", "5s")
        .with("REELQ_SUBMIT__UNCONFIRMED_GRACE", "5s");
    let (doomed, name) = started(&site).await;
    site.xadd(&body("job")).await;
    until("its POST", SOON, async || count(&held_by(&site, &name).await, "submitting") == 1).await;
    doomed.kill().await;
    let worker = site.worker();
    site.results_reach(1, SOON).await;
    assert_eq!(worker.stop().await, Some(0));
    assert_eq!(site.ends().await, [("job".to_owned(), "completed".to_owned())]);
    let record = site.queue.queue.record(&id("job")).await.unwrap().unwrap();
    assert_eq!(record.get("posts"), Some("2"));
    assert!(record.get("history").unwrap().contains("lease lost"), "{record:?}");
}

/// A POST that was refused with a 401 and waits for the next token when the grace is over was surely
/// not accepted: another worker may send it at once.
#[tokio::test]
async fn a_post_that_waits_for_its_token_is_handed_back_by_a_stop() {
    let site = Site::new(faultless())
        .await
        .with("REELQ_API__REQUEST_TIMEOUT", "1s")
        .with("REELQ_SUBMIT__UNCONFIRMED_GRACE", "1s")
        .with("REELQ_WORKER__SHUTDOWN_GRACE", "6s");
    let worker = site.worker();
    site.xadd(&body("first")).await;
    site.results_reach(1, SOON).await;
    // The fleet's turn to fetch a token never comes, and the one that it has is refused.
    let turn = "reelq:{video}:token-turn";
    let _: () = site.queue.command(&["SET", turn, "", "EX", "600"]).await;
    site.sandbox.revoke_tokens();
    site.xadd(&body("job")).await;
    until("its POST to be refused", SOON, async || {
        site.sandbox.stats().answered(Endpoint::Submit, "401") == 1
    })
    .await;
    assert_eq!(worker.stop().await, Some(0));
    let record = site.queue.queue.record(&id("job")).await.unwrap().unwrap();
    assert_eq!(record.state(), "waiting", "{record:?}");
    assert_eq!((record.get("posts"), record.get("attempts")), (Some("1"), Some("0")));
    let history = record.get("history").unwrap();
    assert!(history.ends_with("handed back: the worker stopped"), "{history}");
    let _: u64 = site.queue.command(&["DEL", turn]).await;
    let other = site.worker();
    site.results_reach(2, SOON).await;
    assert_eq!(other.stop().await, Some(0));
    assert_eq!(site.sandbox.accepted_of("job"), 1);
}

/// A stop in good order: calls in hand end and are recorded, the rest is left for others.
#[tokio::test]
async fn a_stopped_worker_leaves_nothing_in_its_hands() {
    let mut options = faultless();
    options.latency = Duration::from_millis(300);
    let site = Site::new(options).await.with("REELQ_SUBMIT__CONCURRENCY", "4");
    let (worker, name) = started(&site).await;
    for number in 0..40 {
        site.xadd(&body(&format!("job-{number}"))).await;
    }
    until("work in hand", SOON, async || !held_by(&site, &name).await.is_empty()).await;
    assert_eq!(worker.stop().await, Some(0));
    let leases: u64 = site.queue.command(&["ZCARD", "reelq:{video}:leases"]).await;
    let unconfirmed: u64 = site.queue.command(&["ZCARD", "reelq:{video}:unconfirmed"]).await;
    assert_eq!((leases, unconfirmed), (0, 0));
    let other = site.worker();
    site.results_reach(40, SOON).await;
    assert_eq!(other.stop().await, Some(0));
    assert!((0..40).all(|number| site.sandbox.posts_of(&format!("job-{number}")) == 1));
}
