//! The push to a webhook, received by a listener of our own.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Instant;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpListener;

use super::exchanges::{exchange, matches};
use super::*;
use crate::sandbox::{Endpoint, PushFaults, Pushes};

/// A webhook on a free port, and the options that name it.
async fn webhook() -> (TcpListener, Options) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/video-push-endpoint", listener.local_addr().unwrap());
    (listener, Options { webhook: Some(url.parse().unwrap()), ..quiet() })
}

/// A push that has arrived and waits for its answer.
struct Arrived {
    stream: BufReader<TcpStream>,
    line: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Arrived {
    fn text(&self, name: &str) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap();
        body[name].as_str().unwrap().to_owned()
    }

    fn secret(&self) -> Option<&str> {
        self.headers.get("x-webhook-token").map(String::as_str)
    }

    async fn answer(mut self, code: u16, body: &str) {
        let length = body.len();
        let head = format!("HTTP/1.1 {code} -\r\nConnection: close\r\nContent-Length: {length}");
        self.stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
    }
}

/// Takes one push.
async fn arrived(listener: &TcpListener) -> Arrived {
    let arrived = async {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        let (mut first, mut headers) = (String::new(), BTreeMap::new());
        stream.read_line(&mut first).await.unwrap();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        let line = first.trim_end().to_owned();
        Arrived { stream, line, headers, body: String::from_utf8(body).unwrap() }
    };
    timeout(DEADLINE, arrived).await.unwrap()
}

/// Takes one push and answers it; returns its request line and body.
async fn take(listener: &TcpListener, code: u16, answer: &str) -> (String, String) {
    let push = arrived(listener).await;
    let (line, body) = (push.line.clone(), push.body.clone());
    push.answer(code, answer).await;
    (line, body)
}

async fn pushes_counted(caller: &Caller, answer: &str, count: u64) {
    until(|| caller.sandbox.stats().answered(Endpoint::Push, answer) == count).await;
}

async fn until(condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, met).await.unwrap();
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

#[tokio::test]
async fn a_push_fits_the_recorded_exchange_of_the_api() {
    let recorded = include_str!("../../../tests/fixtures/api/push.http");
    let (request, answer) = recorded.split_once("\n\nHTTP/1.1 202 Accepted\n").unwrap();
    let (head, body) = request.split_once("\n\n").unwrap();
    let (listener, options) = webhook().await;
    let caller = Caller::start(options).await;
    caller.accepted("order-1").await;
    let push = arrived(&listener).await;
    let (line, headers) = head.split_once('\n').unwrap();
    assert_eq!(push.line, line);
    let (name, value) = headers.split_once(": ").unwrap();
    assert_eq!(push.headers[name], value);
    let names = |body: &str| -> BTreeSet<String> {
        let body: BTreeMap<String, String> = serde_json::from_str(body).unwrap();
        body.into_keys().collect()
    };
    assert_eq!(names(&push.body), names(body));
    push.answer(202, answer.split_once("\n\n").unwrap().1).await;
    pushes_counted(&caller, "202", 1).await;
    assert_eq!(caller.sandbox.stats().pushes, Pushes { sent: 1, ..Pushes::default() });
}

#[tokio::test]
async fn a_late_push_comes_a_set_time_after_its_video() {
    const LATE: Duration = Duration::from_millis(50);
    let (listener, options) = webhook().await;
    let push = PushFaults { late: LATE, ..PushFaults::default() };
    let caller = Caller::start(Options { push, ..options }).await;
    let begun = Instant::now();
    let transaction = caller.accepted("job").await;
    let video_url = caller.status(&transaction).await.unwrap().text("video-url");
    let push = arrived(&listener).await;
    assert!(begun.elapsed() >= LATE);
    assert_eq!(push.text("video-url"), video_url);
    push.answer(202, "").await;
    assert_eq!(caller.sandbox.stats().pushes, Pushes { sent: 1, late: 1, ..Pushes::default() });

    // One that waits follows the change.
    caller.sandbox.set(|options| options.push.late = DEADLINE * 100);
    caller.accepted("other").await;
    caller.sandbox.set(|options| options.push.late = Duration::ZERO);
    assert_eq!(arrived(&listener).await.text("client-request-id"), "other");
}

#[tokio::test]
async fn a_push_comes_twice_once_it_has_succeeded() {
    let (listener, options) = webhook().await;
    let push = PushFaults { twice: true, ..PushFaults::default() };
    let caller = Caller::start(Options { push, ..options }).await;
    caller.accepted("job").await;
    let (_, first) = take(&listener, 500, "").await;
    for _ in 0..2 {
        assert_eq!(take(&listener, 202, "").await.1, first);
    }
    pushes_counted(&caller, "202", 2).await;
    assert_eq!(caller.sandbox.stats().pushes, Pushes { sent: 1, repeated: 1, ..Pushes::default() });

    caller.accepted("given up").await;
    for _ in 0..3 {
        take(&listener, 500, "").await;
    }
    caller.accepted("next").await;
    let (_, next) = take(&listener, 202, "").await;
    assert!(next.contains("\"next\""), "what never succeeded is not repeated: {next}");
}

