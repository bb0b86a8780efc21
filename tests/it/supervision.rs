//! Roles that end although nobody told them: it is noticed at once, the worker stops in good order,
//! and every POST in hand is answered and settled.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use reelq::cli::private_redis::free_port;
use reelq::http::Operations;
use reelq::job::QueueName;
use reelq::telemetry::install_metrics;
use reelq::worker::Worker;
use tokio::time::{Instant, timeout};

use super::support::processes::{Http, Site, body, faultless, until};
use super::support::{id, job};

const SOON: Duration = Duration::from_secs(60);
/// A worker begins with two calls and doubles with each clean round: after so many it may have
/// [`POSTS`] in hand.
const WARM_UP: usize = 100;
const POSTS: usize = 64;
/// What a worker is made of.
const ROLES: [&str; 10] = [
    "submit",
    "poll",
    "intake",
    "rescuer",
    "rights",
    "wake",
    "submit-lane",
    "poll-lane",
    "settler",
    "heartbeat",
];

/// A worker in this process with so many POSTs in hand, each of which is answered a second after
/// it arrived.
async fn busy() -> (Site, Worker) {
    let site = Site::new(faultless())
        .await
        .with("REELQ_SUBMIT__CONCURRENCY", &POSTS.to_string())
        .with("REELQ_POLL__FIRST", "1h")
        .with("REELQ_POLL__MAX", "1h");
    let worker = site.worker_in_process().await;
    let jobs = |name: &str, count| (0..count).map(|it| job(&format!("{name}-{it}"))).collect();
    let warm_up: Vec<_> = jobs("warm-up", WARM_UP);
    site.queue.queue.enqueue_many(&warm_up).await.unwrap();
    let accepted = async || site.counter("submitted").await == WARM_UP as u64;
    until("the first jobs to be accepted", SOON, accepted).await;
    site.sandbox.set(|options| options.latency = Duration::from_secs(1));
    let posts: Vec<_> = jobs("job", POSTS);
    site.queue.queue.enqueue_many(&posts).await.unwrap();
    // Of the warm-up one POST may have been sent twice, when its first connection was lost.
    let in_hand =
        async || (0..POSTS).all(|number| site.sandbox.posts_of(&format!("job-{number}")) == 1);
    until("the POSTs to be in hand", SOON, in_hand).await;
    (site, worker)
}

/// Waits until a loop does not turn any more, as when it waits for Redis.
async fn stands(worker: &Worker, name: &str) {
    let stands = async || {
        let ages = worker.watchdog().loop_ages();
        ages.iter().any(|(it, age)| *it == name && *age > Duration::from_secs(2))
    };
    until(&format!("{name} to wait for Redis"), SOON, stands).await;
}

/// Every POST was sent once and led to a job that is followed; nothing is left in anybody's hands.
async fn assert_all_settled(site: &Site, case: &str) {
    for number in 0..POSTS {
        let name = format!("job-{number}");
        let record = site.queue.queue.record(&id(&name)).await.unwrap().unwrap();
        assert_eq!(record.state(), "polling", "{case}: {record:?}");
        assert_eq!(record.get("posts"), Some("1"), "{case}: {record:?}");
        assert_eq!(site.sandbox.posts_of(&name), 1, "{case}");
    }
    for place in ["leases", "unconfirmed", "submit", "workers"] {
        assert!(!site.queue.exists(place).await, "{case}: something is left in {place}");
    }
    let followed: usize = site.queue.command(&["ZCARD", "reelq:{video}:poll"]).await;
    assert_eq!(followed, WARM_UP + POSTS, "{case}");
}

/// Ends a role of a busy worker and sees it stop.
async fn a_worker_without(role: &'static str) {
    let (site, mut worker) = busy().await;
    worker.watch("http", tokio::spawn(pending()));
    let watchdog = worker.watchdog().clone();
    assert!(
        watchdog.unreadiness().is_none() && watchdog.illness().is_none(),
        "{role}: well so far"
    );
    assert!(worker.end_role(role), "{role}");
    let ended = async || watchdog.ended().is_some();
    until(role, SOON, ended).await;
    let illness = format!("the role {role} ended: it was aborted");
    assert_eq!(watchdog.illness(), Some(illness.clone()), "what /healthz says");
    assert!(watchdog.unreadiness().is_some(), "{role}");
    let stopped = timeout(SOON, worker.run_until(pending())).await;
    let ended = stopped.unwrap_or_else(|_| panic!("without {role} it does not stop"));
    assert_eq!(ended.unwrap_err().to_string(), illness);
    assert_all_settled(&site, role).await;
}

#[tokio::test]
async fn whichever_role_ends_the_worker_stops_and_every_post_in_hand_is_settled() {
    let (_site, worker) = busy().await;
    assert_eq!(worker.roles(), ROLES);
    worker.stop().await;
    join_all(ROLES.into_iter().chain(["http"]).map(a_worker_without)).await;
}

