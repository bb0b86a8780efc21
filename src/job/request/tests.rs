//! The rules for a body: one row for each kind of fault, with the exact text.

use serde_json::{Value, json};

use super::*;

const VALID: &str =
    r#"{"client-request-id":"a","customer-id":"c","use-case-id":"u","user-id":"1"}"#;

fn parse(body: impl AsRef<[u8]>) -> Parsed {
    Request::parse(body.as_ref(), UnknownFields::Reject)
}

fn problems(body: impl AsRef<[u8]>) -> String {
    parse(body).request.map_or_else(|problems| problems.to_string(), |_| String::new())
}

/// A valid body with these members written behind its own.
fn with(members: &str) -> String {
    format!("{},{members}}}", VALID.trim_end_matches('}'))
}

#[test]
fn a_valid_body_is_kept_byte_for_byte() {
    let body = with(
        r#" "reference-record-id":"r", "phrase-texts":["\u00fc\n",""],"image-texts":[],
           "video-texts":null,"image-urls":["https://example.com/a b?c=d#e", "HTTP://[::1]:8080"],
           "video-urls":null"#,
    );
    let parsed = parse(&body);
    let request = parsed.request.unwrap();
    assert_eq!(parsed.id.as_ref(), Some(request.id()));
    assert_eq!(request.id().as_str(), "a");
    assert_eq!(request.customer_id(), "c");
    assert_eq!(request.use_case_id(), "u");
    assert_eq!(request.user_id(), "1");
    assert_eq!(request.body(), body.as_bytes());
    assert_eq!(request.into_body(), body.as_bytes());
}

