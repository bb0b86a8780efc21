//! Enqueueing, asking, cancelling and reading results.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::processes::{Site, body, faultless};

/// Every kind of body, one by one, and what is answered.
#[tokio::test]
async fn each_body_has_its_answer_and_only_valid_ones_are_jobs() {
    let site = Site::new(faultless()).await;
    let gateway = site.gateway().await;
    let answer = |id: &str, status: &str| json!({"client-request-id": id, "status": status});
    for (sent, status) in [
        (body("a"), "accepted"),
        (body("a"), "duplicate"),
        (format!("\u{feff} {}\n", body("a")), "duplicate"),
        (format!(r#"{{"job":{},"meta":"other meta, same job"}}"#, body("a")), "duplicate"),
    ] {
        let answered = gateway.http.post("/v1/jobs", sent.clone()).await;
        assert_eq!(answered, (202, answer("a", status)), "{sent}");
    }
    let (code, conflict) = gateway.http.post("/v1/jobs", body("a").replace("acme", "umbra")).await;
    assert_eq!((code, &conflict["error"]["code"]), (409, &json!("conflict")), "{conflict}");
    assert_eq!(conflict["error"]["field"], "client-request-id");

    let late = r#"{"job":JOB,"not-before":"4000000000000","expires-at":4100000000000,"meta":"m"}"#;
    let late = late.replace("JOB", &body("late"));
    assert_eq!(gateway.http.post("/v1/jobs", late).await, (202, answer("late", "accepted")));
    let (code, record) = gateway.http.show("/v1/jobs/late").await;
    assert_eq!(code, 200);
    for (field, value) in [
        ("client-request-id", json!("late")),
        ("state", json!("waiting")),
        ("not-before", json!(4_000_000_000_000_u64)),
        ("next-at", json!(4_000_000_000_000_u64)),
        ("expires-at", json!(4_100_000_000_000_u64)),
        ("meta", json!("m")),
        ("posts", json!(0)),
        ("customer-id", json!("acme")),
    ] {
        assert_eq!(record[field], value, "{field} of {record}");
    }

    for (sent, field) in [
        ("", Some("body")),
        ("{", Some("body")),
        ("7", Some("body")),
        ("null", Some("body")),
        ("\"text\"", Some("body")),
        ("{}", Some("client-request-id")),
        (r#"{"job":{}}"#, Some("client-request-id")),
        (r#"{"job":JOB,"priority":1}"#, Some("priority")),
        (r#"{"job":JOB,"not-before":"soon"}"#, Some("not-before")),
        (r#"{"client-request-id":"b","customer-id":"c","use-case-id":"u"}"#, Some("user-id")),
    ] {
        let sent = sent.replace("JOB", &body("b"));
        let (code, answer) = gateway.http.post("/v1/jobs", sent.clone()).await;
        assert_eq!((code, &answer["error"]["code"]), (400, &json!("invalid-job")), "{sent}");
        assert_eq!(answer["error"]["field"].as_str(), field, "{sent}: {answer}");
    }
    let mut not_text = body("b").into_bytes();
    not_text[30] = 0xff;
    assert_eq!(gateway.http.post("/v1/jobs", not_text).await.0, 400);
    assert_eq!(gateway.http.show("/v1/jobs/b").await.0, 404);
    let accepted: Vec<String> =
        site.queue.command(&["ZRANGE", "reelq:{video}:submit", "0", "-1"]).await;
    assert_eq!(accepted, ["a", "late"]);
    assert_eq!(gateway.stop().await, Some(0));
}

#[tokio::test]
async fn an_array_has_one_answer_for_each_of_its_jobs_in_their_order() {
    let site = Site::new(faultless()).await;
    let gateway = site.gateway().await;
    let wrong = r#"{"client-request-id":"wrong"}"#;
    let sent = format!(
        "[{}, {wrong}, {}, 7, {}, {{\"job\":{}}}]",
        body("a"),
        body("a"),
        body("a").replace("acme", "umbra"),
        body("b"),
    );
    let (code, answers) = gateway.http.post("/v1/jobs", sent).await;
    assert_eq!(code, 202, "{answers}");
    let told: Vec<(Value, Value)> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["client-request-id"].clone(), it["status"].clone()))
        .collect();
    let expected = [
        (json!("a"), "accepted"),
        (json!("wrong"), "rejected"),
        (json!("a"), "duplicate"),
        (Value::Null, "rejected"),
        (json!("a"), "conflict"),
        (json!("b"), "accepted"),
    ];
    assert_eq!(told, expected.map(|(id, status)| (id, json!(status))));
    assert!(answers[1]["error"].as_str().unwrap().contains("customer-id"), "{answers}");
    assert_eq!(answers[0].get("error"), None);

    for (sent, code) in [
        (format!("[{wrong},{wrong}]"), "invalid-job"),
        ("[]".to_owned(), "malformed"),
        ("[{]".to_owned(), "malformed"),
        (format!("[{}]", vec!["7"; 1001].join(",")), "malformed"),
    ] {
        let (status, answer) = gateway.http.post("/v1/jobs", sent.clone()).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(code)), "{sent:.99}: {answer}");
    }
    assert_eq!(gateway.http.post("/v1/jobs?wait=1s", format!("[{}]", body("a"))).await.0, 400);
    let many: Vec<String> = (0..1000).map(|number| body(&format!("many-{number}"))).collect();
    let (code, answers) = gateway.http.post("/v1/jobs", format!("[{}]", many.join(","))).await;
    assert_eq!(code, 202);
    assert!(answers.as_array().unwrap().iter().all(|it| it["status"] == "accepted"));
    let on_queue: u64 = site.queue.command(&["ZCARD", "reelq:{video}:submit"]).await;
    assert_eq!(on_queue, 1002);
}

/// Ids may hold what has a meaning in URLs.
#[tokio::test]
async fn a_job_is_found_and_cancelled_whatever_its_id_is() {
    let site = Site::new(faultless()).await;
    let gateway = site.gateway().await;
    for id in ["plain", "a/b?c#d%e", "a:b[c]", "%2e%2e", "a+b&id=c"] {
        assert_eq!(gateway.http.post("/v1/jobs", body(id)).await.0, 202, "{id}");
        let encoded: String = id.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let (by_path, by_query) = (format!("/v1/jobs/{encoded}"), format!("/v1/jobs?id={encoded}"));
        for path in [&by_path, &by_query] {
            let (code, record) = gateway.http.show(path).await;
            assert_eq!((code, &record["client-request-id"]), (200, &json!(id)));
        }
        let cancelled = json!({"client-request-id": id, "status": "cancelled", "revision": 1});
        assert_eq!(gateway.http.delete(&by_path).await, (200, cancelled), "{id}");
        let (code, answer) = gateway.http.delete(&by_query).await;
        assert_eq!((code, &answer["error"]["code"]), (409, &json!("ended")), "{id}: {answer}");
        assert_eq!(gateway.http.show(&by_query).await.1["state"], "cancelled", "{id}");
    }
    for path in ["/v1/jobs/nobody", "/v1/jobs?id=nobody"] {
        for (code, answer) in [gateway.http.show(path).await, gateway.http.delete(path).await] {
            assert_eq!((code, &answer["error"]["code"]), (404, &json!("unknown-job")), "{path}");
        }
    }
    let too_long = format!("/v1/jobs/{}", "a".repeat(2000));
    for path in ["/v1/jobs", "/v1/jobs?id=", "/v1/jobs?id=%ff", "/v1/jobs/%ff", &too_long] {
        let (code, answer) = gateway.http.show(path).await;
        assert_eq!(
            (code, &answer["error"]["code"]),
            (400, &json!("malformed")),
            "{path}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_job_over_http_is_made_waited_for_and_read() {
    let mut options = faultless();
    options.ready_after = Duration::from_millis(500);
    let site = Site::new(options).await;
    let gateway = site.gateway().await;
    let began = Instant::now();
    // Nobody works yet.
    let (code, answer) = gateway.http.post("/v1/jobs?wait=300ms", body("a")).await;
    assert_eq!((code, &answer["status"]), (202, &json!("accepted")));
    assert!(began.elapsed() >= Duration::from_millis(300));
    let (code, record) = gateway.http.show("/v1/jobs/a?wait=0s").await;
    assert_eq!((code, &record["state"]), (202, &json!("waiting")));
    let (code, none) = gateway.http.show("/v1/results?wait=100ms").await;
    assert_eq!((code, &none), (200, &json!({"results": [], "next": "0-0"})));

    let worker = site.worker();
    let (code, result) = gateway.http.show("/v1/jobs/a?wait=20s").await;
    assert_eq!((code, &result["status"]), (200, &json!("completed")), "{result}");
    assert_eq!((&result["revision"], &result["posts"]), (&json!(1), &json!(1)), "{result}");
    assert!(result["video-url"].as_str().unwrap().starts_with("https://"));
    let (code, page) = gateway.http.show("/v1/results").await;
    assert_eq!(code, 200);
    let next = page["next"].as_str().unwrap();
    assert_eq!(page["results"][0]["result"], next);
    // The same whether it is found in the record or in the stream, beside the entry's own id.
    let of_record = gateway.http.show("/v1/jobs/a?wait=1s").await.1;
    assert_eq!(of_record, result);
    for (name, value) in of_record.as_object().unwrap() {
        assert_eq!(page["results"][0][name], *value, "{name}");
    }

    let after = format!("/v1/results?after={next}&wait=20s");
    let (waited, posted) =
        tokio::join!(gateway.http.show(&after), gateway.http.post("/v1/jobs?wait=20s", body("b")),);
    assert_eq!((posted.0, &posted.1["status"]), (200, &json!("completed")));
    assert_eq!(waited.1["results"][0]["client-request-id"], "b");
    let (_, first) = gateway.http.show("/v1/results?count=1").await;
    assert_eq!(first["results"].as_array().unwrap().len(), 1);
    assert_eq!(first["next"], next);
    for query in [
        "count=0",
        "count=1001",
        "count=x",
        "after=x",
        "after=-",
        "after=18446744073709551615-18446744073709551615",
        "wait=x",
        "wait=-1s",
    ] {
        let (code, answer) = gateway.http.show(&format!("/v1/results?{query}")).await;
        assert_eq!((code, &answer["error"]["code"]), (400, &json!("malformed")), "{query}");
    }
    let (code, answer) = gateway.http.delete("/v1/jobs/b").await;
    assert_eq!((code, &answer["error"]["code"]), (409, &json!("ended")));
    assert_eq!(worker.stop().await, Some(0));
}

/// An end that is already there is answered at once; one that never comes, in its time.
#[tokio::test]
async fn whoever_waits_is_told_of_any_end() {
    let site = Site::new(faultless()).await;
    let gateway = site.gateway().await;
    gateway.http.post("/v1/jobs", body("a")).await;
    let (waited, deleted) = tokio::join!(gateway.http.show("/v1/jobs/a?wait=20s"), async {
        site.results_are_awaited().await;
        gateway.http.delete("/v1/jobs/a").await
    });
    assert_eq!(deleted.0, 200);
    assert_eq!((waited.0, &waited.1["status"]), (200, &json!("cancelled")), "{}", waited.1);
    let again = gateway.http.show("/v1/jobs/a?wait=60s").await;
    assert_eq!(again, waited);
    assert_eq!(gateway.http.show("/v1/jobs/nobody?wait=60s").await.0, 404);
    assert_eq!(gateway.http.post("/v1/jobs?wait=60s", body("a")).await.1["status"], "cancelled");
}

#[tokio::test]
async fn it_describes_itself_and_refuses_what_it_does_not_serve() {
    let site = Site::new(faultless()).await;
    let gateway = site.gateway().await;
    let (code, description) = gateway.http.show("/openapi.json").await;
    assert_eq!((code, &description["openapi"]), (200, &json!("3.1.0")));
    let paths: Vec<&String> = description["paths"].as_object().unwrap().keys().collect();
    let served =
        ["/openapi.json", "/v1/jobs", "/v1/jobs/{id}", "/v1/results", "/video-push-endpoint"];
    assert_eq!(paths, served);
    assert_eq!(gateway.http.show("/nothing").await.0, 404);
    for (method, path) in [
        (reqwest::Method::PUT, "/v1/jobs"),
        (reqwest::Method::POST, "/v1/jobs/a"),
        (reqwest::Method::DELETE, "/v1/results"),
        (reqwest::Method::PUT, "/video-push-endpoint"),
        (reqwest::Method::DELETE, "/video-push-endpoint"),
    ] {
        let url = format!("http://{}{path}", gateway.http.0);
        let answer = reqwest::Client::new().request(method.clone(), url).send().await.unwrap();
        assert_eq!(answer.status(), 405, "{method} {path}");
        assert!(answer.headers()["allow"].to_str().unwrap().contains("GET"), "{method} {path}");
        let error: Value = answer.json().await.unwrap();
        assert_eq!(error["error"]["code"], "wrong-method");
    }
    assert_eq!(gateway.http.show("/video-push-endpoint").await.0, 200);
    assert_eq!(gateway.http.send(reqwest::Method::HEAD, "/video-push-endpoint", "").await.0, 200);
}
