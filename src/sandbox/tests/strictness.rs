//! What the sandbox refuses: bodies, credentials, paths.

use super::*;

/// The required fields, to which a case adds.
const REQUIRED: &str =
    r#""client-request-id":"a","customer-id":"b","use-case-id":"c","user-id":"d""#;

#[tokio::test]
async fn a_body_holds_the_documented_fields_once_each_and_of_their_types() {
    let caller = Caller::start(quiet()).await;
    let texts = ["phrase-texts", "image-texts", "video-texts", "image-urls", "video-urls"];
    let mut bad: Vec<(String, String)> = vec![
        (String::new(), "the body is not a JSON object".into()),
        ("{".into(), "the body is not a JSON object".into()),
        ("[]".into(), "the body is not a JSON object".into()),
        ("null".into(), "the body is not a JSON object".into()),
        (format!("{{{REQUIRED}}} {{}}"), "the body is not a JSON object".into()),
        (format!("{{{REQUIRED},\"priority\":\"1\"}}"), "priority: unknown field".into()),
        (format!("{{{REQUIRED},\"User-Id\":\"d\"}}"), "User-Id: unknown field".into()),
        (format!("{{{REQUIRED},\"user-id\":\"d\"}}"), "user-id: repeated field".into()),
        (format!("{{{REQUIRED},\"us\\u0065r-id\":\"d\"}}"), "user-id: repeated field".into()),
    ];
    for name in ["client-request-id", "customer-id", "use-case-id", "user-id"] {
        let mut fields: Vec<&str> = REQUIRED.split(',').collect();
        fields.retain(|field| !field.starts_with(&format!("\"{name}\"")));
        let others = fields.join(",");
        bad.push((format!("{{{others}}}"), format!("{name}: required field is missing")));
        bad.push((format!("{{{others},\"{name}\":\"\"}}"), format!("{name}: must not be empty")));
        for value in ["null", "1", "[\"a\"]"] {
            let problem = format!("{name}: must be a string");
            bad.push((format!("{{{others},\"{name}\":{value}}}"), problem));
        }
    }
    for value in ["null", "7", "[\"a\"]"] {
        let body = format!("{{{REQUIRED},\"reference-record-id\":{value}}}");
        bad.push((body, "reference-record-id: must be a string".into()));
    }
    for name in texts {
        for value in ["null", "\"a\"", "[1]", "[\"a\",null]", "{}"] {
            let problem = format!("{name}: must be an array of strings");
            bad.push((format!("{{{REQUIRED},\"{name}\":{value}}}"), problem));
        }
    }
    for (body, problem) in &bad {
        let received = caller.call("POST /video/demo", body).await.unwrap();
        assert_eq!(received.code(), 400, "{body}");
        assert_eq!(received.text("status"), "ERROR");
        let message = received.text("message");
        assert!(
            message.starts_with(&format!("Bad request, check the input: {problem}")),
            "{message}"
        );
    }
    let good = [String::new(), r#","reference-record-id":"""#.into()].into_iter().chain(
        texts
            .iter()
            .flat_map(|name| [r#"[]"#, r#"["","ü"]"#].map(|value| format!(",\"{name}\":{value}"))),
    );
    for more in good {
        let received = caller.call("POST /video/demo", &format!(" {{{REQUIRED}{more}}}\n")).await;
        assert_eq!(received.unwrap().code(), 200, "{more}");
    }
    assert_eq!(caller.sandbox.stats().posts, caller.sandbox.stats().accepted);
}

#[tokio::test]
async fn a_body_of_a_mebibyte_is_read_and_a_larger_one_is_not() {
    let caller = Caller::start(quiet()).await;
    let body = |length: usize| format!("{{{REQUIRED}{}}}", " ".repeat(length - REQUIRED.len() - 2));
    let at_limit = caller.call("POST /video/demo", &body(1024 * 1024)).await.unwrap();
    assert_eq!(at_limit.code(), 200);
    for length in [1024 * 1024 + 1, 5 * 1024 * 1024] {
        let received = caller.call("POST /video/demo", &body(length)).await.unwrap();
        assert_eq!(received.code(), 413);
        assert_eq!(received.text("status"), "ERROR");
    }
    assert_eq!(caller.sandbox.posts_of("a"), 1);
}

#[tokio::test]
async fn a_token_is_given_for_the_right_credentials_only() {
    let options = Options { client_secret: "s&c r+t".to_owned(), ..quiet() };
    let sandbox = start(options).await.unwrap();
    for (query, code) in [
        ("?clientId=sandbox-client&clientSecret=s%26c%20r%2Bt", 200),
        ("?clientSecret=s%26c+r%2Bt&clientId=sandbox-client", 200),
        ("?clientId=sandbox-client&clientSecret=sandbox-secret", 401),
        ("?clientId=other&clientSecret=s%26c%20r%2Bt", 401),
        ("?clientId=sandbox-client", 400),
        ("?clientid=sandbox-client&clientsecret=s%26c%20r%2Bt", 400),
        ("", 400),
    ] {
        let received = call(sandbox.addr(), &format!("GET /getToken{query}"), &[], "").await;
        let received = received.unwrap();
        assert_eq!(received.code(), code, "{query}");
        assert!(code == 200 || received.text("status") == "ERROR", "{query}");
    }
}

#[tokio::test]
async fn submits_and_status_checks_need_the_key_and_a_token() {
    let caller = Caller::start(quiet()).await;
    let transaction = caller.accepted("job").await;
    let status = format!("GET /status/{transaction}");
    let token = caller.bearer.rsplit_once(' ').unwrap().1;
    let (key, bearer) = (caller.key.as_str(), caller.bearer.as_str());
    let basic = format!("Authorization: Basic {token}");
    let bare = format!("Authorization: {token}");
    for headers in [
        &[][..],
        &[key],
        &[bearer],
        &["x-api-key: other", bearer],
        &[key, "Authorization: Bearer other"],
        &[key, "Authorization: Bearer "],
        &[key, &basic],
        &[key, &bare],
    ] {
        for (line, body) in [("POST /video/demo", body_of("other")), (&status, String::new())] {
            let received = call(caller.sandbox.addr(), line, headers, &body).await.unwrap();
            assert_eq!(received.code(), 401, "{line} {headers:?}");
            assert_eq!(received.text("status"), "ERROR");
        }
    }
    assert_eq!(caller.sandbox.accepted_of("other"), 0);
    assert_eq!(caller.sandbox.posts_of("other"), 8, "refused submits were posted all the same");
}

#[tokio::test]
async fn other_paths_are_404_and_other_methods_405() {
    let caller = Caller::start(quiet()).await;
    for (line, code) in [
        ("GET /", 404),
        ("POST /video", 404),
        ("POST /video/demo/", 404),
        ("POST /Video/Demo", 404),
        ("GET /gettoken", 404),
        ("GET /status", 404),
        ("GET /sandbox/other", 404),
        ("POST /getToken", 405),
        ("GET /video/demo", 405),
        ("DELETE /status/a", 405),
        ("POST /sandbox/stats", 405),
        ("GET /sandbox/faults", 405),
    ] {
        let received = caller.call(line, "").await.unwrap();
        assert_eq!(received.code(), code, "{line}");
        assert_eq!(received.text("status"), "ERROR", "{line}");
        assert_eq!(received.head.contains("\r\nallow: "), code == 405, "{line}");
    }
}
