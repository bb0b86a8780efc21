//! What becomes of a call when the network or the server misbehaves: what may be paid is
//! `Unknown`, what was surely not sent is tried again without spending an attempt.

use super::super::answer::Answer;
use super::super::transport::{Outgoing, Transport};
use super::*;

fn is_unknown(outcome: &SubmitOutcome) -> bool {
    matches!(outcome, SubmitOutcome::Unknown { .. } | SubmitOutcome::NotUnderstood { .. })
}

fn is_not_sent(outcome: &SubmitOutcome) -> bool {
    matches!(outcome, SubmitOutcome::NotSent { .. })
}

/// A port on which nobody listens.
async fn closed_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap().port()
}

/// One POST without a token call before it.
async fn post(api: &Api, url: &str, time: Duration) -> Answer {
    let transport = Transport::new(api, 1, PATIENCE).unwrap();
    let outgoing = Outgoing::post(url.parse().unwrap(), Bytes::from("{}"));
    transport.exchange("submit", outgoing, Instant::now() + time).await
}

#[tokio::test]
async fn a_refused_connection_is_surely_not_sent() {
    let outcome = submit(&client(&api(closed_port().await))).await;
    assert!(is_not_sent(&outcome), "{outcome:?}");
    let url = format!("http://127.0.0.1:{}/", closed_port().await);
    let answer = post(&api(1), &url, PATIENCE).await;
    assert!(matches!(answer, Answer::NotSent(_)), "{answer:?}");
}

#[tokio::test]
async fn no_answer_in_time_is_unknown_and_the_deadline_is_kept() {
    let server = Server::with_token(|_, _| Reply::Silence).await;
    let short = Duration::from_millis(400);
    let hasty = client(&Api { request_timeout: short, ..api(server.port) });
    let began = Instant::now();
    let outcome = submit(&hasty).await;
    assert!(is_unknown(&outcome), "{outcome:?}");
    assert!(began.elapsed() >= short);
    assert!(matches!(status(&hasty, "w-1").await, StatusOutcome::Unanswered { .. }));

    // A deadline before the usual time-out.
    let (id, body) = (order(), Bytes::from("{}"));
    let hasty = client(&Api { request_timeout: 2 * short, ..api(server.port) });
    let deadline = Instant::now() + short * 3 / 2;
    let outcome = hasty.submit(&id, body, deadline, &Began::default()).await;
    assert!(is_unknown(&outcome), "{outcome:?}");
    assert!(Instant::now() < deadline + short / 2, "the deadline was not kept");
}

#[tokio::test]
async fn a_post_is_not_begun_with_too_little_time() {
    let server = Server::with_token(|_, _| Reply::Keep(exchange(SUBMIT).1)).await;
    let client = server.client();
    let deadline = Instant::now() + PATIENCE / 3;
    let outcome = client.submit(&order(), Bytes::from("{}"), deadline, &Began::default()).await;
    assert!(matches!(outcome, SubmitOutcome::NotTried { .. }), "{outcome:?}");
    assert!(server.calls().is_empty());
}

/// A server that never answers the TLS handshake. Whether the time to connect or that of the whole
/// call ends first: the body was not asked for.
#[tokio::test]
async fn a_post_that_never_got_a_connection_is_surely_not_sent() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("https://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    let short = Duration::from_millis(200);
    for (connect_timeout, request_timeout) in [(short, PATIENCE), (PATIENCE, short)] {
        let api = Api { connect_timeout, request_timeout, ..api(1) };
        let answer = post(&api, &url, request_timeout).await;
        assert!(matches!(answer, Answer::NotSent(_)), "{answer:?}");
    }
}

#[tokio::test]
async fn a_connection_lost_after_sending_is_unknown() {
    let body = exchange(SUBMIT).1;
    let head = body.split("\r\n\r\n").next().unwrap().to_owned() + "\r\n\r\n";
    let half = body[..body.len() - 10].to_owned();
    for reply in [String::new(), "HTTP/1.1 200".to_owned(), head, half] {
        for lose in [Reply::Close, Reply::Reset] {
            let sent = reply.clone();
            let server = Server::with_token(move |_, _| lose(sent.clone())).await;
            let outcome = submit(&server.client()).await;
            assert!(is_unknown(&outcome), "after {reply:?}: {outcome:?}");
            assert_eq!(server.calls().len(), 1, "a POST is never repeated by itself");
        }
    }
}

