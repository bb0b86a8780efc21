//! Many who wait, and many pushes: true ones, and a flood of false ones.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use reelq::sandbox::Endpoint;
use reqwest::{Client, Method};
use serde_json::Value;
use tokio::time::Instant;

use super::{PUSH, SECRET, SOON, pushed};
use crate::support::processes::{GatewayProcess, Http, Site, body, faultless, until};

const WAITERS: usize = 2000;

/// Enqueues jobs named by number.
async fn enqueue(http: &Http, jobs: usize) {
    let bodies: Vec<String> = (0..jobs).map(|number| body(&format!("job-{number}"))).collect();
    for some in bodies.chunks(1000) {
        let (code, answer) = http.post("/v1/jobs", format!("[{}]", some.join(","))).await;
        assert_eq!(code, 202, "{answer}");
    }
}

/// Pushes for all these jobs, many at a time.
async fn push_all(http: &Http, jobs: usize, token: &str) {
    let client = Client::new();
    let url = format!("http://{}{PUSH}", http.0);
    let push = |number: usize| {
        let body = pushed(&format!("job-{number}"), "https://cdn.example.com/pushed.mp4");
        let request = client.post(&url).header("x-webhook-token", token).body(body);
        async move { assert_eq!(request.send().await.unwrap().status(), 202) }
    };
    stream::iter(0..jobs).map(push).buffer_unordered(64).collect::<Vec<()>>().await;
}

/// How many jobs the API has accepted and nobody has checked to their end.
async fn are_polling(site: &Site, jobs: usize) {
    until("all to be accepted", SOON, async || {
        let polling: usize = site.queue.command(&["ZCARD", "reelq:{video}:poll"]).await;
        polling == jobs
    })
    .await;
}

#[tokio::test]
async fn five_hundred_jobs_end_within_five_seconds_of_their_pushes() {
    let site = Site::new(faultless()).await.with("REELQ_POLL__FIRST", "60s");
    let site = site.with("REELQ_WEBHOOK__SECRET", SECRET);
    let gateway = site.gateway().await;
    let worker = site.worker();
    enqueue(&gateway.http, 500).await;
    are_polling(&site, 500).await;
    let began = Instant::now();
    push_all(&gateway.http, 500, SECRET).await;
    let sent = began.elapsed();
    site.results_reach(500, SOON).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "sent in {sent:?}, completed in {took:?}");
    assert_eq!(site.sandbox.stats().calls_to(Endpoint::Status), 500, "one check each");
    assert_eq!(worker.stop().await, Some(0));
    assert_eq!(site.results().await, 500);
}

