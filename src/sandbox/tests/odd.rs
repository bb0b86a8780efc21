//! Good answers that are written oddly, byte by byte.

use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::Map;

use super::*;

/// What came over the wire, head and body.
struct Raw {
    head: String,
    body: Vec<u8>,
}

/// A token, a submit and a check under this rule. Their answers hang on the seed alone, but for
/// that of the submit, whose token is the caller's.
async fn heard(rule: Option<&str>) -> Vec<Raw> {
    let rules = rule.into_iter().map(|rule| rule.parse().unwrap());
    let caller = Caller::start(quiet()).await;
    caller.sandbox.set(|options| options.faults = rules.collect());
    let headers = [caller.key.as_str(), caller.bearer.as_str()];
    let mut heard = Vec::new();
    for (line, body) in [
        ("GET /getToken?clientId=sandbox-client&clientSecret=sandbox-secret", String::new()),
        ("POST /video/demo", body_of("job")),
        ("GET /status/sandbox-7-0", String::new()),
    ] {
        let received = bytes(caller.sandbox.addr(), line, &headers, &body).await;
        let end = received.windows(4).position(|some| some == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(received[..end].to_vec()).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        heard.push(Raw { head, body: received[end + 4..].to_vec() });
    }
    heard
}

/// Each answer under this rule beside the same without it.
async fn pairs(odd: &str) -> Vec<(Raw, Raw)> {
    let (plain, odd) = (heard(None).await, heard(Some(&format!("answer={odd}"))).await);
    plain.into_iter().zip(odd).collect()
}

fn members(body: &[u8]) -> Map<String, Value> {
    serde_json::from_slice(body).unwrap()
}

fn announced(raw: &Raw) -> usize {
    let mut lines = raw.head.lines();
    lines.find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_byte_order_mark_comes_before_the_object_and_something_after_it() {
    for (plain, odd) in pairs("bom").await {
        assert_eq!(odd.body, [&b"\xef\xbb\xbf"[..], &plain.body].concat());
        assert_eq!(announced(&odd), odd.body.len());
    }
    for (plain, odd) in pairs("trailing").await {
        let after = odd.body.strip_prefix(&plain.body[..]).unwrap();
        assert_eq!(after, b"\n<!-- 12 ms -->");
        assert_eq!(announced(&odd), odd.body.len());
    }
}

#[tokio::test]
async fn a_message_in_latin_1_is_the_only_difference() {
    for (plain, odd) in pairs("latin1").await {
        let (mut plain, lossy) = (members(&plain.body), String::from_utf8_lossy(&odd.body));
        assert_eq!(lossy.matches('\u{fffd}').count(), 1, "{lossy}");
        plain.insert("message".to_owned(), "f\u{fffd}r Sie".into());
        assert_eq!(members(lossy.as_bytes()), plain);
        assert!(odd.body.windows(7).any(|some| some == b"f\xfcr Sie"), "{lossy}");
    }
}

#[tokio::test]
async fn each_key_stands_twice_and_the_last_is_right() {
    for (plain, odd) in pairs("twice").await {
        let text = String::from_utf8(odd.body).unwrap();
        for key in members(&plain.body).keys() {
            assert_eq!(text.matches(&format!("\"{key}\":")).count(), 2, "{text}");
            assert!(text.contains(&format!("\"{key}\":\"ERROR\",")), "{text}");
        }
        let right = String::from_utf8(plain.body).unwrap();
        assert!(text.ends_with(&right[1..]), "{text}");
    }
}

#[tokio::test]
async fn what_is_odd_in_a_head_leaves_the_body_as_it_is() {
    for (plain, odd) in pairs("php-warning").await {
        assert!(odd.head.lines().any(|line| line == "PHP Warning: x"), "{}", odd.head);
        assert!(!odd.head.contains("php-warning"), "{}", odd.head);
        assert_eq!(odd.body, plain.body);
    }
    for (plain, odd) in pairs("headers").await {
        assert_eq!(odd.head.lines().count(), plain.head.lines().count() + 300);
        assert_eq!(odd.body, plain.body);
    }
}

#[tokio::test]
async fn a_body_is_compressed_though_nobody_asked() {
    for (plain, odd) in pairs("gzip").await {
        assert!(odd.head.lines().any(|line| line == "content-encoding: gzip"), "{}", odd.head);
        let mut body = Vec::new();
        GzDecoder::new(&odd.body[..]).read_to_end(&mut body).unwrap();
        assert_eq!(body, plain.body);
    }
}

#[tokio::test]
async fn a_connection_ends_after_the_whole_object_and_before_the_announced_end() {
    for (plain, odd) in pairs("unended").await {
        assert_eq!(odd.body, plain.body);
        assert!(announced(&odd) > odd.body.len(), "{}", odd.head);
    }
}

#[tokio::test]
async fn an_answer_that_is_no_good_one_is_never_odd() {
    let caller = Caller::start(quiet()).await;
    caller.sandbox.set(|options| options.faults = vec!["answer=bom".parse().unwrap()]);
    let received = caller.status("unknown").await.unwrap();
    assert_eq!((received.code(), received.text("status").as_str()), (404, "ERROR"));
}
