//! The remote API's push: whole lives through a worker, and each state in which it may find a job.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{PUSH, SECRET, SOON, pushed};
use crate::support::id;
use crate::support::processes::{GatewayProcess, Site, body, faultless, until};

const TRUE_URL: &str = "https://cdn.example.com/true.mp4";
const FALSE_URL: &str = "https://cdn.example.com/false.mp4";

/// A site whose sandbox pushes to its gateway, and whose polls come too late to matter.
async fn pushing(secret: Option<&str>) -> (Site, GatewayProcess) {
    let mut options = faultless();
    options.webhook_secret = secret.map(str::to_owned);
    options.ready_after = Duration::from_secs(1);
    let site = Site::new(options).await.with("REELQ_POLL__FIRST", "30s");
    let site = match secret {
        Some(secret) => site.with("REELQ_WEBHOOK__SECRET", secret),
        None => site,
    };
    let gateway = site.gateway().await;
    let webhook = format!("http://{}{PUSH}", gateway.http.0).parse().unwrap();
    site.sandbox.set(|options| options.webhook = Some(webhook));
    (site, gateway)
}

/// The fields of all results, oldest first.
async fn results(gateway: &GatewayProcess) -> Vec<Value> {
    let page = gateway.http.show("/v1/results?count=1000").await.1;
    page["results"].as_array().unwrap().clone()
}

/// Jobs whose first check is far away end within a second of their push, whatever false push there
/// is beside it, and with the URL that a check found.
#[tokio::test]
async fn jobs_end_within_a_second_of_their_push() {
    for secret in [None, Some(SECRET)] {
        let (site, gateway) = pushing(secret).await;
        site.sandbox.set(|options| options.push.forged = true);
        let worker = site.worker();
        let jobs: Vec<String> = (0..20).map(|number| body(&format!("job-{number}"))).collect();
        gateway.http.post("/v1/jobs", format!("[{}]", jobs.join(","))).await;
        site.results_reach(20, SOON).await;
        let results = results(&gateway).await;
        assert_eq!(results.len(), 20, "each once");
        for result in &results {
            let id = result["client-request-id"].as_str().unwrap();
            assert_eq!((&result["source"], &result["revision"]), (&json!("webhook"), &json!(1)));
            let record = record(&gateway, id).await;
            // The push is sent one second after the API has accepted the job, which is recorded a
            // little later.
            let time = |name: &str| record[name].as_u64().unwrap();
            let took = time("ended-at") - time("submitted-at");
            // Without a secret, 20 checks a second are shared by all.
            let limit = if secret.is_some() { 2100 } else { 2600 };
            assert!((900..limit).contains(&took), "{id} took {took} ms");
            let url = result["video-url"].as_str().unwrap();
            assert!(!url.contains("forged"), "{url}");
            assert!(url.contains(result["whilter-request-id"].as_str().unwrap()), "{url}");
        }
        assert!(site.sandbox.stats().pushes.forged >= 20);
        assert_eq!(worker.stop().await, Some(0));
        assert_eq!(site.results().await, 20);
    }
}

/// Pushes that come late, twice, the last one first, or not at all.
#[tokio::test]
async fn pushes_may_come_anyhow_and_each_job_ends_once() {
    let (site, gateway) = pushing(Some(SECRET)).await;
    let site = site.with("REELQ_POLL__FIRST", "3s");
    site.sandbox.set(|options| {
        options.push.late = Duration::from_millis(300);
        options.push.reversed = Duration::from_millis(200);
        options.push.twice = true;
        options.push.lost_rate = 0.3;
    });
    let workers = [site.worker(), site.worker()];
    let jobs: Vec<String> = (0..50).map(|number| body(&format!("job-{number}"))).collect();
    gateway.http.post("/v1/jobs", format!("[{}]", jobs.join(","))).await;
    site.results_reach(50, SOON).await;
    let results = results(&gateway).await;
    let by = |source: &str| results.iter().filter(|it| it["source"] == source).count();
    let lost = usize::try_from(site.sandbox.stats().pushes.lost).unwrap();
    assert!(lost > 0 && by("poll") >= lost && by("webhook") > 0, "{lost} lost: {results:?}");
    for worker in workers {
        assert_eq!(worker.stop().await, Some(0));
    }
    assert_eq!(site.results().await, 50);
    assert_eq!(site.sandbox.stats().accepted, 50);
}

