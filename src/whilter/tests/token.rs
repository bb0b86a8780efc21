//! One token for all: single flight, renewal, and what a failed token call does.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::*;

const CALLERS: usize = 50;

async fn submit_at_once(client: &Client) -> Vec<SubmitOutcome> {
    let spawn = |_| {
        let client = client.clone();
        tokio::spawn(async move { submit(&client).await })
    };
    let calls: Vec<_> = (0..CALLERS).map(spawn).collect();
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(call.await.unwrap());
    }
    outcomes
}

async fn server_with(token_answer: &'static str) -> Server {
    Server::start(move |seen, _| {
        let answer =
            if seen.is_token_call() { answer("200 OK", token_answer) } else { exchange(SUBMIT).1 };
        Reply::Keep(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_callers_are_one_token_call() {
    let server = Server::with_token(|_, _| Reply::Keep(exchange(SUBMIT).1)).await;
    let outcomes = submit_at_once(&server.client()).await;
    assert!(outcomes.iter().all(|it| *it == accepted("w-1")), "{outcomes:?}");
    assert_eq!((server.token_calls().len(), server.calls().len()), (1, CALLERS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_callers_share_one_failure() {
    for (code, refused) in [("500 Oh", false), ("403 Forbidden", true), ("302 Found", false)] {
        let server = Server::start(move |_, _| Reply::Keep(answer(code, "{}"))).await;
        let client = server.client();
        for outcome in submit_at_once(&client).await {
            let expected = if refused {
                matches!(outcome, SubmitOutcome::Refused { .. })
            } else {
                matches!(outcome, SubmitOutcome::NotSent { .. })
            };
            assert!(expected, "{code}: {outcome:?}");
        }
        assert_eq!(server.token_calls().len(), 1, "{code}");
        // The next caller within the second gets the same answer without a call.
        assert_ne!(status(&client, "w-1").await, StatusOutcome::NotYet);
        assert_eq!(server.token_calls().len(), 1, "{code}");
    }
}

#[tokio::test]
async fn an_answer_without_a_token_is_a_failure_of_the_moment() {
    for body in ["", "<html>", "[]", "{}", r#"{"access_token":""}"#, r#"{"access_token":"a\nb"}"#] {
        let server = server_with(body).await;
        let outcome = submit(&server.client()).await;
        let waits = matches!(outcome, SubmitOutcome::NotSent { .. });
        assert!(waits, "{body}: {outcome:?}");
        assert!(server.calls().is_empty());
    }
}

#[tokio::test]
async fn a_token_without_a_sensible_life_is_kept_for_a_while() {
    for life in ["null", r#""soon""#, "1e300", r#""3600""#, "0.5e4"] {
        let body = format!(r#"{{"access_token":"the-token","expires_in":{life}}}"#);
        let server = server_with(body.leak()).await;
        let client = server.client();
        for _ in 0..3 {
            assert_eq!(submit(&client).await, accepted("w-1"));
        }
        assert_eq!(server.token_calls().len(), 1, "{life}");
    }
}

#[tokio::test]
async fn a_token_without_life_is_used_once() {
    for life in ["0", "-1", r#""0""#, "-1e300"] {
        let body = format!(r#"{{"access_token":"the-token","expires_in":{life}}}"#);
        let server = server_with(body.leak()).await;
        let client = server.client();
        for _ in 0..3 {
            assert_eq!(submit(&client).await, accepted("w-1"));
        }
        assert_eq!(server.token_calls().len(), 3, "{life}");
    }
}

/// Turns the clock forward. No call may be in flight: its time would be over.
async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

async fn until_token_calls_are(server: &Server, expected: usize) {
    let deadline = Instant::now() + PATIENCE;
    while server.token_calls().len() != expected {
        assert!(Instant::now() < deadline, "{} token calls", server.token_calls().len());
        tokio::task::yield_now().await;
    }
}

/// In its last tenth of life a token is renewed behind the callers' backs, and a fault of that
/// renewal bothers nobody.
#[tokio::test]
async fn a_token_is_renewed_ahead_of_its_end() {
    let server = Server::start(move |seen, earlier| {
        let body = format!(r#"{{"access_token":"token-{earlier}","expires_in":100}}"#);
        Reply::Keep(match (seen.is_token_call(), earlier) {
            (true, 1) => answer("500 Oh", ""),
            (true, _) => answer("200 OK", &body),
            (false, _) => exchange(SUBMIT).1,
        })
    })
    .await;
    let client = server.client();
    for (seconds, token_calls) in [(0, 1), (85, 1), (6, 2), (2, 3)] {
        pass(seconds).await;
        assert_eq!(submit(&client).await, accepted("w-1"));
        until_token_calls_are(&server, token_calls).await;
    }
    // Past the end of the first token: the new one serves.
    pass(10).await;
    assert_eq!(submit(&client).await, accepted("w-1"));
    let bearers: Vec<_> =
        server.calls().iter().map(|it| it.header("authorization")[0].to_owned()).collect();
    assert_eq!(bearers[..4], ["Bearer token-0"; 4]);
    assert_eq!(bearers[4], "Bearer token-2");
}

#[tokio::test]
async fn a_secret_in_a_file_is_read_anew_for_each_token() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let server = server_with(r#"{"access_token":"the-token","expires_in":0}"#).await;
    let client_secret = Secret::File(file("secret", "one+&=%\n"));
    let api_key = Secret::File(file("key", "key-1\r\n"));
    let client = client(&Api { client_secret, api_key, ..api(server.port) });
    assert_eq!(submit(&client).await, accepted("w-1"));
    file("secret", "two");
    file("key", "key-2");
    assert_eq!(submit(&client).await, accepted("w-1"));
    let targets: Vec<_> = server.token_calls().into_iter().map(|it| it.target).collect();
    let query = |secret: &str| format!("/getToken?clientId=client-7&clientSecret={secret}");
    assert_eq!(targets, [query("one%2B%26%3D%25"), query("two")]);
    let keys: Vec<_> =
        server.calls().iter().map(|it| it.header("x-api-key")[0].to_owned()).collect();
    assert_eq!(keys, ["key-1", "key-2"]);

    std::fs::remove_file(directory.path().join("secret")).unwrap();
    let SubmitOutcome::NotSent { detail } = submit(&client).await else {
        panic!("nothing was sent");
    };
    assert!(detail.contains("secret"), "{detail}");
}

/// A caller with little time does not make the others fail with it.
#[tokio::test]
async fn a_hurried_caller_does_not_break_off_the_token_call_of_the_others() {
    let go = Arc::new(Notify::new());
    let held = Arc::clone(&go);
    let server = Server::start(move |seen, _| {
        if seen.is_token_call() {
            return Reply::Held(Arc::clone(&held), exchange(TOKEN).1);
        }
        Reply::Keep(exchange(SUBMIT).1)
    })
    .await;
    let client = server.client();
    let deadline = Instant::now() + Duration::from_millis(100);
    let hurried = client.submit(&order(), Bytes::from("{}"), deadline, &Began::default()).await;
    assert!(matches!(hurried, SubmitOutcome::NotTried { .. }), "{hurried:?}");
    go.notify_one();
    assert_eq!(submit(&client).await, accepted("w-1"));
    assert_eq!(server.token_calls().len(), 1);
}

/// What was taken a moment ago and is refused with a token that has just come was revoked by others;
/// what was never taken is refused.
#[tokio::test]
async fn a_token_that_others_revoke_is_told_from_a_key_that_is_refused() {
    let calls_taken = Arc::new(AtomicUsize::new(1));
    let left = Arc::clone(&calls_taken);
    let server = Server::with_token(move |_, _| {
        let take = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| it.checked_sub(1));
        Reply::Keep(if take.is_ok() {
            exchange(SUBMIT).1
        } else {
            answer("401 Unauthorized", r#"{"message":"token"}"#)
        })
    })
    .await;
    let client = server.client();
    assert_eq!(submit(&client).await, accepted("w-1"));
    let outcome = submit(&client).await;
    assert!(matches!(outcome, SubmitOutcome::NotTried { .. }), "{outcome:?}");
    let never_taken = server.client();
    let outcome = submit(&never_taken).await;
    assert!(
        matches!(outcome, SubmitOutcome::Refused { refusal: Refusal::Token, .. }),
        "{outcome:?}"
    );
}
