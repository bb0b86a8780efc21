//! Keys, secrets and addresses: who is let in, and what is seen of them.

use reqwest::Method;
use rustix::process::{Signal, kill_process};
use serde_json::json;

use super::{PUSH, SECRET, SOON, pushed};
use crate::support::processes::{Http, Site, body, faultless, until};

/// The status of a request to `/v1` with this header.
async fn with_key(http: &Http, authorization: &str) -> u16 {
    let headers = [("authorization", authorization)];
    http.send_with(Method::GET, "/v1/results", "", &headers).await.0
}

#[tokio::test]
async fn a_key_is_asked_for_named_and_never_shown() {
    let site = Site::new(faultless()).await;
    let keys = site.directory().join("keys");
    std::fs::write(&keys, "billing:key-of-billing\nshop, inc:x\n\n").unwrap();
    let site = site.with("REELQ_GATEWAY__API_KEYS_FILE", keys.to_str().unwrap());
    // A comma ends an entry.
    let output = site.run(&["gateway"]).await;
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("gateway.api_keys_file") && !said.contains("key-of"), "{said}");

    std::fs::write(&keys, "billing:key-of-billing\nshop:key:with:colons\n\n").unwrap();
    let gateway = site.gateway().await;
    let http = &gateway.http;
    for path in ["/v1/jobs/a", "/v1/jobs?id=a", "/v1/results", "/v1/jobs/a?wait=60s"] {
        let (code, answer) = http.show(path).await;
        assert_eq!((code, &answer["error"]["code"]), (401, &json!("unauthorized")), "{path}");
    }
    assert_eq!(http.post("/v1/jobs", body("a")).await.0, 401);
    assert_eq!(http.delete("/v1/jobs/a").await.0, 401);
    for wrong in ["key-of-billing", "Bearer", "Bearer ", "Bearer key", "Basic key-of-billing"] {
        assert_eq!(with_key(http, wrong).await, 401, "{wrong}");
    }
    for right in ["Bearer key-of-billing", "bearer  key-of-billing", "Bearer key:with:colons"] {
        assert_eq!(with_key(http, right).await, 200, "{right}");
    }
    let key = [("authorization", "Bearer key-of-billing")];
    assert_eq!(http.send_with(Method::POST, "/v1/jobs", body("a"), &key).await.0, 202);
    assert_eq!(http.send_with(Method::DELETE, "/v1/jobs/a", "", &key).await.0, 200);
    let array = format!("[{}]", body("b"));
    assert_eq!(http.send_with(Method::POST, "/v1/jobs", array, &key).await.0, 202);
    for (id, history) in [
        ("a", vec!["+0 accepted from billing", " cancelled from billing"]),
        ("b", vec!["+0 accepted from billing"]),
    ] {
        let record = http.send_with(Method::GET, &format!("/v1/jobs/{id}"), "", &key).await.1;
        for part in history {
            assert!(record["history"].as_str().unwrap().contains(part), "{record}");
        }
    }
    // A file is read again: a key that is gone opens nothing.
    std::fs::write(&keys, "billing:another").unwrap();
    until("the new key", SOON, async || with_key(http, "Bearer another").await == 200).await;
    assert_eq!(with_key(http, "Bearer key-of-billing").await, 401);
    // One that cannot be read leaves those before.
    std::fs::remove_file(&keys).unwrap();
    until("that to be said", SOON, async || {
        assert_eq!(with_key(http, "Bearer another").await, 200);
        gateway.log().contains("cannot be read")
    })
    .await;
    let log = gateway.log();
    assert!(log.contains(r#""key":"billing""#), "{log}");
    for secret in ["key-of-billing", "another", "key:with:colons"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test]
async fn without_keys_v1_is_served_to_this_machine_alone_and_pushes_to_all() {
    let site = Site::new(faultless()).await.with("REELQ_GATEWAY__LISTEN", "0.0.0.0:0");
    let gateway = site.gateway().await;
    let http = Http(gateway.http.0.replace("0.0.0.0", "127.0.0.1"));
    let (code, answer) = http.show("/v1/results").await;
    assert_eq!((code, &answer["error"]["code"]), (404, &json!("not-served")));
    assert_eq!(http.post("/v1/jobs", body("a")).await.0, 404);
    assert_eq!(http.push("nobody", "https://cdn.example.com/1.mp4", None).await, 202);
    assert!(!site.queue.exists("job:a").await);
    let with_keys = site.with("REELQ_GATEWAY__API_KEYS", "shop:k");
    let gateway = with_keys.gateway().await;
    let http = Http(gateway.http.0.replace("0.0.0.0", "127.0.0.1"));
    assert_eq!(with_key(&http, "Bearer k").await, 200);
}

#[tokio::test]
async fn a_guarded_push_must_show_one_of_the_secrets() {
    let site = Site::new(faultless()).await;
    let secrets = site.directory().join("secrets");
    std::fs::write(&secrets, format!("{SECRET}\nolder-secret\n")).unwrap();
    let site = site.with("REELQ_WEBHOOK__SECRET_FILE", secrets.to_str().unwrap());
    let gateway = site.gateway().await;
    gateway.http.post("/v1/jobs", body("a")).await;
    let sent = async |id: &str, query: &str, token: Option<&str>| {
        let headers: Vec<_> = token.map(|it| ("x-webhook-token", it)).into_iter().collect();
        let body = pushed(id, "https://cdn.example.com/1.mp4");
        gateway.http.send_with(Method::POST, &format!("{PUSH}{query}"), body, &headers).await.0
    };
    for (id, query, token, code) in [
        ("a", "", None, 401),
        ("a", "?token=", None, 401),
        ("a", "?token=wrong-secret", None, 401),
        ("a", "", Some("push-secret\nolder-secret".replace('\n', " ")), 401),
        ("a", "?token=push-secret", None, 202),
        ("a", "?token=older-secret", None, 202),
        ("a", "", Some(SECRET.to_owned()), 202),
        ("nobody", "?token=push-secret", None, 404),
        ("nobody", "?token=wrong-secret", None, 401),
    ] {
        assert_eq!(sent(id, query, token.as_deref()).await, code, "{id} {query} {token:?}");
    }
    std::fs::write(&secrets, "newer-secret").unwrap();
    until("the new secret", SOON, async || sent("a", "?token=newer-secret", None).await == 202)
        .await;
    assert_eq!(sent("a", "?token=push-secret", None).await, 401);
    assert!(!gateway.log().contains("-secret"), "{}", gateway.log());
}

#[tokio::test]
async fn a_guarded_push_must_come_from_an_allowed_address() {
    for (listen, allowed, code) in [
        ("127.0.0.1:0", "10.0.0.0/8,192.0.2.7", 403),
        ("127.0.0.1:0", "10.0.0.0/8,127.0.0.0/8", 404),
        // A socket for both families sees ::ffff:127.0.0.1.
        ("[::]:0", "127.0.0.1", 404),
        ("127.0.0.1:0", "::ffff:127.0.0.1", 404),
        ("127.0.0.1:0", "::ffff:127.0.0.0/104", 404),
        ("[::]:0", "::1", 403),
    ] {
        let site = Site::new(faultless())
            .await
            .with("REELQ_GATEWAY__LISTEN", listen)
            .with("REELQ_WEBHOOK__ALLOWED_IPS", allowed)
            .with("REELQ_WEBHOOK__SECRET", SECRET);
        let gateway = site.gateway().await;
        let http = Http(gateway.http.0.replace("[::]", "127.0.0.1"));
        let pushed = http.push("nobody", "https://cdn.example.com/1.mp4", Some(SECRET)).await;
        assert_eq!(pushed, code, "{listen} {allowed}");
        // Where both are set, both are asked for; what a proxy says of its client is not believed.
        let headers = [("x-forwarded-for", "10.0.0.1")];
        let (pushed, _) = http.send_with(Method::POST, PUSH, "{}", &headers).await;
        assert_eq!(pushed, if code == 403 { 403 } else { 401 }, "{listen} {allowed}");
    }
}

#[tokio::test]
async fn what_cannot_be_served_ends_the_start() {
    let site = Site::new(faultless()).await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let nothing = site.directory().join("nothing");
    std::fs::write(&nothing, "\n").unwrap();
    for (variable, value, word) in [
        ("REELQ_GATEWAY__LISTEN", taken.as_str(), "is taken"),
        ("REELQ_WEBHOOK__TRUST", "accept", "webhook.trust"),
        ("REELQ_WEBHOOK__SECRET_FILE", nothing.to_str().unwrap(), "webhook.secret_file"),
        ("REELQ_WEBHOOK__SECRET_FILE", "missing", "webhook.secret_file"),
        ("REELQ_GATEWAY__API_KEYS_FILE", nothing.to_str().unwrap(), "gateway.api_keys_file"),
        ("REELQ_GATEWAY__API_KEYS", "no-name", "gateway.api_keys"),
    ] {
        let output = site.run_with(&["gateway"], variable, value).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{variable}={value}: {said}");
        assert!(said.contains(word), "{variable}={value}: {said}");
    }
}

/// Health and metrics are served beside it, requests and pushes counted by what became of them.
#[tokio::test]
async fn health_and_metrics_are_served_beside_it() {
    let (site, operations) = Site::new(faultless()).await.serving().await;
    let gateway = site.gateway().await;
    until("readiness", SOON, async || {
        operations.try_get("/readyz").await.is_some_and(|(code, _)| code == 200)
    })
    .await;
    gateway.http.post("/v1/jobs", body("a")).await;
    gateway.http.post("/v1/jobs", "{").await;
    gateway.http.show("/nothing/to/see").await;
    gateway.http.push("nobody", "https://cdn.example.com/1.mp4", None).await;
    assert_eq!(operations.get("/healthz").await, (200, "ok\n".to_owned()));
    let (_, metrics) = operations.get("/metrics").await;
    for line in [
        r#"reelq_http_requests_total{queue="video",route="/v1/jobs",code="202"} 1"#,
        r#"reelq_http_requests_total{queue="video",route="/v1/jobs",code="400"} 1"#,
        r#"reelq_http_requests_total{queue="video",route="other",code="404"} 1"#,
        r#"reelq_pushes_total{queue="video",outcome="unknown"} 1"#,
        r#"reelq_pushes_total{queue="video",outcome="refused"} 0"#,
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    let log = gateway.log();
    assert!(!log.contains("token="), "{log}");
    kill_process(gateway.process_id(), Signal::INT).unwrap();

    assert_eq!(gateway.ended().await, Some(0));
}
