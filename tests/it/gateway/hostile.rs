//! What no client should send: the right 4xx or a closed connection, nothing enqueued, and others are
//! served meanwhile.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};

use crate::support::processes::{Http, Site, body, faultless};

/// Heads must come within 10 s, bodies within 20 s (docs/contract.md, section 8).
const HEAD: Duration = Duration::from_secs(10);
const BODY: Duration = Duration::from_secs(20);
const SLACK: Duration = Duration::from_secs(3);

const POST: &str = "POST /v1/jobs HTTP/1.1\r\nhost: reelq\r\n";

/// Sends this, then this piece each 100 ms; everything that is answered until the connection is closed,
/// and after what time that was.
async fn drip(http: &Http, begin: &[u8], piece: &[u8]) -> (String, Duration) {
    let began = Instant::now();
    let (mut reader, mut writer) = TcpStream::connect(&http.0).await.unwrap().into_split();
    // A server that has heard enough closes while we still write.
    let _ = writer.write_all(begin).await;
    let mut answer = Vec::new();
    let dripping = async {
        let mut next = interval(Duration::from_millis(100));
        loop {
            next.tick().await;
            if writer.write_all(piece).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        // Reset, when there was more to read.
        _ = reader.read_to_end(&mut answer) => {}
        () = dripping => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("never closed"),
    }
    (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
}

/// Sends this and nothing more.
async fn send(http: &Http, begin: impl AsRef<[u8]>) -> (String, Duration) {
    drip(http, begin.as_ref(), b"").await
}

/// Begins of answers, one for each that is there.
fn codes(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect()
}

#[tokio::test]
async fn what_is_slow_is_closed_in_its_time_and_delays_nobody() {
    let site = Site::new(faultless()).await;
    let gateway = site.gateway().await;
    let http = &gateway.http;
    let head = drip(http, b"POST /v1/jobs HTTP/1.1\r\nhost: reelq\r\nx-slow: ", b"a");
    let silent = send(http, "");
    let kept_open = send(http, "GET /openapi.json HTTP/1.1\r\nhost: reelq\r\n\r\n");
    let begin = format!("{POST}content-length: 1000\r\n\r\n{{");
    let slow_body = drip(http, begin.as_bytes(), b" ");
    let push = begin.replace("/v1/jobs", super::PUSH);
    let slow_push = drip(http, push.as_bytes(), b" ");
    let others = async {
        for number in 0..50 {
            let began = Instant::now();
            http.post("/v1/jobs", body(&format!("other-{number}"))).await;
            assert!(began.elapsed() < Duration::from_secs(1), "others are served");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (head, silent, kept_open, slow_body, slow_push, ()) =
        tokio::join!(head, silent, kept_open, slow_body, slow_push, others);
    for (what, (answer, took), limit, code) in [
        ("head", head, HEAD, &[][..]),
        ("silent", silent, HEAD, &[]),
        ("kept open", kept_open, HEAD, &["200"]),
        ("body", slow_body, BODY, &["408"]),
        ("push", slow_push, BODY, &["408"]),
    ] {
        let answered = codes(&answer);
        let is_told = answered == ["408"] && limit == HEAD;
        assert!(answered == code || is_told, "{what}: {answer}");
        assert!(took < limit + HEAD + SLACK && took >= limit, "{what}: {took:?}");
    }
    let on_queue: u64 = site.queue.command(&["ZCARD", "reelq:{video}:submit"]).await;
    assert_eq!(on_queue, 50);
}

#[tokio::test]
async fn what_is_malformed_or_too_large_is_refused() {
    let site = Site::new(faultless()).await;
    let gateway = site.gateway().await;
    let http = &gateway.http;
    let mut headers = POST.to_owned();
    for number in 0..10_000 {
        headers.push_str(&format!("x-{number}: a\r\n"));
    }
    let body = body("a");
    let length = format!("content-length: {}\r\n", body.len());
    let mebibyte = " ".repeat(1 << 20);
    let long_head = "a".repeat(1 << 20);
    for (what, sent, code) in [
        ("headers", format!("{headers}\r\n"), "431"),
        ("a long header", format!("{POST}x: {long_head}\r\n\r\n"), "431"),
        ("a long path", format!("GET /{long_head} HTTP/1.1\r\nhost: reelq\r\n\r\n"), "431"),
        ("a path", format!("GET /{} HTTP/1.1\r\n\r\n", &long_head[..70_000]), "414"),
        ("no HTTP", "*1\r\n$4\r\nPING\r\n\r\n".to_owned(), "400"),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "400"),
        ("no method", " /v1/jobs HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("a header without colon", format!("{POST}nonsense\r\n\r\n"), "400"),
        ("two lengths", format!("{POST}{length}content-length: 7\r\n\r\n{body}"), "400"),
        ("no number", format!("{POST}content-length: many\r\n\r\n{body}"), "400"),
        ("an unknown coding", format!("{POST}transfer-encoding: gzip\r\n\r\n{body}"), "400"),
        ("a chunk without size", format!("{POST}transfer-encoding: chunked\r\n\r\nzz\r\n"), "400"),
        ("no body", format!("{POST}\r\n"), "400"),
        (
            "too long",
            format!("{POST}content-length: {}\r\n\r\n{body}{mebibyte}", body.len() + (1 << 20)),
            "413",
        ),
        ("too long, it says", format!("{POST}content-length: 9999999999999\r\n\r\n{{"), "413"),
    ] {
        let sent = sent.replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1);
        let (answer, took) = send(http, sent).await;
        assert_eq!(codes(&answer), [code], "{what}: {answer}");
        assert!(took < SLACK, "{what}: {took:?}");
    }
    let endless = format!("{POST}transfer-encoding: chunked\r\n\r\n").into_bytes();
    let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
    let (answer, _) = drip(http, &endless, chunk.repeat(10).as_bytes()).await;
    assert_eq!(codes(&answer), ["413"], "{answer}");
    assert!(!site.queue.exists("submit").await, "nothing is enqueued");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let site = Site::new(faultless()).await;
    let gateway = site.gateway().await;
    let one = |id: &str| {
        let body = body(id);
        format!("{POST}content-length: {}\r\n\r\n{body}", body.len())
    };
    let wrong = format!("{POST}content-length: 1\r\n\r\n{{");
    let last = "GET /v1/jobs/b HTTP/1.1\r\nhost: reelq\r\nconnection: close\r\n\r\n";
    let sent = [one("a"), wrong, one("b"), one("a"), last.to_owned()].concat();
    let (answers, _) = send(&gateway.http, sent).await;
    assert_eq!(codes(&answers), ["202", "400", "202", "202", "200"], "{answers}");
    let told: Vec<bool> = answers.split("HTTP/1.1 ").map(|it| it.contains("duplicate")).collect();
    assert_eq!(told, [false, false, false, false, true, false]);
    // A body that nobody reads is not taken for the next request.
    let smuggled = format!(
        "DELETE /v1/jobs/a HTTP/1.1\r\nhost: reelq\r\ncontent-length: {}\r\n\r\n{}",
        last.len(),
        last
    );
    let key = site.with("REELQ_GATEWAY__API_KEYS", "shop:k");
    let guarded = key.gateway().await;
    let (answers, _) = send(&guarded.http, smuggled).await;
    assert_eq!(codes(&answers), ["401"], "{answers}");
}

#[tokio::test]
async fn whoever_shows_no_key_is_refused_before_the_body_comes() {
    let site = Site::new(faultless()).await.with("REELQ_GATEWAY__API_KEYS", "shop:k");
    let gateway = site.gateway().await;
    let begin = format!("{POST}content-length: 1000000\r\nconnection: close\r\n\r\n{{");
    let (answer, took) = send(&gateway.http, begin).await;
    assert_eq!(codes(&answer), ["401"], "{answer}");
    assert!(took < SLACK, "{took:?}");
}

#[tokio::test]
async fn five_thousand_idle_connections_hold_up_nobody() {
    super::open_many_files();
    let site = Site::new(faultless()).await;
    let gateway = site.gateway().await;
    let mut idle = Vec::new();
    for _ in 0..5000 {
        idle.push(TcpStream::connect(&gateway.http.0).await.unwrap());
    }
    let began = Instant::now();
    let (code, answer) = gateway.http.post("/v1/jobs", body("a")).await;
    assert_eq!((code, &answer["status"]), (202, &json!("accepted")));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // They are closed in their time.
    let closed = idle.into_iter().map(async |mut connection| {
        let mut answer = Vec::new();
        let _ = connection.read_to_end(&mut answer).await;
    });
    timeout(HEAD + SLACK, futures_util::future::join_all(closed)).await.unwrap();
    let began = Instant::now();
    assert_eq!(gateway.stop().await, Some(0));
    assert!(began.elapsed() < SLACK);
}