/// A push that overtakes the answer to its POST counts when that answer is there.
#[tokio::test]
async fn a_push_before_the_answer_to_its_post_counts() {
    for trust in ["verify", "accept"] {
        let (site, gateway) = pushing(Some(SECRET)).await;
        drop(gateway);
        let site = site.with("REELQ_WEBHOOK__TRUST", trust);
        let gateway = site.gateway().await;
        let webhook = format!("http://{}{PUSH}", gateway.http.0).parse().unwrap();
        site.sandbox.set(|options| {
            (options.webhook, options.push.early) = (Some(webhook), true);
        });
        let worker = site.worker();
        let (code, result) = gateway.http.post("/v1/jobs?wait=20s", body("a")).await;
        assert_eq!((code, &result["source"]), (200, &json!("webhook")), "{trust}: {result}");
        let polls = if trust == "verify" { 1 } else { 0 };
        assert_eq!(result["polls"], polls, "{trust}: {result}");
        assert_eq!(site.sandbox.stats().pushes.early, 1);
        assert_eq!(worker.stop().await, Some(0));
        assert_eq!(site.results().await, 1);
    }
}

/// A job of each state, with the pushes that find it so.
#[tokio::test]
async fn a_push_is_worth_what_it_shows_in_each_state() {
    for (secret, trust) in [(None, "verify"), (Some(SECRET), "verify"), (Some(SECRET), "accept")] {
        let mut options = faultless();
        options.ready_after = Duration::from_secs(3600);
        let site = Site::new(options).await.with("REELQ_POLL__FIRST", "30s");
        let mut site = site.with("REELQ_WEBHOOK__TRUST", trust);
        if let Some(secret) = secret {
            site = site.with("REELQ_WEBHOOK__SECRET", secret);
        }
        let gateway = site.gateway().await;
        // Before any POST nobody can know a video of it.
        gateway.http.post("/v1/jobs", body("waiting")).await;
        assert_eq!(gateway.http.push("waiting", FALSE_URL, secret).await, 202);
        assert_eq!(record(&gateway, "waiting").await["pushed-url"], Value::Null);
        gateway.http.delete("/v1/jobs/waiting").await;

        let worker = site.worker();
        a_job_in_each_state(&site, &gateway).await;
        let resend_at = record(&gateway, "unconfirmed").await["next-at"].as_u64().unwrap();
        let foreign = pushed("foreign", TRUE_URL).replace("ann", "bob");
        let token: Vec<_> = secret.map(|it| ("x-webhook-token", it)).into_iter().collect();
        assert_eq!(gateway.http.send_with(Method::POST, PUSH, foreign, &token).await.0, 202);
        // A check finds its own URL now, whatever is pushed.
        site.sandbox.set(|options| options.ready_after = Duration::ZERO);
        for id in ["polling", "cancelled", "expired", "unconfirmed"] {
            assert_eq!(gateway.http.push(id, TRUE_URL, secret).await, 202, "{id}");
        }
        for (id, revision) in [("polling", 1), ("expired", 2)] {
            reaches(&gateway, id, "completed").await;
            // What is pushed later changes no more.
            assert_eq!(gateway.http.push(id, FALSE_URL, secret).await, 202, "{id}");
            let record = record(&gateway, id).await;
            let is_the_pushed = record["video-url"] == TRUE_URL;
            assert_eq!(is_the_pushed, trust == "accept", "{secret:?} {trust}: {record}");
            assert_eq!(record["source"], "webhook", "{record}");
            assert_eq!(record["revision"], revision, "{record}");
        }
        for (id, state, url) in
            [("cancelled", "cancelled", json!(TRUE_URL)), ("foreign", "polling", Value::Null)]
        {
            let record = record(&gateway, id).await;
            assert_eq!((&record["state"], &record["pushed-url"]), (&json!(state), &url));
        }
        let unconfirmed = record(&gateway, "unconfirmed").await;
        if secret.is_some() {
            assert_eq!(unconfirmed["state"], "completed", "{unconfirmed}");
            assert_eq!(unconfirmed["video-url"], TRUE_URL, "{unconfirmed}");
        } else {
            assert_eq!(unconfirmed["state"], "unconfirmed", "{unconfirmed}");
            let put_off = unconfirmed["next-at"].as_u64().unwrap();
            assert!(put_off > resend_at, "{unconfirmed}");
            gateway.http.push("unconfirmed", TRUE_URL, secret).await;
            assert_eq!(record(&gateway, "unconfirmed").await["next-at"], put_off, "once");
        }
        assert_eq!(site.sandbox.posts_of("waiting"), 0);
        assert_eq!(worker.stop().await, Some(0));
        let ends = site.ends().await;
        let completed = ends.iter().filter(|(_, status)| status == "completed").count();
        assert_eq!(completed, if secret.is_some() { 3 } else { 2 }, "{ends:?}");
    }
}

