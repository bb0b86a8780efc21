//! A Redis that forgets, falls silent, is full, is a master no more, or wants a password.

use std::time::Duration;

use tokio::time::Instant;

use super::cut_off::judge::verdict;
use super::support::processes::{Site, body, errors, faultless, until};
use super::support::proxy::Proxy;
use super::support::{TestQueue, id, job};

const SOON: Duration = Duration::from_secs(30);

/// Redis forgets scripts, groups and connections; the worker makes them again and goes on.
#[tokio::test]
async fn a_worker_survives_what_redis_forgets() {
    let site = Site::new(faultless()).await;
    let worker = site.worker();
    site.xadd(&body("before")).await;
    site.results_reach(1, SOON).await;
    let _: () = site.queue.command(&["SCRIPT", "FLUSH"]).await;
    let _: i64 = site.queue.command(&["XGROUP", "DESTROY", "reelq:{video}:jobs", "workers"]).await;
    site.xadd(&body("without scripts and group")).await;
    site.xadd(&body("without-scripts-and-group")).await;
    until("the next result", SOON, async || {
        site.sandbox.posts_of("without-scripts-and-group") == 1
    })
    .await;
    let killed: u64 =
        site.queue.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    assert!(killed > 0);
    site.xadd(&body("without-connections")).await;
    until("the last result", SOON, async || site.sandbox.posts_of("without-connections") == 1)
        .await;
    site.results_reach(4, SOON).await;
    assert_eq!(worker.stop().await, Some(0));
}

/// Redis falls silent while a POST is in hand, and the worker is told to stop. What it came to
/// cannot be written, so it is said.
#[tokio::test]
async fn a_stop_while_redis_is_silent_ends_in_time_and_loses_nothing() {
    const GRACE: Duration = Duration::from_secs(6);
    let mut options = faultless();
    options.latency = Duration::from_millis(500);
    let site = Site::new(options)
        .await
        .with("REELQ_API__REQUEST_TIMEOUT", "1s")
        .with("REELQ_SUBMIT__UNCONFIRMED_GRACE", "1s")
        .with("REELQ_WORKER__SHUTDOWN_GRACE", "6s");
    let (worker, log) = site.worker_with_log();
    site.xadd(&body("a")).await;
    // Not only leased: a POST that still waits for its token would be handed back.
    until("its POST to arrive", SOON, async || site.sandbox.stats().posts == 1).await;
    let _: () = site.queue.command(&["CLIENT", "PAUSE", "9000", "ALL"]).await;
    let told = Instant::now();
    assert_eq!(worker.stop().await, Some(0));
    assert!(told.elapsed() < GRACE + Duration::from_secs(1), "{:?}", told.elapsed());
    let errors = errors(log).await;
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0]["job.id"], "a");
    assert!(errors[0]["job.whilter_request_id"].is_string(), "{errors:?}");
    let message = errors[0]["message"].as_str().unwrap();
    assert!(message.starts_with("the API accepted it: not written"), "{message}");
    let other = site.worker();
    site.results_reach(1, SOON).await;
    assert_eq!(other.stop().await, Some(0));
    assert_eq!(site.ends().await, [("a".to_owned(), "completed".to_owned())]);
}

/// Whoever read the log has gone away: what cannot be written is lost, and nothing else.
#[tokio::test]
async fn a_worker_whose_log_nobody_reads_goes_on() {
    let site = Site::new(faultless()).await;
    let (worker, mut log) = site.worker_with_log();
    log.next_line().await.unwrap();
    drop(log);
    for number in 1..=3 {
        // Each is refused with a warning, by the role that reads the inbox.
        site.xadd("{}").await;
        site.results_reach(number, SOON).await;
    }
    site.xadd(&body("a")).await;
    site.results_reach(4, SOON).await;
    assert_eq!(worker.stop().await, Some(0));
}

/// Packets vanish: the connections are open, and nothing comes back through them any more.
#[tokio::test]
async fn a_connection_that_falls_silent_is_replaced() {
    let site = Site::new(faultless()).await;
    let proxy = Proxy::start(&site.queue.url).await;
    let site =
        site.with("REELQ_REDIS__URL", &proxy.url()).with("REELQ_REDIS__RESPONSE_TIMEOUT", "500ms");
    let worker = site.worker();
    site.xadd(&body("before")).await;
    site.results_reach(1, SOON).await;
    proxy.fall_silent();
    site.xadd(&body("after")).await;
    site.results_reach(2, SOON).await;
    assert_eq!(site.sandbox.posts_of("after"), 1);
    assert_eq!(worker.stop().await, Some(0));
}