#[tokio::test]
async fn an_answer_may_drip_as_long_as_the_call_has_time() {
    let reply = exchange(SUBMIT).1;
    let dripping = DRIP * u32::try_from(reply.len()).unwrap();
    let server = Server::with_token(move |_, _| Reply::Drip(reply.clone())).await;
    assert_eq!(submit(&server.client()).await, accepted("w-1"));
    let request_timeout = dripping / 3;
    let began = Instant::now();
    let outcome = submit(&client(&Api { request_timeout, ..api(server.port) })).await;
    assert!(is_unknown(&outcome), "{outcome:?}");
    assert!(began.elapsed() < dripping, "{:?} of {dripping:?}", began.elapsed());
}

/// What counts is what the body says, not what its header calls it.
#[tokio::test]
async fn a_content_type_decides_nothing() {
    let typed = |content_type: &str, body: &str| {
        answer(&format!("200 OK\r\ncontent-type: {content_type}"), body)
    };
    let json = r#"{"status":"SUCCESS","whilter-request-id":"w-9"}"#;
    let answered = typed("text/html", json);
    let server = Server::with_token(move |_, _| Reply::Keep(answered.clone())).await;
    assert_eq!(submit(&server.client()).await, accepted("w-9"));
    let answered = typed("application/json", "<html>SUCCESS</html>");
    let server = Server::with_token(move |_, _| Reply::Keep(answered.clone())).await;
    let outcome = submit(&server.client()).await;
    assert!(matches!(outcome, SubmitOutcome::NotUnderstood { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_cut_or_endless_body_of_a_refusal_judges_no_job() {
    let cut = "HTTP/1.1 422 No\r\ncontent-length: 100\r\n\r\n{\"message\":".to_owned();
    let endless = "HTTP/1.1 422 No\r\nconnection: close\r\n\r\n".to_owned();
    let refused = |outcome: &SubmitOutcome| {
        matches!(outcome, SubmitOutcome::Refused { refusal: Refusal::Call, .. })
    };
    let server = Server::with_token(move |_, _| Reply::Close(cut.clone())).await;
    let outcome = submit(&server.client()).await;
    assert!(refused(&outcome), "{outcome:?}");
    let server = Server::with_token(move |_, _| Reply::Endless(endless.clone())).await;
    let outcome = submit(&server.client()).await;
    assert!(refused(&outcome), "{outcome:?}");
}

#[tokio::test]
async fn an_answer_is_read_up_to_the_limit() {
    for header in ["content-length: 104857600", "connection: close"] {
        let head = format!("HTTP/1.1 200 OK\r\n{header}\r\n\r\n");
        let server = Server::with_token(move |_, _| Reply::Endless(head.clone())).await;
        let client = server.client();
        let SubmitOutcome::NotUnderstood { detail, .. } = submit(&client).await else {
            panic!("a paid request was lost");
        };
        assert!(detail.ends_with("longer than api.max_response_bytes"), "{detail}");
        assert!(matches!(status(&client, "w-1").await, StatusOutcome::NotUnderstood { .. }));
    }
    // Exactly at the limit, in several chunks.
    let limit = api(1).max_response_bytes;
    let start = r#"{"status":"SUCCESS","whilter-request-id":"w-9""#;
    let padded = format!("{start}{}}}", " ".repeat(limit - start.len() - 1));
    assert_eq!(padded.len(), limit);
    let server = Server::with_token(move |_, _| Reply::Keep(answer("200 OK", &padded))).await;
    assert_eq!(submit(&server.client()).await, accepted("w-9"));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let moved = "302 Found\r\nlocation: /elsewhere";
    let server = Server::with_token(move |_, _| Reply::Keep(answer(moved, ""))).await;
    let client = server.client();
    let refused = SubmitOutcome::Refused { detail: "302".to_owned(), refusal: Refusal::Call };
    assert_eq!(submit(&client).await, refused);
    assert!(matches!(status(&client, "w-1").await, StatusOutcome::Refused { .. }));
    assert_eq!(server.calls().len(), 2);
}

/// A server that closes each connection after its answer, without saying so: the next POST finds
/// a pooled connection that is dead, and must neither fail nor be in doubt.
#[tokio::test]
async fn a_post_after_an_idle_close_takes_a_new_connection() {
    let server = Server::with_token(|_, _| Reply::Close(exchange(SUBMIT).1)).await;
    let client = server.client();
    for call in 0..20 {
        assert_eq!(submit(&client).await, accepted("w-1"), "call {call}");
        assert_eq!(server.calls().len(), call + 1);
    }
}

#[tokio::test]
async fn connections_are_reused() {
    let server = Server::with_token(|_, _| Reply::Keep(exchange(SUBMIT).1)).await;
    let client = server.client();
    for _ in 0..5 {
        assert_eq!(submit(&client).await, accepted("w-1"));
    }
    let connections: Vec<usize> = server.calls().iter().map(|it| it.connection).collect();
    assert!(connections.iter().all(|it| *it == connections[0]), "{connections:?}");
}
