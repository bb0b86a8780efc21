//! Faults by rule, as a caller meets them.

use super::*;
use crate::sandbox::{Endpoint, Mode};

/// From now on these rules hold.
fn rule(sandbox: &Sandbox, rules: &[&str]) {
    let rules = rules.iter().map(|rule| rule.parse().expect(rule)).collect();
    sandbox.set(|options| options.faults = rules);
}

fn body_with(id: &str, use_case: &str, customer: &str) -> String {
    body_of(id)
        .replace(r#""u""#, &format!("{use_case:?}"))
        .replace(r#""c""#, &format!("{customer:?}"))
}

/// The codes of these calls, one after the other; 0: no answer.
async fn codes(
    calls: impl IntoIterator<Item = impl Future<Output = Option<Received>>>,
) -> Vec<u16> {
    let mut codes = Vec::new();
    for call in calls {
        codes.push(call.await.map_or(0, |received| received.code()));
    }
    codes
}

#[tokio::test]
async fn a_rule_finds_its_job_by_the_body_of_a_submit_and_by_the_transaction_of_a_check() {
    let caller = Caller::start(quiet()).await;
    let sick = body_with("sick-1", "t1", "acme");
    let well = body_with("well-1", "t2", "other");
    let transaction = async |body: &str| {
        caller.call("POST /video/demo", body).await.unwrap().text("whilter-request-id")
    };
    let checks = [transaction(&sick).await, transaction(&well).await];
    for which in ["id=sick-1", "id=sick*", "use-case-id=t1", "customer-id=ac*"] {
        rule(&caller.sandbox, &[&format!("{which},answer=418")]);
        let submits = [&sick, &well].map(|body| caller.call("POST /video/demo", body));
        assert_eq!(codes(submits).await, [418, 200], "{which}");
        let checked = codes(checks.iter().map(|id| caller.status(id))).await;
        assert_eq!(checked, [418, 200], "{which}");
        assert_eq!(token(&caller.sandbox).await.code(), 200, "{which}: the token has no job");
    }
    assert_eq!(caller.sandbox.accepted_of("sick-1"), 1);
    assert_eq!(caller.sandbox.accepted_of("well-1"), 5);
}

#[tokio::test]
async fn calls_are_counted_for_each_job_and_endpoint_and_for_all_tokens() {
    let caller = Caller::start(quiet()).await;
    rule(&caller.sandbox, &["endpoint=submit,calls=1-2,answer=500"]);
    for id in ["a", "b"] {
        let submits = codes((0..4).map(|_| caller.submit(id))).await;
        assert_eq!(submits, [500, 500, 200, 200], "{id}");
    }
    rule(&caller.sandbox, &["endpoint=status,calls=2,answer=500"]);
    let [one, two] = [caller.accepted("c").await, caller.accepted("c").await];
    let checks = codes([&one, &two, &one].map(|id| caller.status(id))).await;
    assert_eq!(checks, [200, 500, 200], "two transactions of one job");
    assert_eq!(caller.sandbox.checks_of("c"), 3);
    rule(&caller.sandbox, &["endpoint=token,calls=3-,answer=500"]);
    let tokens = [token(&caller.sandbox).await.code(), token(&caller.sandbox).await.code()];
    assert_eq!(tokens, [200, 500], "the caller fetched the first");
}

#[tokio::test]
async fn a_call_of_no_job_meets_no_rule_that_names_one_or_counts() {
    let caller = Caller::start(quiet()).await;
    let of_no_job = async || {
        let broken = caller.call("POST /video/demo", "{}").await.unwrap().code();
        (broken, caller.status("unknown").await.unwrap().code())
    };
    rule(&caller.sandbox, &["id=*,answer=500", "calls=1-,answer=501"]);
    assert_eq!(of_no_job().await, (400, 404));
    rule(&caller.sandbox, &["answer=502"]);
    assert_eq!(of_no_job().await, (502, 502));
    assert_eq!(caller.call("GET /elsewhere", "").await.unwrap().code(), 404);
}

/// The case that costs money: something in front gives up, and the video is made or not.
#[tokio::test]
async fn an_accepted_call_has_its_effect_and_another_has_none() {
    let options = Options { single_token: true, ..quiet() };
    for (answer, code) in [("504,page", 504), ("lost", 0), ("400,empty", 400)] {
        let caller = Caller::start(options.clone()).await;
        let transaction = caller.accepted("checked").await;
        for (accepted, times) in [("", 0), (",accepted", 1)] {
            rule(&caller.sandbox, &[&format!("answer={answer}{accepted}")]);
            let submits = codes([caller.submit("job")]).await;
            let checks = codes([caller.status(&transaction)]).await;
            assert_eq!((submits[0], checks[0]), (code, code), "{answer}{accepted}");
            assert_eq!(caller.sandbox.accepted_of("job"), times, "{answer}{accepted}");
            let checked = caller.sandbox.moments_of("checked").unwrap().checked;
            assert_eq!(checked.is_some(), times == 1, "{answer}{accepted}");
        }
        assert_eq!(caller.sandbox.posts_of("job"), 2);
        // A token that was issued ends the one before, also when nobody saw it.
        for (accepted, then) in [("", 200), (",accepted", 401)] {
            rule(&caller.sandbox, &[&format!("endpoint=token,answer={answer}{accepted}")]);
            let line = "GET /getToken?clientId=sandbox-client&clientSecret=sandbox-secret";
            assert_eq!(codes([caller.call(line, "")]).await, [code]);
            assert_eq!(caller.status(&transaction).await.unwrap().code(), then, "{accepted}");
        }
    }
}

#[tokio::test]
async fn what_is_in_front_answers_whatever_the_token_but_gets_nothing_accepted_without_one() {
    let caller = Caller::start(quiet()).await;
    for answer in ["502", "502,accepted"] {
        rule(&caller.sandbox, &[&format!("answer={answer}")]);
        let received = call(caller.sandbox.addr(), "POST /video/demo", &[], &body_of("job")).await;
        assert_eq!(received.unwrap().code(), 502);
    }
    assert_eq!((caller.sandbox.posts_of("job"), caller.sandbox.accepted_of("job")), (2, 0));
}

#[tokio::test]
async fn the_first_rule_about_a_call_counts_and_such_a_call_meets_no_chance() {
    let options = Options { error_rate: 1.0, status_error_rate: 1.0, ..quiet() };
    let caller = Caller::start(options).await;
    assert_eq!(caller.submit("job").await.unwrap().code(), 500);
    rule(&caller.sandbox, &["id=job,answer=400"]);
    assert_eq!(caller.submit("job").await.unwrap().code(), 400);
    rule(&caller.sandbox, &["id=other,answer=409", "id=job,answer=504,accepted", "answer=403"]);
    let submits = codes(["job", "other", "third"].map(|id| caller.submit(id))).await;
    assert_eq!(submits, [504, 409, 403]);
    assert_eq!(caller.sandbox.accepted_of("job"), 1);
    rule(&caller.sandbox, &["answer=trailing"]);
    assert_eq!(codes([caller.status("sandbox-7-0")]).await, [200]);
    caller.sandbox.set(|options| options.mode = Mode::Down);
    assert_eq!(caller.submit("other").await.unwrap().code(), 500, "a mode is for every call");
}

#[tokio::test]
async fn an_answer_by_rule_has_the_form_that_was_asked_for() {
    let json = r#"{"status":"ERROR","message":"a fault that was asked for"}"#;
    let page = "<html><body>Welcome</body></html>";
    let caller = Caller::start(quiet()).await;
    for (answer, content_type, retry_after, body) in [
        ("500", Some("application/json"), None, json),
        ("200", Some("application/json"), None, json),
        ("999,retry-after=0", Some("application/json"), Some("0"), json),
        ("200,page", Some("text/html"), None, page),
        ("503,page,retry-after=300", Some("text/html"), Some("300"), page),
        ("413,empty", None, None, ""),
        ("429,empty,retry-after=5", None, Some("5"), ""),
        ("204", Some("application/json"), None, ""),
    ] {
        rule(&caller.sandbox, &[&format!("answer={answer}")]);
        let received = caller.submit("job").await.unwrap();
        assert_eq!(received.code().to_string(), answer[..3]);
        let header = |name: &str| {
            let mut lines = received.head.lines();
            lines.find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned))
        };
        assert_eq!(header("content-type").as_deref(), content_type, "{answer}");
        assert_eq!(header("retry-after").as_deref(), retry_after, "{answer}");
        assert_eq!(received.body, body, "{answer}");
    }
    let stats = caller.sandbox.stats();
    assert_eq!(stats.answered(Endpoint::Submit, "503"), 1);
    assert_eq!(stats.accepted, 0);
}