/// A failover that forgets a result: the record still tells it to whoever waits.
#[tokio::test]
async fn enqueue_is_told_of_an_end_whose_result_was_forgotten() {
    let site = Site::new(faultless()).await;
    let (proxy, url) = (Proxy::start(&site.queue.url).await, site.queue.url.clone());
    let site = site.with("REELQ_REDIS__URL", &proxy.url());
    let body = body("a");
    let forget = async {
        site.results_are_awaited().await;
        proxy.lead_nowhere();
        site.queue.queue.cancel(&[id("a")], None).await.unwrap();
        let _: u64 = site.queue.command(&["XTRIM", "reelq:{video}:results", "MAXLEN", "0"]).await;
        proxy.lead_to(&url);
    };
    let waiting = site.run_with_input(&["enqueue", "--wait"], body.as_bytes());
    let (output, ()) = tokio::join!(waiting, forget);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(r#""status":"cancelled""#), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

/// A failover that keeps the old connections open: they lead to what has become a replica.
#[tokio::test]
async fn a_connection_to_a_former_master_is_replaced() {
    let (site, successor) = (Site::new(faultless()).await, TestQueue::start().await);
    let proxy = Proxy::start(&site.queue.url).await;
    let site = site.with("REELQ_REDIS__URL", &proxy.url());
    let worker = site.worker();
    site.xadd(&body("before")).await;
    site.results_reach(1, SOON).await;
    proxy.lead_to(&successor.url);
    let _: () = site.queue.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let request = body("after");
    let _: String = successor.command(&["XADD", "reelq:{video}:jobs", "*", "job", &request]).await;
    until("its result on the new master", SOON, async || {
        successor.command::<u64>(&["XLEN", "reelq:{video}:results"]).await == 1
    })
    .await;
    assert_eq!(site.sandbox.posts_of("after"), 1);
    assert_eq!(worker.stop().await, Some(0));
}

/// A full Redis refuses new jobs, so that those it has can end.
#[tokio::test]
async fn while_redis_is_full_nothing_is_admitted_and_what_waits_goes_on() {
    let site = Site::new(faultless()).await;
    let (waiting, mut fields) = job("waiting");
    let (seconds, _): (u64, u64) = site.queue.command(&["TIME"]).await;
    fields.not_before = Some(reelq::job::Millis((seconds + 4) * 1000));
    site.queue.queue.enqueue(&waiting, &fields).await.unwrap();
    let worker = site.worker();
    site.xadd(&body("first")).await;
    site.results_reach(1, SOON).await;
    // The entry is there at the moment when Redis is full.
    let () = redis::pipe()
        .atomic()
        .cmd("XADD")
        .arg(&["reelq:{video}:jobs", "*", "job", &body("late")])
        .ignore()
        .cmd("CONFIG")
        .arg(&["SET", "maxmemory", "1"])
        .ignore()
        .query_async(&mut site.queue.raw.clone())
        .await
        .unwrap();
    site.results_reach(2, SOON).await;
    assert_eq!(site.sandbox.posts_of("waiting"), 1);
    assert_eq!(site.sandbox.posts_of("late"), 0);
    let _: () = site.queue.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    site.results_reach(3, SOON).await;
    assert_eq!(site.sandbox.posts_of("late"), 1);
    assert_eq!(worker.stop().await, Some(0));
}

#[tokio::test]
async fn a_redis_with_a_password_is_used_and_the_password_is_never_shown() {
    let site = Site::new(faultless()).await;
    let _: () = site.queue.command(&["CONFIG", "SET", "requirepass", "open-sesame"]).await;
    let without = site.run(&["stats"]).await;
    let errors = String::from_utf8(without.stderr).unwrap();
    assert_eq!(without.status.code(), Some(69), "{errors}");
    assert!(errors.contains("redis.password"), "says what to do: {errors}");
    let file = site.directory().join("password");
    std::fs::write(&file, "open-sesame\n").unwrap();
    let site = site.with("REELQ_REDIS__PASSWORD_FILE", file.to_str().unwrap());
    let with = site.run(&["stats"]).await;
    assert_eq!(with.status.code(), Some(0), "{}", String::from_utf8_lossy(&with.stderr));
    std::fs::write(&file, "close-sesame").unwrap();
    let wrong = site.run(&["stats"]).await;
    let errors = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(69), "{errors}");
    assert!(errors.contains("redis.password") && !errors.contains("sesame"), "{errors}");
}

/// The list of the dead is no list any more, so no job can fail: those that complete do not wait
/// for it, nor do entries behind one that cannot be rejected.
#[tokio::test]
async fn what_cannot_be_written_for_some_jobs_holds_up_no_others() {
    let mut options = faultless();
    options.fail_rate = 0.5;
    let site = Site::new(options).await;
    for key in ["dead", "rejected"] {
        let _: () = site.queue.command(&["SET", &format!("reelq:{{video}}:{key}"), "x"]).await;
    }
    site.xadd("no request").await;
    for number in 0..40 {
        site.xadd(&body(&format!("job-{number}"))).await;
    }
    let worker = site.worker();
    // A job that failed has its result already, and keeps its place until all is written.
    site.results_reach(40, SOON).await;
    let places = async || -> usize { site.queue.command(&["ZCARD", "reelq:{video}:leases"]).await };
    let failed = site.ends().await.iter().filter(|(_, status)| status == "failed").count();
    assert!((5..35).contains(&failed), "{failed}");
    until("all others to be done", SOON, async || places().await == failed).await;
    let inbox: u64 = site.queue.command(&["XLEN", "reelq:{video}:jobs"]).await;
    assert_eq!(inbox, 1, "what cannot be rejected stays pending");
    for key in ["dead", "rejected"] {
        let _: u64 = site.queue.command(&["DEL", &format!("reelq:{{video}}:{key}")]).await;
    }
    until("the others to end", SOON, async || places().await == 0).await;
    let ids: Vec<_> = (0..40).map(|number| format!("job-{number}")).collect();
    let left = verdict(&site.queue, &ids, true).await;
    assert_eq!(left, ["entries are left in the inbox"], "it is tried again after a minute");
    assert_eq!(site.results().await, 40, "each job ended once");
    assert_eq!(worker.stop().await, Some(0));
}
