//! Answers that are a little wrong are read as a browser would: a paid answer is not thrown away
//! over a detail (docs/contract.md, section 7).

use super::super::transport::MOST_HEADERS;
use super::*;

/// Ways in which an answer with this body may come, as bytes for the wire; the connection is closed
/// after it.
fn odd_answers(body: &str) -> Vec<(&'static str, Vec<u8>)> {
    let head = |lines: &str, length: usize| {
        format!("HTTP/1.1 200 OK\r\n{lines}content-length: {length}\r\n\r\n").into_bytes()
    };
    let with_body = |body: &[u8]| [&head("", body.len()), body].concat();
    let with_line = |line: &str| [&head(line, body.len()), body.as_bytes()].concat();
    let with_member =
        |member: &[u8]| with_body(&[b"{", member, b",", &body.as_bytes()[1..]].concat());
    let many: String = (1..MOST_HEADERS).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let gzip = "content-encoding: gzip\r\n";
    let zipped = zip(body.as_bytes());
    let without_its_checksum = &zipped[..zipped.len() - 8];
    vec![
        ("a byte order mark", with_body(&["\u{feff}".as_bytes(), body.as_bytes()].concat())),
        ("Latin-1", with_member(b"\"message\":\"f\xfcr Sie\"")),
        ("a key that is no text", with_member(b"\"\xff\xfe\":1")),
        ("control characters", with_member(b"\"message\":\"a\r\n\tb\0\x1b\\\"\"")),
        ("a key twice", with_member(b"\"status\":\"FAILED\"")),
        ("what follows", with_body(&[body.as_bytes(), b"\n<!-- 12 ms --> {"].concat())),
        ("a line that is no header", with_line("PHP Warning: x\r\n")),
        ("a line without a colon", with_line("Warning\r\n")),
        ("a header of bytes", with_line("x-\u{fc}: \u{fc}\r\n")),
        ("a header without a name", with_line(": x\r\n")),
        ("a space before the colon", with_line("x-a : b\r\n")),
        ("a folded line", with_line("x-a: b\r\n  c\r\n")),
        ("as many headers as may be", with_line(&many)),
        ("gzip", [head(gzip, zipped.len()), zipped.clone()].concat()),
        ("gzip that nobody labelled", with_body(&zipped)),
        ("no gzip, labelled so", with_line(gzip)),
        ("gzip that is broken off", [&head(gzip, zipped.len()), without_its_checksum].concat()),
        ("too few bytes", [&head("", body.len() + 9), body.as_bytes()].concat()),
        ("chunks without an end", format!("{chunked}{:x}\r\n{body}\r\n", body.len()).into_bytes()),
        ("a broken chunk", format!("{chunked}{:x}\r\n{body}\r\nxyz", body.len()).into_bytes()),
    ]
}

