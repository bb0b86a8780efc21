//! Transactions whose status checks fail, while those of others do not; and a status path that is
//! wrong for all.

use std::time::Duration;

use reelq::sandbox::Endpoint;
use tokio::time::sleep;

use super::super::support::processes::until;
use super::{Ends, Group, PATIENCE, accepted, measured, put, rule, site, with};

/// The API has forgotten forty of its transactions, and answers this whenever it is asked.
async fn forgotten(code: u16) {
    let (lost, new) = (Group::new("lost", 40), Group::new("new", 10));
    let site = site(&[&format!("endpoint=status,id=lost-*,answer={code}")]).await;
    put(&site, lost.bodies()).await;
    let worker = site.worker();
    accepted(&site, lost.count).await;
    let mut ends = Ends::of(&site);
    put(&site, new.bodies()).await;
    let done = ends.reach(&new, Duration::from_secs(15)).await;
    ends.all_completed(&site, &new, 1..=1);
    assert!(!site.queue.exists("stage:poll").await, "a check costs nothing");
    measured(&format!("40 transactions forgotten ({code}): 10 new ones done after {done:.1?}"));
    assert_eq!(worker.stop().await, Some(0));
}

#[tokio::test]
async fn forgotten_transactions_keep_no_others_unchecked() {
    forgotten(404).await;
    forgotten(410).await;
}

/// A day, in less time than what is to happen after a minute takes: checks without any understood
/// answer are given up after 20 s instead of a day, videos are late after 10 s instead of half an
/// hour.
#[tokio::test]
async fn a_wrong_status_path_costs_few_checks_and_no_video() {
    const MINUTE: Duration = Duration::from_secs(60);
    const WINDOW: Duration = Duration::from_secs(10);
    let jobs = Group::new("job", 2000);
    let settings = [
        // Fewer than thousands a second, so that others can work beside this test.
        ("REELQ_POLL__MAX", "10s"),
        ("REELQ_POLL__DEADLINE", "10s"),
        ("REELQ_POLL__ABANDON_AFTER", "20s"),
        ("REELQ_LOG__FILTER", "error"),
    ];
    let site = with(site(&[]).await, &settings);
    put(&site, jobs.bodies()).await;
    let worker = site.process(&["worker"], &[("REELQ_API__STATUS_PATH", "/gone/{id}")]);
    let checks = || site.sandbox.stats().calls_to(Endpoint::Other);
    until("the first check", PATIENCE, async || checks() > 0).await;
    sleep(MINUTE).await;
    let in_first_minute = checks();
    accepted(&site, jobs.count).await;
    // The minute counts from the first answer, and is looked at when checks are made.
    sleep(Duration::from_secs(3)).await;
    let before = checks();
    sleep(WINDOW).await;
    let after_it = checks() - before;
    assert!(in_first_minute > 20 * 60, "not few for another reason: {in_first_minute}");
    assert!(after_it <= 10 * WINDOW.as_secs() + 10, "{after_it} checks in {WINDOW:?}");
    assert!(after_it > 0, "it is tried again and again");
    assert_eq!(site.results().await, 0, "none ended");
    assert_eq!(worker.stop().await, Some(0));
    let mut ends = Ends::of(&site);
    let worker = site.worker();
    let all = ends.reach(&jobs, PATIENCE).await;
    ends.all_completed(&site, &jobs, 1..=1);
    measured(&format!(
        "a wrong status path with 2,000 jobs: {in_first_minute} checks in the first minute, \
         {after_it} in {WINDOW:?} after it; all done {all:.1?} after its end"
    ));
    assert_eq!(worker.stop().await, Some(0));
}

/// Calls of the sick jobs are answered in this way, for good; twenty others come after them.
async fn sick(sick: Group, rules: &[&str]) {
    let good = Group::new("good", 20);
    let site = site(rules).await;
    put(&site, sick.bodies()).await;
    let worker = site.worker();
    // Of many with the same limit, three say it all.
    let called = async || sick.ids().filter(|id| site.sandbox.posts_of(id) > 0).count();
    let enough = sick.count.min(3);
    until("the sick to be tried", PATIENCE, async || called().await >= enough).await;
    let mut ends = Ends::of(&site);
    put(&site, good.bodies()).await;
    let done = ends.reach(&good, Duration::from_secs(10)).await;
    ends.all_completed(&site, &good, 1..=1);
    let ended = site.results().await - good.count;
    assert_eq!(ended, 0, "the sick wait");
    measured(&format!("{} sick ({rules:?}): 20 others done after {done:.1?}", sick.count));
    assert_eq!(worker.stop().await, Some(0));
}

/// They have the others' template and customer.
#[tokio::test]
async fn two_sick_transactions_that_ask_for_patience_are_given_theirs_alone() {
    let two = Group::new("sick", 2);
    for endpoint in ["submit", "status"] {
        let rule_of = |answer| format!("endpoint={endpoint},id=sick-*,answer={answer}");
        for answer in ["503,retry-after=300", "429,retry-after=300"] {
            sick(two, &[&rule_of(answer)]).await;
        }
    }
}

#[tokio::test]
async fn many_transactions_whose_checks_fail_keep_no_others_waiting() {
    for answer in ["500", "502"] {
        sick(Group::new("sick", 40), &[&format!("endpoint=status,id=sick-*,answer={answer}")])
            .await;
    }
}

#[tokio::test]
async fn the_limit_of_one_customer_limits_no_others() {
    let busy = Group::new("sick", 20).of_customer("busy").of_templates(1);
    for endpoint in ["submit", "status"] {
        let rule_of = |answer| format!("endpoint={endpoint},customer-id=busy,answer={answer}");
        for answer in ["429,retry-after=300", "429"] {
            sick(busy, &[&rule_of(answer)]).await;
        }
    }
}

/// The rest of the time they are as well as others: what is limited is a moment, not a pair.
#[tokio::test]
async fn a_customer_who_was_limited_is_served_when_he_may_be() {
    let busy = Group::new("busy", 20).of_customer("busy");
    let site = site(&["customer-id=busy,answer=429,retry-after=1"]).await;
    put(&site, busy.bodies()).await;
    let worker = site.worker();
    until("some limits", PATIENCE, async || {
        site.sandbox.stats().answered(Endpoint::Submit, "429") >= 5
    })
    .await;
    rule(&site, &[]);
    let mut ends = Ends::of(&site);
    let all = ends.reach(&busy, Duration::from_secs(20)).await;
    ends.all_completed(&site, &busy, 1..=u64::MAX);
    measured(&format!("a limited customer: 20 jobs done {all:.1?} after the limit's end"));
    assert_eq!(worker.stop().await, Some(0));
}
