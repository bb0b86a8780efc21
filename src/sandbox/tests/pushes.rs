//! The push to a webhook, received by a listener of our own.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpListener;

use super::exchanges::{exchange, matches};
use super::*;
use crate::sandbox::Endpoint;

/// A webhook on a free port, and the options that name it.
async fn webhook() -> (TcpListener, Options) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/video-push-endpoint", listener.local_addr().unwrap());
    (listener, Options { webhook: Some(url.parse().unwrap()), ..quiet() })
}

/// Takes one push and answers it; returns its request line and body.
async fn take(listener: &TcpListener, code: u16, answer: &str) -> (String, String) {
    let exchange = async {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        let (mut first, mut length) = (String::new(), 0);
        stream.read_line(&mut first).await.unwrap();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            match line.trim_end().split_once(": ") {
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let answer = format!(
            "HTTP/1.1 {code} -\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{answer}",
            answer.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        (first.trim_end().to_owned(), String::from_utf8(body).unwrap())
    };
    timeout(DEADLINE, exchange).await.unwrap()
}

async fn pushes_counted(caller: &Caller, answer: &str, count: u64) {
    let counted = async {
        while caller.sandbox.stats().answered(Endpoint::Push, answer) < count {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, counted).await.unwrap();
}

#[tokio::test]
async fn a_finished_video_is_pushed_as_documented() {
    let documented = exchange(include_str!("../../../tests/fixtures/sandbox/push.http"));
    let (listener, options) = webhook().await;
    let caller = Caller::start(Options { ready_after: DEADLINE * 100, ..options }).await;
    let transaction = caller.accepted("job").await;
    // The push that waits follows the change.
    caller.sandbox.set(|options| options.ready_after = Duration::ZERO);
    let (line, body) = take(&listener, documented.code, documented.answer).await;
    assert_eq!(line, format!("{} HTTP/1.1", documented.line));
    assert!(matches(&body, documented.body), "{body}");
    let pushed: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(pushed["client-request-id"], "job");
    assert_eq!(pushed["user-id"], "user-job");
    let video_url = caller.status(&transaction).await.unwrap().text("video-url");
    assert_eq!(pushed["video-url"], video_url);
    pushes_counted(&caller, "202", 1).await;
}

#[tokio::test]
async fn a_push_is_tried_three_times() {
    let (listener, options) = webhook().await;
    let caller = Caller::start(options).await;
    caller.accepted("job").await;
    let (_, first) = take(&listener, 500, "").await;
    for _ in 0..2 {
        assert_eq!(take(&listener, 500, "").await.1, first);
    }
    pushes_counted(&caller, "500", 3).await;
}

#[tokio::test]
async fn a_video_that_failed_is_not_pushed() {
    let (listener, options) = webhook().await;
    let caller = Caller::start(Options { fail_rate: 1.0, ..options }).await;
    caller.accepted("failed").await;
    caller.sandbox.set(|options| options.fail_rate = 0.0);
    caller.accepted("made").await;
    let (_, body) = take(&listener, 202, "").await;
    assert!(body.contains("\"made\""), "{body}");
    pushes_counted(&caller, "202", 1).await;
}