fn body_of(fixture: &str) -> String {
    let answer = exchange(fixture).1;
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// A token, a submit and a check, each answered with what `answer` makes of the documented body.
async fn assert_all_are_read(
    form: &str,
    api: impl FnOnce(u16) -> Api,
    answer: impl Fn(&str) -> Reply + Send + Sync + 'static,
) {
    let server = Server::start(move |seen, _| {
        answer(&body_of(match seen.method.as_str() {
            _ if seen.is_token_call() => TOKEN,
            "POST" => SUBMIT,
            _ => READY,
        }))
    })
    .await;
    let client = client(&api(server.port));
    assert_eq!(submit(&client).await, accepted("w-1"), "{form}");
    let ready = status(&client, "w-1").await;
    assert!(matches!(ready, StatusOutcome::Ready { .. }), "{form}: {ready:?}");
    assert_eq!((server.token_calls().len(), server.calls().len()), (1, 2), "{form}");
}

#[tokio::test]
async fn every_answer_is_read_whatever_its_form() {
    for (nth, (form, _)) in odd_answers("{}").into_iter().enumerate() {
        let answer = move |body: &str| Reply::Bytes(odd_answers(body).swap_remove(nth).1);
        assert_all_are_read(form, api, answer).await;
    }
}

#[tokio::test]
async fn a_body_that_never_ends_is_read_when_its_object_is_whole() {
    let hasty = |port| Api { request_timeout: Duration::from_millis(400), ..api(port) };
    assert_all_are_read("never ends", hasty, |body| {
        let length = body.len() + 1;
        Reply::Keep(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"))
    })
    .await;
}

/// What is bounded stays bounded: the headers, and what a small body becomes.
#[tokio::test]
async fn an_answer_that_is_too_much_is_in_doubt() {
    let lines = "x: y\r\n".repeat(MOST_HEADERS + 1);
    for head in [format!("HTTP/1.1 200 OK\r\n{lines}\r\n"), "HTTP/1.1 200 OK\r\nx: ".to_owned()] {
        let server = Server::with_token(move |_, _| Reply::Endless(head.clone())).await;
        let outcome = submit(&server.client()).await;
        assert!(matches!(outcome, SubmitOutcome::Unknown { .. }), "{outcome:?}");
    }
    let (begin, end) = (r#"{"status":"SUCCESS","whilter-request-id":"w-1","x":""#, r#""}"#);
    let zipped = zip(&[begin.as_bytes(), &[b'x'; 4 << 20], end.as_bytes()].concat());
    assert!(zipped.len() < api(1).max_response_bytes);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", zipped.len());
    let bytes = [head.into_bytes(), zipped].concat();
    let server = Server::with_token(move |_, _| Reply::Bytes(bytes.clone())).await;
    let outcome = submit(&server.client()).await;
    let SubmitOutcome::NotUnderstood { detail, .. } = outcome else { panic!("{outcome:?}") };
    assert!(detail.ends_with("longer than api.max_response_bytes"), "{detail}");
}

/// What we need is not used when it is damaged.
#[tokio::test]
async fn a_damaged_id_or_url_is_none() {
    for damage in [b"\xff".as_slice(), b"\r\n", b"\0"] {
        let damaged = move |seen: &Seen, _| {
            let body = if seen.method == "POST" {
                [b"{\"whilter-request-id\":\"w", damage, b"1\"}"].concat()
            } else {
                [b"{\"status\":\"SUCCESS\",\"video-url\":\"https://h/", damage, b"v\"}"].concat()
            };
            Reply::Bytes([b"HTTP/1.1 200 OK\r\n\r\n", &body[..]].concat())
        };
        let client = Server::with_token(damaged).await.client();
        let outcome = submit(&client).await;
        assert!(matches!(outcome, SubmitOutcome::NotUnderstood { .. }), "{outcome:?}");
        let outcome = status(&client, "w-1").await;
        assert!(matches!(outcome, StatusOutcome::NotUnderstood { .. }), "{outcome:?}");
    }
}

/// A page of something in front of the API says nothing of our credentials.
#[tokio::test]
async fn only_the_api_itself_refuses_credentials() {
    for (body, refuses) in [("{}", true), ("", true), ("<html>login</html>", false)] {
        for code in ["400 Bad", "401 No", "403 No", "404 No"] {
            let server = Server::start(move |_, _| Reply::Keep(answer(code, body))).await;
            let outcome = submit(&server.client()).await;
            let refused =
                matches!(outcome, SubmitOutcome::Refused { refusal: Refusal::Credentials, .. });
            assert_eq!(refused, refuses, "{code} {body}: {outcome:?}");
            assert!(refused || matches!(outcome, SubmitOutcome::NotSent { .. }), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn anything_below_500_shows_that_the_api_is_there() {
    for (code, is_there) in [
        ("200 OK", true),
        ("302 Found", true),
        ("404 No", true),
        ("429 Slowly", true),
        ("500 Oh", false),
        ("504 Oh", false),
    ] {
        let server = Server::with_token(move |_, _| Reply::Keep(answer(code, "<html>"))).await;
        let deadline = Instant::now() + 2 * PATIENCE;
        let answers = server.client().answers("w-1", deadline).await;
        assert_eq!(answers.is_ok(), is_there, "{code}: {answers:?}");
        assert_eq!(server.calls()[0].target, "/status/w-1");
    }
}
