//! The documented exchanges (docs/contract.md, section 1), kept verbatim as fixtures: `..` stands
//! for any text, `<key>`, `<token>` and `<transaction-id>` for what the documentation calls so.

use super::*;

/// A documented exchange: a request and the answer to it.
pub(super) struct Exchange {
    pub(super) line: &'static str,
    headers: Vec<&'static str>,
    pub(super) body: &'static str,
    pub(super) code: u16,
    pub(super) answer: &'static str,
}

/// Reads a fixture: request line, headers, an empty line, body, `=> code`, the answer's body.
pub(super) fn exchange(fixture: &'static str) -> Exchange {
    let (request, answer) = fixture.trim_end().split_once("=> ").unwrap();
    let (code, answer) = answer.split_once('\n').unwrap();
    let (head, body) = request.split_once("\n\n").unwrap();
    let mut head = head.lines();
    Exchange {
        line: head.next().unwrap(),
        headers: head.collect(),
        body: body.trim_end(),
        code: code.parse().unwrap(),
        answer,
    }
}

/// Whether a text is the documented one, byte for byte but for the `..`.
pub(super) fn matches(text: &str, documented: &str) -> bool {
    let Some((before, rest)) = documented.split_once("..") else { return text == documented };
    let Some(text) = text.strip_prefix(before) else { return false };
    let end = text.find('"').unwrap_or(text.len());
    end > 0 && matches(&text[end..], rest)
}

impl Exchange {
    /// Makes the documented call and holds the answer against the documented one.
    async fn hold(&self, caller: &Caller, transaction: &str) -> Received {
        let line = self
            .line
            .replace("clientId=..", "clientId=sandbox-client")
            .replace("clientSecret=..", "clientSecret=sandbox-secret")
            .replace("<transaction-id>", transaction);
        let token = caller.bearer.rsplit_once(' ').unwrap().1;
        let fill = |header: &&str| header.replace("<key>", "sandbox-key").replace("<token>", token);
        let headers: Vec<String> = self.headers.iter().map(fill).collect();
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let received = call(caller.sandbox.addr(), &line, &headers, self.body).await.unwrap();
        assert_eq!(received.code(), self.code);
        assert!(received.head.contains("content-type: application/json"), "{}", received.head);
        assert!(matches(&received.body, self.answer), "{} is not {}", received.body, self.answer);
        received
    }
}

#[tokio::test]
async fn the_documented_exchanges_are_held_verbatim() {
    let caller = Caller::start(quiet()).await;
    caller.sandbox.set(|options| options.ready_after = Duration::from_secs(3600));
    let fixture = exchange(include_str!("../../../tests/fixtures/sandbox/token.http"));
    fixture.hold(&caller, "").await;
    let fixture =
        exchange(include_str!("../../../tests/fixtures/sandbox/submit-required-only.http"));
    fixture.hold(&caller, "").await;
    let fixture = exchange(include_str!("../../../tests/fixtures/sandbox/submit.http"));
    let transaction = fixture.hold(&caller, "").await.text("whilter-request-id");
    let fixture = exchange(include_str!("../../../tests/fixtures/sandbox/status-waiting.http"));
    fixture.hold(&caller, &transaction).await;
    caller.sandbox.set(|options| options.ready_after = Duration::ZERO);
    let fixture = exchange(include_str!("../../../tests/fixtures/sandbox/status-ready.http"));
    let ready = fixture.hold(&caller, &transaction).await;
    assert!(ready.text("video-url").ends_with(&format!("/{transaction}.mp4")));
    assert!(ready.text("image-url").ends_with(&format!("/{transaction}.jpg")));
}

#[test]
fn a_text_that_differs_in_one_byte_is_not_the_documented_one() {
    let documented = r#"{"a":"..","b":1}"#;
    assert!(matches(r#"{"a":"x.y","b":1}"#, documented));
    for other in [r#"{"a":"","b":1}"#, r#"{"a":"x","b":2}"#, r#"{"a":"x", "b":1}"#, r#"{"a":"x"#] {
        assert!(!matches(other, documented), "{other}");
    }
}

#[tokio::test]
async fn a_transaction_is_one_percent_encoded_segment() {
    let caller = Caller::start(quiet()).await;
    let transaction = caller.accepted("job").await;
    let encoded: String = transaction.bytes().map(|byte| format!("%{byte:02X}")).collect();
    assert_eq!(caller.status(&encoded).await.unwrap().code(), 200);
    for unknown in ["other", "a%2Fb", "a%3Fb%20c"] {
        let received = caller.status(unknown).await.unwrap();
        assert_eq!(received.code(), 404, "{unknown}");
        assert_eq!(received.text("message"), "Transaction not found");
    }
    for elsewhere in ["", "a/b", "%FF", &format!("{transaction}/")] {
        let received = caller.status(elsewhere).await.unwrap();
        assert_eq!(received.code(), 404, "{elsewhere}");
        assert_eq!(received.text("message"), "Endpoint not found, check the URL");
    }
}

#[tokio::test]
async fn the_same_request_twice_is_two_videos_and_counted() {
    let caller = Caller::start(quiet()).await;
    let (first, second) = (caller.accepted("twice").await, caller.accepted("twice").await);
    assert_ne!(first, second);
    caller.accepted("once").await;
    caller.call("POST /video/demo", "{}").await.unwrap();
    caller.status(&first).await.unwrap();
    caller.call("GET /elsewhere", "").await.unwrap();

    let address = caller.sandbox.addr();
    let page = call(address, "GET /sandbox/stats?ids=1", &[], "").await.unwrap().json();
    let expected = serde_json::json!({
        "seed": 7,
        "calls": {
            "token": {"200": 1},
            "submit": {"200": 3, "400": 1},
            "status": {"200": 1},
            "other": {"404": 1},
        },
        "pushes": {
            "sent": 0, "late": 0, "reversed": 0, "early": 0, "repeated": 0, "forged": 0, "lost": 0,
        },
        "posts": 3,
        "max-posts-per-id": 2,
        "accepted": 3,
        "accepted-ids": 2,
        "duplicates": 1,
        "peak-concurrency": 1,
        "ids": {
            "once": {"posts": 1, "accepted": 1, "checks": 0},
            "twice": {"posts": 2, "accepted": 2, "checks": 1},
        },
    });
    assert_eq!(page, expected);
    let page = call(address, "GET /sandbox/stats", &[], "").await.unwrap().json();
    assert_eq!(page.get("ids"), None);

    assert_eq!(caller.sandbox.posts_of("twice"), 2);
    assert_eq!(caller.sandbox.accepted_of("twice"), 2);
    assert_eq!(caller.sandbox.body_of("twice").as_deref(), Some(body_of("twice").as_bytes()));
    assert_eq!(caller.sandbox.posts_of("never"), 0);
    assert_eq!(caller.sandbox.body_of("never"), None);
    assert_eq!(caller.sandbox.stats().token_calls(), 1);
}

#[tokio::test]
async fn a_stopped_sandbox_listens_no_more() {
    let sandbox = start(quiet()).await.unwrap();
    let addr = sandbox.addr();
    let mut idle = TcpStream::connect(addr).await.unwrap();
    sandbox.stop().await;
    assert!(TcpStream::connect(addr).await.is_err());
    let read = timeout(DEADLINE, idle.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "open connections end as well");
}
