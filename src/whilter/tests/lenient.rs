//! Answers that are a little wrong are read as a browser would: a paid answer is not thrown away over
//! a detail (docs/contract.md, section 7).

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

/// Ways in which an answer with this body may come, as bytes for the wire, the connection closed after it.
fn odd_answers(body: &str) -> Vec<(&'static str, Vec<u8>)> {
    let head = |lines: &str, length: usize| {
        format!("HTTP/1.1 200 OK\r\n{lines}content-length: {length}\r\n\r\n").into_bytes()
    };
    let whole = |lines: &str, body: &[u8]| [&head(lines, body.len()), body].concat();
    let inside = |more: &[u8]| {
        let at = body.len() - 1;
        [&body.as_bytes()[..at], b",", more, b"}"].concat()
    };
    let many: String = (0..490).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut zipped = GzEncoder::new(Vec::new(), Compression::default());
    zipped.write_all(body.as_bytes()).unwrap();
    vec![
        ("a byte order mark", whole("", &["\u{feff}".as_bytes(), body.as_bytes()].concat())),
        ("Latin-1", whole("", &inside(b"\"message\":\"f\xfcr Sie\""))),
        ("a key twice", whole("", &[b"{\"status\":\"FAILED\",", &body.as_bytes()[1..]].concat())),
        ("what follows", whole("", &[body.as_bytes(), b"\n<!-- 12 ms -->"].concat())),
        ("a line that is no header", whole("PHP Warning: x\r\n", body.as_bytes())),
        ("a header of bytes", whole("x-\u{fc}: \u{fc}\r\n", body.as_bytes())),
        ("a space before the colon", whole("x-a : b\r\n", body.as_bytes())),
        ("a folded line", whole("x-a: b\r\n  c\r\n", body.as_bytes())),
        ("many headers", whole(&many, body.as_bytes())),
        ("gzip", whole("content-encoding: gzip\r\n", &zipped.finish().unwrap())),
        ("too few bytes", [&head("", body.len() + 9), body.as_bytes()].concat()),
        ("chunks without an end", format!("{chunked}{:x}\r\n{body}\r\n", body.len()).into_bytes()),
    ]
}

fn body_of(fixture: &str) -> String {
    let answer = exchange(fixture).1;
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[tokio::test]
async fn a_token_a_submit_and_a_check_are_read_whatever_their_form() {
    let [tokens, submits, checks] = [TOKEN, SUBMIT, READY].map(|it| odd_answers(&body_of(it)));
    for ((token, submit_answer), check) in tokens.into_iter().zip(submits).zip(checks) {
        let form = token.0;
        let server = Server::start(move |seen, _| {
            Reply::Bytes(match seen.method.as_str() {
                _ if seen.is_token_call() => token.1.clone(),
                "POST" => submit_answer.1.clone(),
                _ => check.1.clone(),
            })
        })
        .await;
        let client = server.client();
        assert_eq!(submit(&client).await, accepted("w-1"), "{form}");
        let ready = status(&client, "w-1").await;
        assert!(matches!(ready, StatusOutcome::Ready { .. }), "{form}: {ready:?}");
        assert_eq!(server.token_calls().len(), 1, "{form}");
        assert_eq!(server.calls().len(), 2, "{form}");
    }
}

#[tokio::test]
async fn a_body_that_never_ends_is_read_when_its_object_is_whole() {
    let body = body_of(SUBMIT);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len() + 1);
    let server = Server::with_token(move |_, _| Reply::Keep(head.clone())).await;
    let hasty = Api { request_timeout: Duration::from_millis(400), ..api(server.port) };
    assert_eq!(submit(&client(&hasty)).await, accepted("w-1"));
}

/// What is bounded stays bounded, also after decompression.
#[tokio::test]
async fn an_answer_that_grows_when_it_is_decompressed_is_cut() {
    let mut zipped = GzEncoder::new(Vec::new(), Compression::default());
    zipped.write_all(b"{\"status\":\"SUCCESS\",\"whilter-request-id\":\"w-1\",\"x\":\"").unwrap();
    zipped.write_all(&[b'x'; 4 << 20]).unwrap();
    zipped.write_all(b"\"}").unwrap();
    let zipped = zipped.finish().unwrap();
    assert!(zipped.len() < 64 * 1024);
    let length = zipped.len();
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {length}\r\n\r\n");
    let bytes = [head.into_bytes(), zipped].concat();
    let server = Server::with_token(move |_, _| Reply::Bytes(bytes.clone())).await;
    let outcome = submit(&server.client()).await;
    let SubmitOutcome::NotUnderstood { detail, .. } = outcome else { panic!("{outcome:?}") };
    assert!(detail.contains("longer than api.max_response_bytes"), "{detail}");
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
    for (code, is_there) in
        [("200 OK", true), ("404 No", true), ("403 No", true), ("500 Oh", false), ("502 Oh", false)]
    {
        let server = Server::with_token(move |_, _| Reply::Keep(answer(code, "<html>"))).await;
        let deadline = Instant::now() + 2 * PATIENCE;
        let answers = server.client().answers("w-1", deadline).await;
        assert_eq!(answers.is_ok(), is_there, "{code}: {answers:?}");
        assert_eq!(server.calls()[0].target, "/status/w-1");
    }
}