#[tokio::test]
async fn healthz_names_the_role_while_the_calls_in_hand_end() {
    let (site, mut worker) = busy().await;
    let queue = site.queue.queue.clone();
    let metrics = install_metrics(&QueueName::new("video").unwrap()).unwrap();
    let watchdog = worker.watchdog().clone();
    let operations = Operations { queue: Arc::new(queue.into()), watchdog, metrics };
    let address = SocketAddr::from(([127, 0, 0, 1], free_port().await.unwrap()));
    worker.watch("http", operations.serve(address).await.unwrap());
    let http = Http(address.to_string());
    assert_eq!(http.get("/healthz").await, (200, "ok\n".to_owned()));
    assert!(worker.end_role("wake"));
    let asked = async {
        let ill = (503, "the role wake ended: it was aborted\n".to_owned());
        until("/healthz to fail", SOON, async || http.get("/healthz").await == ill).await;
        assert_eq!(http.get("/readyz").await, (503, "stopping\n".to_owned()));
        assert!(site.queue.exists("leases").await, "the POSTs are still in hand");
    };
    let (ended, ()) = tokio::join!(worker.run_until(pending()), asked);
    assert_eq!(ended.unwrap_err().name, "wake");
    assert_all_settled(&site, "wake").await;
}

/// The settler ends with a batch half written and outcomes waiting: its second run has them all.
#[tokio::test]
async fn what_the_settler_had_in_its_hands_is_written_by_its_second_run() {
    let (site, worker) = busy().await;
    let _: () = site.queue.command(&["CLIENT", "PAUSE", "4000", "ALL"]).await;
    stands(&worker, "settler").await;
    assert!(worker.end_role("settler"));
    let ended = timeout(SOON, worker.run_until(pending())).await.unwrap();
    assert_eq!(ended.unwrap_err().name, "settler");
    assert_all_settled(&site, "the settler in a write").await;
}

/// A claim brings a job after the lane has ended: it is not begun, and another worker may.
#[tokio::test]
async fn what_comes_to_a_lane_that_has_ended_is_handed_back() {
    let site = Site::new(faultless()).await;
    let worker = site.worker_in_process().await;
    let _: () = site.queue.command(&["SET", "reelq:{video}:paused", ""]).await;
    site.xadd(&body("late")).await;
    until("its admission", SOON, async || site.queue.exists("submit").await).await;
    until("the worker to listen", SOON, async || {
        let wake = "reelq:{video}:wake";
        let (_, listeners): (String, usize) = site.queue.command(&["PUBSUB", "NUMSUB", wake]).await;
        listeners == 1
    })
    .await;
    // The claim is under way when Redis stands still.
    let () = redis::pipe()
        .atomic()
        .cmd("DEL")
        .arg("reelq:{video}:paused")
        .ignore()
        .cmd("PUBLISH")
        .arg(&["reelq:{video}:wake", "submit"])
        .ignore()
        .cmd("CLIENT")
        .arg(&["PAUSE", "4000", "ALL"])
        .ignore()
        .query_async(&mut site.queue.raw.clone())
        .await
        .unwrap();
    stands(&worker, "submit").await;
    assert!(worker.end_role("submit-lane"));
    let ended = timeout(SOON, worker.run_until(pending())).await.unwrap();
    assert_eq!(ended.unwrap_err().name, "submit-lane");
    let record = site.queue.queue.record(&id("late")).await.unwrap().unwrap();
    assert_eq!(record.state(), "waiting", "{record:?}");
    let history = record.get("history").unwrap();
    assert!(history.ends_with("handed back: the worker stopped"), "{history}");
    assert_eq!((record.get("attempts"), site.sandbox.posts_of("late")), (Some("0"), 0));
    assert!(!site.queue.exists("leases").await);
}

/// The heartbeat beats on while the calls in hand end, so that nobody takes them over.
#[tokio::test]
async fn a_heartbeat_that_ended_beats_again_until_the_worker_has_stopped() {
    let (site, worker) = busy().await;
    let name = worker.name().to_owned();
    let beat = async || -> Option<f64> {
        site.queue.command(&["ZSCORE", "reelq:{video}:workers", &name]).await
    };
    assert!(worker.end_role("heartbeat"));
    until("its end", SOON, async || worker.watchdog().ended().is_some()).await;
    let (before, since) = (beat().await, Instant::now());
    until("two more beats", SOON, async || beat().await > before.map(|it| it + 1500.0)).await;
    assert!(since.elapsed() < Duration::from_secs(4), "before others would call it silent");
    worker.stop().await;
    assert_all_settled(&site, "the heartbeat").await;
}

/// A process without such faults ends as it is told.
#[tokio::test]
async fn a_worker_that_is_told_to_stop_names_no_role() {
    let site = Site::new(faultless()).await;
    let worker = site.worker_in_process().await;
    let watchdog = worker.watchdog().clone();
    site.xadd(&body("a")).await;
    let told = site.results_reach(1, SOON);
    assert_eq!(timeout(SOON, worker.run_until(told)).await.unwrap(), Ok(()));
    assert_eq!(watchdog.ended(), None);
}
