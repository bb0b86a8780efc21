//! The command line from outside: what it prints, and with which code it ends.

use std::collections::BTreeSet;
use std::time::Duration;

use reelq::telemetry::METRICS;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use super::support::processes::{Site, body, faultless, until};

const SOON: Duration = Duration::from_secs(20);

fn lines(output: &[u8]) -> Vec<Value> {
    let text = String::from_utf8(output.to_vec()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn enqueue_says_of_each_request_what_became_of_it() {
    let site = Site::new(faultless()).await;
    let input = format!(
        "{}\n{{\"client-request-id\":\"b\"}}\n{}\n",
        body("a"),
        body("a").replace("ann", "bob")
    );
    let output = site.run_with_input(&["enqueue"], input.as_bytes()).await;
    assert_eq!(output.status.code(), Some(1));
    let lines = lines(&output.stdout);
    let statuses: Vec<_> = lines.iter().map(|line| line["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["accepted", "rejected", "conflict"]);
    assert!(lines[1]["error"].as_str().unwrap().contains("user-id: missing"), "{lines:?}");
    assert_eq!(lines[1]["line"], 2);
    let again = site.run_with_input(&["enqueue", "-"], format!("[{}]", body("a")).as_bytes()).await;
    assert_eq!(again.status.code(), Some(0));
    assert!(String::from_utf8(again.stdout).unwrap().contains("duplicate"));
}

#[tokio::test]
async fn enqueue_waits_for_results_and_the_others_show_the_queue() {
    let site = Site::new(faultless()).await;
    let worker = site.worker();
    let output = site.run_with_input(&["enqueue", "--wait"], body("a").as_bytes()).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(lines(&output.stdout)[1]["status"], "completed");
    let status = site.run(&["status", "a", "--json"]).await;
    assert_eq!(lines(&status.stdout)[0]["state"], "completed");
    assert_eq!(site.run(&["status", "nobody"]).await.status.code(), Some(1));
    let stats = site.run(&["stats", "--json"]).await;
    assert_eq!(lines(&stats.stdout)[0]["counters"]["completed"], 1);
    let results = site.run(&["results", "--group", "g", "--create"]).await;
    assert_eq!(lines(&results.stdout).len(), 1);
    let acknowledged = site.run(&["results", "--group", "g"]).await;
    assert_eq!(lines(&acknowledged.stdout).len(), 0);
    assert_eq!(worker.stop().await, Some(0));
}

#[tokio::test]
async fn mistakes_end_with_their_own_codes_and_all_at_once() {
    let site = Site::new(faultless()).await;
    assert_eq!(site.run(&["nonsense"]).await.status.code(), Some(2));
    let site = site.with("REELQ_POLL__FIRST", "soon").with("REELQ_QUEUE__LAESE", "60s");
    let output = site.run(&["stats"]).await;
    assert_eq!(output.status.code(), Some(78));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("poll.first: must be a duration"), "{errors}");
    assert!(errors.contains("queue.laese: unknown setting; did you mean queue.lease?"), "{errors}");
    let site = Site::new(faultless()).await.with("REELQ_REDIS__URL", "redis://:hidden@127.0.0.1:1");
    let output = site.run(&["stats"]).await;
    assert_eq!(output.status.code(), Some(69));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("127.0.0.1:1") && !errors.contains("hidden"), "{errors}");
    let shown = site.run(&["config"]).await;
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(!shown.contains("hidden") && !shown.contains("sandbox-secret"), "{shown}");
    assert!(shown.contains("REELQ_REDIS__URL") && shown.contains("********"));
}

/// Health and metrics answer while the worker works.
#[tokio::test]
async fn a_worker_serves_health_and_metrics() {
    let (site, http) = Site::new(faultless()).await.serving().await;
    site.queue.queue.create_results_group("readers").await.unwrap();
    let worker = site.worker();
    let is_ready = async || http.try_get("/readyz").await == Some((200, "ready\n".to_owned()));
    until("a ready worker", SOON, is_ready).await;
    assert_eq!(http.get("/healthz").await, (200, "ok\n".to_owned()));
    let (_, fresh) = http.get("/metrics").await;
    for metric in METRICS {
        let help = format!("# HELP {} {}\n", metric.name, metric.help);
        assert!(fresh.contains(&help), "no {help:?} in\n{fresh}");
    }
    for zero in [
        "reelq_backlog{queue=\"video\"} 0",
        "reelq_jobs{queue=\"video\",state=\"unconfirmed\"} 0",
        "reelq_results_group_age_seconds{queue=\"video\",group=\"readers\"} 0",
        "reelq_jobs_ended_total{queue=\"video\",status=\"completed\",error=\"\"} 0",
        "reelq_jobs_ended_total{queue=\"video\",status=\"expired\",error=\"poll-deadline\"} 0",
        "reelq_conflicts_total{queue=\"video\"} 0",
        "reelq_api_requests_total{queue=\"video\",endpoint=\"token\",outcome=\"401\"} 0",
        "reelq_api_request_seconds_count{queue=\"video\",endpoint=\"submit\"} 0",
        "reelq_pickup_seconds_count{queue=\"video\"} 0",
        "reelq_redis_errors_total{queue=\"video\",kind=\"unavailable\"} 0",
        "reelq_quarantined_total{queue=\"video\"} 0",
        "reelq_stage_closed{queue=\"video\",stage=\"submit\",state=\"paused\"} 0",
        "reelq_stage_closed{queue=\"video\",stage=\"poll\",state=\"paused\"} 0",
        "reelq_stage_next_probe_timestamp_seconds{queue=\"video\",stage=\"poll\"} 0",
    ] {
        assert!(fresh.lines().any(|line| line == zero), "no {zero:?} in\n{fresh}");
    }
    site.xadd(&body("a")).await;
    site.results_reach(1, SOON).await;
    // Queue-wide gauges are counted at most every five seconds.
    let paused = "reelq_stage_closed{queue=\"video\",stage=\"submit\",state=\"paused\"} 1";
    assert_eq!(site.run(&["pause"]).await.status.code(), Some(0));
    let shown = async || http.get("/metrics").await.1.contains(paused);
    until("the pause on /metrics", SOON, shown).await;
    let (_, metrics) = http.get("/metrics").await;
    for line in [
        "reelq_jobs_ended_total{queue=\"video\",status=\"completed\",error=\"\"} 1",
        "reelq_workers{queue=\"video\"} 1",
        "reelq_api_requests_total{queue=\"video\",endpoint=\"submit\",outcome=\"2xx\"} 1",
    ] {
        assert!(metrics.contains(line), "no {line:?} in\n{metrics}");
    }
    assert_eq!(series(&metrics), series(&fresh), "each series was there from the start");
    assert_eq!(worker.stop().await, Some(0));
}

/// The names and labels of what `/metrics` shows.
fn series(metrics: &str) -> BTreeSet<&str> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect()
}

/// A wrong credential is everybody's first mistake: the log says so, and shows no secret.
#[tokio::test]
async fn a_worker_says_in_its_log_that_the_api_refuses_it() {
    let site = Site::new(faultless()).await.with("REELQ_API__CLIENT_SECRET", "open-sesame");
    let (worker, mut log) = site.worker_with_log();
    site.xadd(&body("a")).await;
    let said = timeout(Duration::from_secs(20), async {
        loop {
            let line = log.next_line().await.unwrap().expect("the log goes on");
            assert!(!line.contains("open-sesame"), "{line}");
            if line.contains("401 to the token call") {
                return line;
            }
        }
    });
    let line = said.await.expect("a line about the refusal");
    assert!(line.contains("WARN") && line.contains("submit: "), "{line}");
    assert_eq!(worker.stop().await, Some(0));
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_stops_the_start() {
    let site = Site::new(faultless())
        .await
        .with("REELQ_API__CLIENT_SECRET", "")
        .with("REELQ_API__CLIENT_SECRET_FILE", "/nowhere/secret");
    let output = site.run(&["worker"]).await;
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{errors}");
    assert!(errors.contains("api.client_secret_file: /nowhere/secret: No such file"), "{errors}");
    assert_eq!(site.run(&["stats"]).await.status.code(), Some(0), "others do without it");
}

/// It verifies itself what it says; a setting meant for other work does not lead it elsewhere.
#[tokio::test]
async fn the_demo_shows_jobs_and_urls_by_every_way() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_reelq"));
    demo.arg("demo").env("REELQ_REDIS__URL", "redis://127.0.0.1:1").kill_on_drop(true);
    let output = timeout(Duration::from_secs(120), demo.output()).await.unwrap().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{shown}{errors}");
    let rows = shown.lines().filter(|line| line.starts_with(" demo-"));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split_whitespace().collect()).collect();
    let count = |column: usize, word| rows.iter().filter(|row| row[column] == word).count();
    assert_eq!((count(1, "redis"), count(1, "http")), (40, 20), "{shown}");
    let (pushed, polled) = (count(5, "webhook"), count(5, "poll"));
    assert_eq!(pushed + polled, 60, "{shown}");
    let said = format!("{pushed} URLs came by a push (source webhook), {polled} by a poll.");
    assert!(shown.contains(&said) && shown.contains("Killed one worker"), "{shown}");
}