/// Whoever knows ids can make the queue ask the API 20 times a second, and no more.
#[tokio::test]
async fn a_flood_of_false_pushes_leads_to_few_checks_and_stops_nobody() {
    /// No job is checked before that without a push: jitter takes a fifth off at most.
    const FIRST: Duration = Duration::from_secs(16);
    let mut options = faultless();
    options.ready_after = Duration::from_secs(3600);
    let site = Site::new(options).await.with("REELQ_POLL__FIRST", "20s");
    let gateway = site.gateway().await;
    let worker = site.worker();
    let began = Instant::now();
    enqueue(&gateway.http, 10_000).await;
    are_polling(&site, 10_000).await;
    let flood = Instant::now();
    push_all(&gateway.http, 10_000, "").await;
    site.sandbox.set(|options| options.ready_after = Duration::from_secs(15));
    let others = ["other-1", "other-2", "other-3"];
    for other in others {
        gateway.http.post("/v1/jobs", body(other)).await;
    }
    // Up to the first check that would have been made anyhow.
    while began.elapsed() < FIRST {
        let (checks, seconds) =
            (site.sandbox.stats().calls_to(Endpoint::Status), flood.elapsed().as_secs());
        assert!(checks <= 20 * (seconds + 1), "{checks} checks in {seconds} s");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(site.sandbox.stats().calls_to(Endpoint::Status) > 20, "pushes lead to checks");
    for other in others {
        let (code, result) = gateway.http.show(&format!("/v1/jobs/{other}?wait=60s")).await;
        assert_eq!(code, 200, "{result}");
        let record = gateway.http.show(&format!("/v1/jobs/{other}")).await.1;
        let time = |name: &str| record[name].as_u64().unwrap();
        let took = time("ended-at") - time("submitted-at");
        assert!(took < 25_500, "{other} took {took} ms");
    }
    assert_eq!(worker.stop().await, Some(0));
}

/// Asks for the ends of jobs, all at once; each answer with its status.
async fn wait_for_all(gateway: &GatewayProcess) -> Vec<(u16, Value)> {
    let client = Client::new();
    join_all((0..WAITERS).map(|number| {
        let url = format!("http://{}/v1/jobs/job-{number}?wait=60s", gateway.http.0);
        let asked = client.request(Method::GET, url).send();
        async move {
            let answer = asked.await.unwrap();
            (answer.status().as_u16(), answer.json().await.unwrap())
        }
    }))
    .await
}

/// The memory of a process now, in MB (Linux).
fn memory_mb(gateway: &GatewayProcess) -> u64 {
    let path = format!("/proc/{}/status", gateway.process_id().as_raw_nonzero());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Calls of all commands so far.
async fn redis_calls(site: &Site) -> u64 {
    let info: String = site.queue.command(&["INFO", "stats"]).await;
    let line = info.lines().find_map(|it| it.strip_prefix("total_commands_processed:"));
    line.unwrap().parse().unwrap()
}

/// How many records were read as a whole so far: each wait begins with that, when it is registered.
async fn records_read(site: &Site) -> usize {
    let info: String = site.queue.command(&["INFO", "commandstats"]).await;
    let line = info.lines().find_map(|it| it.strip_prefix("cmdstat_hgetall:calls="));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

/// Waits until so many more wait.
async fn all_wait(site: &Site, read_before: usize) {
    // The gateway itself makes such a call each second: after a few of them all have begun.
    let wait = async || records_read(site).await >= read_before + WAITERS + 5;
    until("all to wait", Duration::from_secs(60), wait).await;
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn two_thousand_wait_at_little_cost_and_are_answered() {
    super::open_many_files();
    let site = Site::new(faultless()).await;
    let gateway = site.gateway().await;
    enqueue(&gateway.http, WAITERS).await;
    let (before, read_before) = (redis_calls(&site).await, records_read(&site).await);
    let (began, idle) = (Instant::now(), Duration::from_secs(10));
    let watching = async {
        all_wait(&site, read_before).await;
        let waiting = Instant::now();
        // What they cost while nothing happens is measured over a time.
        tokio::time::sleep(idle).await;
        let (calls, seconds) = (redis_calls(&site).await - before, began.elapsed().as_secs_f64());
        assert!((calls as f64) < 300.0 * seconds, "{calls} calls in {seconds} s");
        assert!(waiting.elapsed() >= idle);
        site.worker()
    };
    let (answers, worker) = tokio::join!(wait_for_all(&gateway), watching);
    for (code, result) in answers {
        assert_eq!((code, result["status"].as_str()), (200, Some("completed")), "{result}");
    }
    let memory = memory_mb(&gateway);
    assert!(memory < 150, "{memory} MB");
    assert_eq!(worker.stop().await, Some(0));

    for number in 0..WAITERS {
        let _: u64 =
            site.queue.command(&["DEL", &format!("reelq:{{video}}:job:job-{number}")]).await;
    }
    enqueue(&gateway.http, WAITERS).await;
    let read_before = records_read(&site).await;
    let told = async {
        all_wait(&site, read_before).await;
        rustix::process::kill_process(gateway.process_id(), rustix::process::Signal::TERM).unwrap();
        Instant::now()
    };
    let (answers, told) = tokio::join!(wait_for_all(&gateway), told);
    let took = told.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    for (code, record) in answers {
        assert_eq!((code, record["state"].as_str()), (202, Some("waiting")), "{record}");
    }
    assert_eq!(gateway.ended().await, Some(0));
}