#[tokio::test]
async fn reversed_pushes_leave_the_last_first_and_one_after_the_other() {
    let (listener, options) = webhook().await;
    let push = PushFaults { reversed: Duration::from_millis(50), ..PushFaults::default() };
    let options = Options { push, ready_after: DEADLINE * 100, ..options };
    let caller = Caller::start(options).await;
    for id in ["first", "second", "third"] {
        caller.accepted(id).await;
    }
    caller.sandbox.set(|options| options.ready_after = Duration::ZERO);
    for (id, left) in [("third", 1), ("second", 2), ("first", 3)] {
        let push = arrived(&listener).await;
        assert_eq!(push.text("client-request-id"), id);
        let pushes = caller.sandbox.stats().pushes;
        assert_eq!(pushes, Pushes { sent: left, reversed: left, ..Pushes::default() });
        push.answer(202, "").await;
    }
    pushes_counted(&caller, "202", 3).await;

    // One alone leaves in order.
    caller.accepted("alone").await;
    assert_eq!(arrived(&listener).await.text("client-request-id"), "alone");
    let pushes = caller.sandbox.stats().pushes;
    assert_eq!(pushes, Pushes { sent: 4, reversed: 3, ..Pushes::default() });
}

#[tokio::test]
async fn a_forged_push_comes_before_the_real_one_and_knows_all_but_video_and_secret() {
    let (listener, options) = webhook().await;
    let push = PushFaults { forged: true, ..PushFaults::default() };
    let webhook_secret = Some("the secret".to_owned());
    let caller = Caller::start(Options { push, webhook_secret, ..options }).await;
    let transaction = caller.accepted("job").await;
    let video_url = caller.status(&transaction).await.unwrap().text("video-url");
    let forged = arrived(&listener).await;
    assert_eq!(forged.text("client-request-id"), "job");
    assert_eq!(forged.text("user-id"), "user-job");
    assert_ne!(forged.text("video-url"), video_url);
    assert_eq!(forged.secret(), None);
    // It is tried once, whatever becomes of it.
    forged.answer(401, "").await;
    for code in [500, 202] {
        let real = arrived(&listener).await;
        assert_eq!(real.text("video-url"), video_url);
        assert_eq!(real.secret(), Some("the secret"));
        real.answer(code, "").await;
    }
    pushes_counted(&caller, "202", 1).await;
    assert_eq!(caller.sandbox.stats().pushes, Pushes { sent: 1, forged: 1, ..Pushes::default() });
}

#[tokio::test]
async fn a_secret_is_sent_only_if_there_is_one() {
    let (listener, options) = webhook().await;
    let caller = Caller::start(options).await;
    for secret in [None, Some("the secret")] {
        caller.sandbox.set(|options| options.webhook_secret = secret.map(str::to_owned));
        caller.accepted("job").await;
        let push = arrived(&listener).await;
        assert_eq!(push.secret(), secret);
        push.answer(202, "").await;
    }
    // What no header can carry reaches nobody, and ends nothing.
    caller.sandbox.set(|options| options.webhook_secret = Some("two\nlines".to_owned()));
    caller.accepted("job").await;
    pushes_counted(&caller, "no-answer", 3).await;
}

#[tokio::test]
async fn an_early_push_is_answered_before_its_submit_and_its_video_is_ready() {
    let (listener, options) = webhook().await;
    let late = DEADLINE * 100;
    let push = PushFaults { early: true, late, reversed: late, ..PushFaults::default() };
    let options = Options { push, ready_after: DEADLINE * 100, ..options };
    let caller = Caller::start(options).await;
    let mut submit = pin!(caller.submit("job"));
    let push = tokio::select! {
        _ = &mut submit => panic!("its submit was answered first"),
        push = arrived(&listener) => push,
    };
    assert_eq!(push.text("client-request-id"), "job");
    let video_url = push.text("video-url");
    let transaction = video_url.rsplit_once('/').unwrap().1.trim_end_matches(".mp4");
    tokio::select! {
        _ = &mut submit => panic!("its submit was answered before the push was"),
        status = caller.status(transaction) => {
            assert_eq!(status.unwrap().text("video-url"), video_url);
        }
    }
    // One answer is enough: further tries come after the submit's.
    push.answer(500, "").await;
    assert_eq!(submit.await.unwrap().text("whilter-request-id"), transaction);
    assert_eq!(arrived(&listener).await.text("video-url"), video_url);
    assert_eq!(caller.sandbox.stats().pushes, Pushes { sent: 1, early: 1, ..Pushes::default() });
}

#[tokio::test]
async fn an_early_push_keeps_no_submit_from_its_answer_if_it_is_not_made() {
    let (listener, options) = webhook().await;
    let push = PushFaults { early: true, lost_rate: 1.0, ..PushFaults::default() };
    let caller = Caller::start(Options { push, ..options }).await;
    caller.accepted("lost").await;
    caller.sandbox.set(|options| options.fail_rate = 1.0);
    caller.accepted("failed").await;
    assert_eq!(caller.sandbox.stats().pushes, Pushes { lost: 1, ..Pushes::default() });

    // A webhook that is gone.
    drop(listener);
    caller.sandbox.set(|options| (options.fail_rate, options.push.lost_rate) = (0.0, 0.0));
    caller.accepted("unheard").await;
}

#[tokio::test]
async fn a_lost_push_is_never_sent() {
    let (listener, options) = webhook().await;
    let push = PushFaults { lost_rate: 1.0, forged: true, ..PushFaults::default() };
    let caller = Caller::start(Options { push, ..options }).await;
    let transaction = caller.accepted("lost").await;
    until(|| caller.sandbox.stats().pushes.lost == 1).await;
    assert!(caller.status(&transaction).await.unwrap().json()["video-url"].is_string());
    caller.sandbox.set(|options| options.push = PushFaults::default());
    caller.accepted("sent").await;
    assert_eq!(arrived(&listener).await.text("client-request-id"), "sent");
    let pushes = caller.sandbox.stats().pushes;
    assert_eq!(pushes, Pushes { sent: 1, lost: 1, ..Pushes::default() });
}
