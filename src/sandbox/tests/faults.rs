//! Faults on demand, as a caller meets them.

use std::time::Instant;

use super::*;
use crate::sandbox::{Endpoint, Mode};

/// What forty submits and forty status checks meet, one after the other.
async fn fortunes(seed: u64) -> Vec<Option<u16>> {
    let options = Options { seed: Some(seed), ..quiet() };
    let caller = Caller::start(options).await;
    let transaction = caller.accepted("first").await;
    caller.sandbox.set(|options| {
        (options.error_rate, options.status_error_rate, options.drop_rate) = (0.3, 0.3, 0.3);
    });
    let mut met = Vec::new();
    for number in 0..40 {
        let submitted = caller.submit(&format!("job-{number}")).await;
        met.push(submitted.map(|received| received.code()));
        met.push(caller.status(&transaction).await.map(|received| received.code()));
    }
    met
}

#[tokio::test]
async fn a_seed_gives_the_same_faults_again() {
    let met = fortunes(7).await;
    assert_eq!(met, fortunes(7).await);
    assert_ne!(met, fortunes(8).await);
    for fault in [None, Some(500), Some(200)] {
        assert!(met.contains(&fault), "{fault:?}");
    }
}

#[tokio::test]
async fn a_failed_submit_is_not_accepted() {
    let caller = Caller::start(Options { error_rate: 1.0, ..quiet() }).await;
    let received = caller.submit("job").await.unwrap();
    assert_eq!(received.code(), 500);
    assert_eq!(received.text("message"), "Server error, retry after some time");
    assert_eq!((caller.sandbox.posts_of("job"), caller.sandbox.accepted_of("job")), (1, 0));
}

/// The case that costs money: the answer is lost, and the video is made or not.
#[tokio::test]
async fn a_dropped_call_gets_no_byte_and_half_of_the_submits_are_accepted() {
    const SUBMITS: u64 = 60;
    let caller = Caller::start(quiet()).await;
    let transaction = caller.accepted("first").await;
    caller.sandbox.set(|options| options.drop_rate = 1.0);
    for number in 0..SUBMITS {
        assert!(caller.submit(&format!("job-{number}")).await.is_none());
    }
    assert!(caller.status(&transaction).await.is_none());
    let stats = caller.sandbox.stats();
    assert_eq!(stats.answered(Endpoint::Submit, "no-answer"), SUBMITS);
    assert_eq!(stats.answered(Endpoint::Status, "no-answer"), 1);
    let accepted = stats.accepted - 1;
    assert!((SUBMITS / 4..=SUBMITS * 3 / 4).contains(&accepted), "{accepted} of {SUBMITS}");
}

#[tokio::test]
async fn a_video_that_fails_does_so_once_it_would_be_ready_and_for_good() {
    let options = Options { fail_rate: 0.5, ready_after: DEADLINE * 100, ..quiet() };
    let caller = Caller::start(options).await;
    let mut transactions = Vec::new();
    for number in 0..20 {
        // The second one has the same fate: it is the same request.
        for _ in 0..2 {
            transactions.push(caller.accepted(&format!("job-{number}")).await);
        }
    }
    for transaction in &transactions {
        assert_eq!(caller.status(transaction).await.unwrap().text("status"), "SUCCESS");
    }
    caller.sandbox.set(|options| options.ready_after = Duration::ZERO);
    let mut statuses = Vec::new();
    for transaction in &transactions {
        statuses.push(caller.status(transaction).await.unwrap().body);
    }
    let failed =
        r#"{"status":"FAILED","message":"generation failed","video-url":null,"image-url":null}"#;
    let fails: Vec<bool> = statuses.iter().map(|status| status == failed).collect();
    assert!(fails.contains(&true) && fails.contains(&false), "{fails:?}");
    assert!(fails.chunks(2).all(|pair| pair[0] == pair[1]), "{fails:?}");
    for (transaction, status) in transactions.iter().zip(&statuses) {
        assert_eq!(&caller.status(transaction).await.unwrap().body, status);
    }
}

#[tokio::test]
async fn a_token_lives_as_long_as_it_says() {
    let caller = Caller::start(Options { token_ttl: DEADLINE * 100, ..quiet() }).await;
    assert_eq!(token(&caller.sandbox).await.json()["expires_in"], 2000);
    caller.accepted("before").await;
    caller.sandbox.set(|options| options.token_ttl = Duration::ZERO);
    assert_eq!(caller.submit("after").await.unwrap().code(), 401);
}