#[test]
fn every_fault_of_a_field_is_named() {
    let table = [
        (r#""reference-record-id":7"#, "reference-record-id: must be a string, found a number"),
        (r#""image-texts":"x""#, "image-texts: must be an array of strings, found a string"),
        (r#""video-texts":{"a":[1]}"#, "video-texts: must be an array of strings, found an object"),
        (
            r#""phrase-texts":["a",null,["b"]]"#,
            "phrase-texts[1]: must be a string, found null; \
             phrase-texts[2]: must be a string, found an array",
        ),
        (r#""image-urls":[true]"#, "image-urls[0]: must be a string, found a boolean"),
        (
            r#""video-urls":["http://a/","ftp://a/"]"#,
            "video-urls[1]: must be an http or https URL with a host",
        ),
        (r#""user-id":"2""#, "user-id: repeated"),
        (r#""video-urls":null,"video-urls":null"#, "video-urls: repeated"),
        (r#""user\u002did":"2""#, "user-id: repeated"),
        (r#""colour":1"#, "colour: unknown field"),
        (r#""":1"#, r#""": unknown field"#),
        (r#""phrase_texts":[]"#, "phrase_texts: unknown field; did you mean \"phrase-texts\"?"),
        (r#""userID":1"#, "userID: unknown field; did you mean \"user-id\"?"),
        (r#""image-url":1"#, "image-url: unknown field; did you mean \"image-urls\"?"),
        (
            r#""clientRequestId":1"#,
            "clientRequestId: unknown field; did you mean \"client-request-id\"?",
        ),
        (r#""a":1,"a":2"#, "a: unknown field; a: repeated"),
        (r#""\u001b[31m":1"#, r"\u{1b}[31m: unknown field"),
    ];
    for (members, expected) in table {
        assert_eq!(problems(with(members)), expected, "{members}");
    }
}

#[test]
fn every_fault_of_a_required_field_is_named() {
    let table = [
        (r#""user-id":"1""#, "", "user-id: missing"),
        (r#""1""#, "null", "user-id: missing"),
        (r#""1""#, r#""""#, "user-id: must not be empty"),
        (r#""1""#, "-1", "user-id: must be a string, found a number"),
        (r#""c""#, "1.5", "customer-id: must be a string, found a number"),
        (r#""u""#, "{}", "use-case-id: must be a string, found an object"),
        (r#""a""#, r#""""#, "client-request-id: must not be empty"),
        (r#""a""#, r#""..""#, "client-request-id: must not be \".\" or \"..\""),
        (
            r#""a""#,
            r#"" ""#,
            "client-request-id: must consist of visible ASCII characters without spaces",
        ),
        (
            r#""a""#,
            r#""\u0000""#,
            "client-request-id: must consist of visible ASCII characters without spaces",
        ),
    ];
    for (from, to, expected) in table {
        let body = VALID.replace(from, to).replace(",}", "}");
        assert_eq!(problems(&body), expected, "{body}");
    }
    assert_eq!(
        problems("{}"),
        "client-request-id: missing; customer-id: missing; use-case-id: missing; user-id: missing"
    );
}

#[test]
fn names_have_a_largest_length_in_bytes() {
    // Two bytes each.
    let longest = "é".repeat(NAME_MAX_BYTES / 2);
    let whole = with(r#""reference-record-id":"r""#);
    for (name, value) in
        [("customer-id", "c"), ("use-case-id", "u"), ("user-id", "1"), ("reference-record-id", "r")]
    {
        let of = |text: &str| {
            let member = |value: &str| format!("\"{name}\":\"{value}\"");
            whole.replace(&member(value), &member(text))
        };
        assert_eq!(problems(of(&longest)), "", "{name}");
        let too_long = of(&format!("{longest}x"));
        let expected = format!("{name}: must be at most 256 bytes long, has 257");
        assert_eq!(problems(too_long), expected);
    }
}

#[test]
fn what_is_no_object_is_said_with_its_place() {
    let table: [(&[u8], &str); 15] = [
        (b"", "not JSON: EOF while parsing a value at line 1 column 0"),
        (b"hello", "not JSON: expected value at line 1 column 1"),
        (b"\0", "not JSON: expected value at line 1 column 1"),
        (b"\xff", "not JSON: expected value at line 1 column 1"),
        (br#"{"user-id":}"#, "not JSON: expected value at line 1 column 12"),
        (b"{\"a\xff\":1}", "not JSON: invalid unicode code point at line 1 column 4"),
        (
            b"{\"a\0\":1}",
            "not JSON: control character (\\u0000-\\u001F) found while parsing a string \
             at line 1 column 4",
        ),
        (br#"{"user-id":"\ud800"}"#, "not JSON: unexpected end of hex escape at line 1 column 19"),
        (br#"{"user-id":1e999}"#, "not JSON: number out of range at line 1 column 16"),
        (b"{} {}", "not JSON: trailing characters at line 1 column 4"),
        (b"[]", "must be a JSON object, found an array"),
        (b"\"secret\"", "must be a JSON object, found a string"),
        (b"\"secret\" x", "not JSON: trailing characters at line 1 column 10"),
        (b" null", "must be a JSON object, found null"),
        (b"[1", "not JSON: EOF while parsing a list at line 1 column 2"),
    ];
    for (body, expected) in table {
        let text = String::from_utf8_lossy(body);
        assert_eq!(problems(body), format!("body: {expected}"), "{text}");
    }
}

#[test]
fn faults_before_broken_json_are_listed_and_fields_behind_it_are_not_called_missing() {
    let body = r#"{"user-id":1,"customer-id":"c" "use-case-id":"u"}"#;
    let expected = "user-id: must be a string, found a number; \
                    body: not JSON: expected `,` or `}` at line 1 column 32";
    assert_eq!(problems(body), expected);
}

#[test]
fn deep_nesting_ends_as_a_problem_wherever_it_stands() {
    let deep = "[".repeat(20_000);
    let closed = format!("{deep}{}", "]".repeat(20_000));
    let bodies = [
        deep.clone(),
        closed.clone(),
        "{\"a\":".repeat(20_000),
        with(&format!("\"phrase-texts\":{deep}")),
        with(&format!("\"user-id\":{closed}")),
        with(&format!("\"unknown\":{closed}")),
    ];
    for body in &bodies {
        for unknown in [UnknownFields::Reject, UnknownFields::Pass] {
            let problems = Request::parse(body.as_bytes(), unknown).request.unwrap_err();
            let expected = "not JSON: recursion limit exceeded";
            assert!(problems.to_string().contains(expected), "{problems}");
        }
    }
}

#[test]
fn an_id_is_known_although_the_rest_is_invalid() {
    let id = |body: &str| parse(body).id.map(|id| id.to_string());
    let known = Some("a".to_owned());
    assert_eq!(id(r#"{"client-request-id":"a"}"#), known);
    assert_eq!(id(r#"{"x":[1,{}],"client-request-id":"a","user-id":7}"#), known);
    assert_eq!(id(r#"{"client-request-id":"a","user-id""#), known);
    assert_eq!(id(r#"{"client-request-id":"a"} and more"#), known);
    assert_eq!(id(r#"{"client-request-id":"a"#), None);
    assert_eq!(id(r#"{"client-request-id":"a b"}"#), None);
    assert_eq!(id(r#"["client-request-id","a"]"#), None);
    // Which of two ids was meant cannot be known.
    assert_eq!(id(r#"{"client-request-id":"a","client-request-id":"b"}"#), None);
    assert_eq!(id(r#"{"client-request-id":1,"client-request-id":"b"}"#), None);
}

#[test]
fn a_body_has_a_largest_size_and_beyond_it_still_an_id() {
    let blank = |length: usize| format!("{VALID}{}", " ".repeat(length - VALID.len()));
    assert_eq!(problems(blank(BODY_MAX_BYTES)), "");
    let parsed = parse(blank(BODY_MAX_BYTES + 1));
    let expected = "body: must be at most 262144 bytes long, has 262145";
    assert_eq!(parsed.request.unwrap_err().to_string(), expected);
    assert_eq!(parsed.id.unwrap().as_str(), "a");
}

#[test]
fn a_url_is_http_or_https_with_a_host() {
    let long = format!("https://example.com/{}", "x".repeat(URL_MAX_BYTES));
    let bad = [
        "",
        "example.com/a.jpg",
        "//example.com",
        "http:example.com",
        "http://",
        "https:///a",
        "http://\\a",
        "http://?a",
        "http://user@",
        "http://a:99999",
        "http://a b/",
        " http://a",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:,x",
        "s3://bucket/a",
        "http://a\nb",
        long.as_str(),
    ];
    for url in bad {
        let members = format!("\"image-urls\":[{}]", json!(url));
        assert!(problems(with(&members)).starts_with("image-urls[0]: must be "), "{url}");
    }
    for url in ["http://a", "https://ex-ample.com:8443/p/ä b.jpg?x=http://y", "HTTPS://1.2.3.4/"] {
        assert_eq!(problems(with(&format!("\"video-urls\":[{}]", json!(url)))), "", "{url}");
    }
}

#[test]
fn unknown_fields_are_passed_where_that_is_wanted() {
    let pass = |body: &str| Request::parse(body.as_bytes(), UnknownFields::Pass).request;
    let body = with(r#""phrase_texts":[],"other":{"x":null}"#);
    assert_eq!(pass(&body).unwrap().body(), body.as_bytes());
    let repeated = pass(&with(r#""a":1,"a":2"#)).unwrap_err();
    assert_eq!(repeated.to_string(), "a: repeated");
}

#[test]
fn problems_are_bounded_whatever_was_written() {
    let numbers = format!("\"phrase-texts\":[{}1]", "1,".repeat(99_999));
    let problems_found = parse(with(&numbers)).request.unwrap_err();
    assert_eq!(problems_found.listed().len(), 20);
    assert_eq!(problems_found.unlisted(), 99_980);
    assert!(problems_found.to_string().ends_with("found a number; and 99980 more"));

    let name = "\u{202e}ä".repeat(10_000);
    let shown = problems(with(&format!("\"{name}\":1")));
    assert!(shown.len() < 500 && !shown.contains('\u{202e}'), "{shown}");
    assert!(shown.ends_with("…: unknown field"), "{shown}");
}

#[test]
fn faults_of_two_readers_are_bounded_together() {
    let mut first = Problems::default();
    let mut second = Problems::default();
    for index in 0..15 {
        first.add(format_args!("a{index}"), "bad");
        second.add(format_args!("b{index}"), "bad");
    }
    first.append(second);
    assert_eq!((first.listed().len(), first.unlisted()), (20, 10));
    assert_eq!(first.listed()[19].to_string(), "b4: bad");
}

#[test]
fn the_builder_writes_what_the_rules_accept() {
    let build = || {
        Request::new(JobId::new("a").unwrap(), "c", "u", "1")
            .video_urls(["https://example.com/v"])
            .image_urls(vec!["https://example.com/i".to_owned()])
            .video_texts(["v"])
            .image_texts(["i"])
            .phrase_texts(["p", "\"ü\n"])
            .reference_record_id("r")
    };
    let request = build().build().unwrap();
    let expected = json!({
        "client-request-id": "a", "customer-id": "c", "use-case-id": "u", "user-id": "1",
        "reference-record-id": "r", "phrase-texts": ["p", "\"ü\n"], "image-texts": ["i"],
        "video-texts": ["v"], "image-urls": ["https://example.com/i"],
        "video-urls": ["https://example.com/v"],
    });
    assert_eq!(serde_json::from_slice::<Value>(request.body()).unwrap(), expected);
    assert_eq!(build().build().unwrap().body(), request.body());

    let invalid = Request::new(JobId::new("a").unwrap(), "", "u", "1").image_urls(["x"]).build();
    assert_eq!(
        invalid.unwrap_err().to_string(),
        "customer-id: must not be empty; image-urls[0]: must be an http or https URL with a host"
    );
}