/// Brings jobs into the states whose names they bear, and `foreign` into `polling`.
async fn a_job_in_each_state(site: &Site, gateway: &GatewayProcess) {
    let now: Vec<u64> = site.queue.command(&["TIME"]).await;
    let expires_at = now[0] * 1000 + 2500;
    let soon = format!(r#"{{"job":{},"expires-at":{expires_at}}}"#, body("expired"));
    gateway.http.post("/v1/jobs", soon).await;
    for id in ["polling", "cancelled", "foreign"] {
        gateway.http.post("/v1/jobs", body(id)).await;
    }
    for id in ["polling", "cancelled", "foreign", "expired"] {
        reaches(gateway, id, "polling").await;
    }
    site.sandbox.set(|options| options.drop_rate = 1.0);
    gateway.http.post("/v1/jobs", body("unconfirmed")).await;
    reaches(gateway, "unconfirmed", "unconfirmed").await;
    site.sandbox.set(|options| options.drop_rate = 0.0);
    gateway.http.delete("/v1/jobs/cancelled").await;
    let is_over = async || {
        let now: Vec<u64> = site.queue.command(&["TIME"]).await;
        now[0] * 1000 > expires_at
    };
    until("its time to be over", SOON, is_over).await;
    // A check notices.
    site.queue.queue.retry(&[id("expired")], false, false).await.unwrap();
    reaches(gateway, "expired", "expired").await;
}

async fn record(gateway: &GatewayProcess, id: &str) -> Value {
    gateway.http.show(&format!("/v1/jobs/{id}")).await.1
}

async fn reaches(gateway: &GatewayProcess, id: &str, state: &str) {
    until(state, SOON, async || record(gateway, id).await["state"] == *state).await;
}

/// What is no push, and what is one although it holds more.
#[tokio::test]
async fn what_is_no_push_is_refused_and_changes_nothing() {
    let site = Site::new(faultless()).await;
    let gateway = site.gateway().await;
    for (sent, field) in [
        (String::new(), None),
        ("[]".to_owned(), None),
        (r#"{"client-request-id":"a"}"#.to_owned(), None),
        (r#"{"client-request-id":7,"user-id":"ann","video-url":"https://x.example"}"#.into(), None),
        (pushed("", TRUE_URL), Some("client-request-id")),
        (pushed("two words", TRUE_URL), Some("client-request-id")),
        (pushed("a", "ftp://x.example/1.mp4"), Some("video-url")),
        (pushed("a", "not an address"), Some("video-url")),
        (pushed("a", &format!("https://x.example/{}", "a".repeat(5000))), Some("video-url")),
    ] {
        let (code, answer) = gateway.http.post(PUSH, sent.clone()).await;
        assert_eq!((code, &answer["error"]["code"]), (400, &json!("malformed")), "{sent:.99}");
        assert_eq!(answer["error"]["field"].as_str(), field, "{sent:.99}");
    }
    let more = pushed("a", TRUE_URL).replace('}', r#","status":"done","more":{"a":[1]}}"#);
    let answer = json!({"client-request-id": "a", "status": "202"});
    assert_eq!(gateway.http.post(PUSH, more).await, (202, answer));
}

/// The documented exchange, byte by byte as far as it is documented.
#[tokio::test]
async fn the_documented_exchange_takes_place() {
    let documented = include_str!("../../fixtures/api/push.http");
    let (request, answer) = documented.split_once("\n\nHTTP/1.1 ").unwrap();
    let (head, sent) = request.split_once("\n\n").unwrap();
    let (status, answered) = answer.split_once("\n\n").unwrap();
    let site = Site::new(faultless()).await;
    let gateway = site.gateway().await;
    let mut stream = TcpStream::connect(&gateway.http.0).await.unwrap();
    let head = head.replace('\n', "\r\n");
    let request = format!(
        "{head}\r\nhost: reelq\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{sent}",
        sent.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    for line in status.lines() {
        assert!(head.contains(line), "{line} in {head}");
    }
    assert_eq!(body, answered.trim_end());
}