#[tokio::test]
async fn a_new_token_ends_the_ones_before_only_with_single_token() {
    let mut caller = Caller::start(quiet()).await;
    bearer(&caller.sandbox).await;
    caller.accepted("first").await;
    caller.sandbox.set(|options| options.single_token = true);
    let newest = bearer(&caller.sandbox).await;
    assert_eq!(caller.submit("second").await.unwrap().code(), 401);
    caller.bearer = newest;
    caller.accepted("third").await;
}

#[tokio::test]
async fn calls_above_the_limit_are_told_to_wait() {
    // So slow that it does not refill while this runs; one call is allowed at once.
    let caller = Caller::start(Options { limit: Some(0.001), ..quiet() }).await;
    let transaction = caller.accepted("job").await;
    for received in [caller.status(&transaction).await, caller.submit("other").await] {
        let received = received.unwrap();
        assert_eq!(received.code(), 429);
        assert!(received.head.contains("\r\nretry-after: 1"), "{}", received.head);
    }
    assert_eq!(token(&caller.sandbox).await.code(), 200, "tokens are not limited");
    caller.sandbox.set(|options| options.limit = Some(0.0));
    assert_eq!(caller.status(&transaction).await.unwrap().code(), 200);
}

#[tokio::test]
async fn latency_passes_before_the_answer_and_after_the_effect() {
    let caller = Caller::start(quiet()).await;
    caller.sandbox.set(|options| options.latency = Duration::from_millis(50));
    let begun = Instant::now();
    caller.accepted("job").await;
    assert!(begun.elapsed() >= Duration::from_millis(50));
    caller.sandbox.set(|options| options.latency = DEADLINE * 100);
    let call = caller.submit("slow");
    let accepted = async {
        while caller.sandbox.accepted_of("slow") == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = call => panic!("it was answered before its time"),
        done = timeout(DEADLINE, accepted) => done.unwrap(),
    }
}

#[tokio::test]
async fn an_outage_begins_and_ends_while_it_runs() {
    let caller = Caller::start(quiet()).await;
    let transaction = caller.accepted("job").await;
    let modes = [(Mode::Down, 500), (Mode::Refuse, 403), (Mode::Html, 200), (Mode::Normal, 200)];
    for (mode, code) in modes {
        caller.sandbox.set(|options| options.mode = mode);
        assert_eq!(token(&caller.sandbox).await.code(), code, "{mode:?}");
        assert_eq!(caller.submit("other").await.unwrap().code(), code, "{mode:?}");
        assert_eq!(caller.status(&transaction).await.unwrap().code(), code, "{mode:?}");
    }
    assert_eq!(caller.sandbox.posts_of("other"), 4);
    assert_eq!(caller.sandbox.accepted_of("other"), 1);
}

#[tokio::test]
async fn faults_change_over_http() {
    let caller = Caller::start(quiet()).await;
    let put = async |body: &str| {
        call(caller.sandbox.addr(), "PUT /sandbox/faults", &[], body).await.unwrap()
    };
    let all = r#"{"mode":"down","ready-after-ms":1,"latency-ms":2,"error-rate":0.3,"status-error-rate":0.4,"drop-rate":0.5,"fail-rate":0.6,"token-ttl-ms":7,"single-token":true,"limit":8.0,"push-late-ms":9,"push-reversed-ms":10,"push-twice":true,"push-forged":true,"push-early":true,"push-lost-rate":0.7,"rules":["endpoint=submit,answer=500","id=a*,answer=bom"]}"#;
    assert_eq!(put(all).await.body, all);
    assert_eq!(put("{}").await.body, all, "what is not given stays");
    let rates = [r#"{"eror-rate":1}"#, r#"{"drop-rate":1.1}"#, r#"{"push-lost-rate":2}"#];
    let rules = [r#"{"rules":["answer=500","answer=odd"]}"#, r#"{"rules":"answer=500"}"#];
    for bad in ["", "[]", r#"{"limit":-1}"#].into_iter().chain(rates).chain(rules) {
        let received = put(bad).await;
        assert_eq!(received.code(), 400, "{bad}");
        assert_eq!(received.text("status"), "ERROR");
    }
    assert_eq!(put("{}").await.body, all, "what is refused changes nothing");
    assert_eq!(token(&caller.sandbox).await.code(), 500);
    let message = put(rules[0]).await.text("message");
    assert!(message.starts_with("answer: expected a code"), "{message}");
    let fewer = all.replace(r#""endpoint=submit,answer=500","#, "");
    assert_eq!(
        put(r#"{"rules":["id=a*,answer=bom"]}"#).await.body,
        fewer,
        "they are all there are"
    );
    let none = fewer.replace(r#""id=a*,answer=bom""#, "");
    assert_eq!(put(r#"{"rules":[]}"#).await.body, none);
}
