//! A Redis that is gone, silent or full: 503 with Retry-After within a second, and well again by
//! itself.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Client, Method};
use tokio::time::Instant;

use super::{PUSH, SOON, pushed};
use crate::support::processes::{Http, Site, body, faultless, until};
use crate::support::proxy::Proxy;

/// Each kind of request that needs Redis.
fn requests() -> [(Method, &'static str, String); 9] {
    [
        (Method::POST, "/v1/jobs", body("a")),
        (Method::POST, "/v1/jobs", format!("[{}]", body("a"))),
        (Method::POST, "/v1/jobs?wait=60s", body("a")),
        (Method::GET, "/v1/jobs/before", String::new()),
        (Method::GET, "/v1/jobs/before?wait=60s", String::new()),
        (Method::DELETE, "/v1/jobs/before", String::new()),
        (Method::GET, "/v1/results", String::new()),
        (Method::GET, "/v1/results?wait=60s", String::new()),
        (Method::POST, PUSH, pushed("before", "https://cdn.example.com/1.mp4")),
    ]
}

/// All are refused in time.
async fn are_refused(http: &Http, what: &str) {
    let asked = requests().map(|(method, path, sent)| async move {
        let began = Instant::now();
        let request = Client::new().request(method.clone(), format!("http://{}{path}", http.0));
        let answer = request.body(sent).send().await.unwrap();
        let took = began.elapsed();
        assert_eq!(answer.status(), 503, "{what}: {method} {path}");
        assert_eq!(answer.headers()["retry-after"], "1", "{what}: {method} {path}");
        let error: serde_json::Value = answer.json().await.unwrap();
        assert!(error["error"]["message"].is_string(), "{what}: {method} {path}: {error}");
        assert!(took < Duration::from_millis(1200), "{what}: {method} {path} took {took:?}");
    });
    join_all(asked).await;
}

/// It serves again.
async fn is_well(http: &Http) {
    until("the gateway to be well again", SOON, async || {
        http.show("/v1/jobs/before").await.0 == 200
    })
    .await;
    assert_eq!(http.post("/v1/jobs", body("after")).await.0, 202);
    assert_eq!(http.show("/v1/results?wait=10ms").await.0, 200);
}

#[tokio::test]
async fn a_redis_that_is_gone_or_silent_is_said_within_a_second() {
    let site = Site::new(faultless()).await;
    let proxy = Proxy::start(&site.queue.url).await;
    let url = site.queue.url.clone();
    let (site, operations) = site.with("REELQ_REDIS__URL", &proxy.url()).serving().await;
    let gateway = site.gateway().await;
    gateway.http.post("/v1/jobs", body("before")).await;
    let ready = async |wanted: u16| {
        until("readiness", SOON, async || operations.get("/readyz").await.0 == wanted).await;
    };
    ready(200).await;

    let _: () = site.queue.command(&["CLIENT", "PAUSE", "9000", "ALL"]).await;
    are_refused(&gateway.http, "silent").await;
    ready(503).await;
    is_well(&gateway.http).await;
    ready(200).await;

    proxy.lead_nowhere();
    are_refused(&gateway.http, "gone").await;
    proxy.lead_to(&url);
    is_well(&gateway.http).await;
    ready(200).await;

    // Nobody asks for anything: the gateway finds out by itself.
    proxy.fall_silent();
    ready(503).await;
    ready(200).await;
    assert_eq!(gateway.stop().await, Some(0));
}

/// Who waits while Redis goes away is answered in the end, and told of what happened meanwhile.
#[tokio::test]
async fn whoever_waits_is_told_although_redis_was_away() {
    let site = Site::new(faultless()).await;
    let proxy = Proxy::start(&site.queue.url).await;
    let url = site.queue.url.clone();
    let site = site.with("REELQ_REDIS__URL", &proxy.url());
    let gateway = site.gateway().await;
    gateway.http.post("/v1/jobs", body("a")).await;
    let cut = async {
        site.results_are_awaited().await;
        proxy.lead_nowhere();
        site.queue.queue.cancel(&[crate::support::id("a")], None).await.unwrap();
        proxy.lead_to(&url);
    };
    let (answer, ()) = tokio::join!(gateway.http.show("/v1/jobs/a?wait=60s"), cut);
    assert_eq!((answer.0, answer.1["status"].as_str()), (200, Some("cancelled")), "{}", answer.1);
}

#[tokio::test]
async fn a_full_redis_takes_no_job_and_keeps_those_it_has() {
    let site = Site::new(faultless()).await;
    let gateway = site.gateway().await;
    gateway.http.post("/v1/jobs", body("before")).await;
    let _: () = site.queue.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    for sent in [body("a"), format!("[{}]", body("a"))] {
        let (code, answer) = gateway.http.post("/v1/jobs", sent).await;
        assert_eq!((code, answer["error"]["code"].as_str()), (503, Some("out-of-memory")));
    }
    assert_eq!(gateway.http.show("/v1/jobs/before").await.0, 200);
    let _: () = site.queue.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    is_well(&gateway.http).await;
    assert_eq!(gateway.http.show("/v1/jobs/a").await.0, 404);
}
