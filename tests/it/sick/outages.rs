//! An API, or a gateway in front of it, that fails for a while; and an API that fails the first
//! calls of every job.

use std::time::Duration;

use tokio::time::sleep;

use super::super::support::processes::until;
use super::{
    Ends, Group, PATIENCE, accepted, all_calls, begin_well, measured, most_posts, put, rule, site,
    with,
};

/// Each job's first two calls of this endpoint are answered like this.
async fn first_two_fail(endpoint: &str, answer: &str, count: usize, within: Duration) {
    let jobs = Group::new("job", count);
    let site = site(&[&format!("endpoint={endpoint},calls=1-2,answer={answer}")]).await;
    let site = site.with("REELQ_LOG__FILTER", "error");
    put(&site, jobs.bodies()).await;
    let mut ends = Ends::of(&site);
    let worker = site.worker();
    let all = ends.reach(&jobs, within).await;
    let posts = if endpoint == "submit" { 3 } else { 1 };
    ends.all_completed(&site, &jobs, posts..=posts);
    let calls = all_calls(&site);
    measured(&format!(
        "each job's first two calls ({endpoint}) answered with {answer}: {count} done after {all:.1?}, \
         {calls} calls"
    ));
    assert_eq!(worker.stop().await, Some(0));
}

const FORTY_WITHIN: Duration = Duration::from_secs(40);
const THOUSAND_WITHIN: Duration = Duration::from_secs(180);

#[tokio::test]
async fn an_api_that_fails_each_jobs_first_submits_ends_them_all() {
    for answer in ["500", "503", "425"] {
        first_two_fail("submit", answer, 40, FORTY_WITHIN).await;
    }
}

#[tokio::test]
async fn an_api_that_fails_each_jobs_first_checks_ends_them_all() {
    for answer in ["500", "503", "502", "lost"] {
        first_two_fail("status", answer, 40, FORTY_WITHIN).await;
    }
}

#[tokio::test]
async fn an_api_that_fails_the_first_submits_of_a_thousand_jobs_ends_them_all() {
    first_two_fail("submit", "500", 1000, THOUSAND_WITHIN).await;
}

#[tokio::test]
async fn an_api_that_fails_the_first_checks_of_a_thousand_jobs_ends_them_all() {
    first_two_fail("status", "500", 1000, THOUSAND_WITHIN).await;
}

#[tokio::test]
async fn an_outage_of_eight_seconds_spends_few_calls() {
    let jobs = Group::new("job", 300);
    for rule_of_outage in ["answer=500", "answer=503", "endpoint=submit+status,answer=500"] {
        let site = site(&[]).await;
        put(&site, jobs.bodies()).await;
        let mut ends = Ends::of(&site);
        let worker = site.worker();
        accepted(&site, 100).await;
        rule(&site, &[rule_of_outage]);
        let before = all_calls(&site);
        sleep(Duration::from_secs(8)).await;
        let calls = all_calls(&site) - before;
        assert!(calls < 100, "{rule_of_outage}: {calls} calls");
        rule(&site, &[]);
        ends.restart();
        let all = ends.reach(&jobs, PATIENCE).await;
        ends.all_completed(&site, &jobs, 1..=u64::MAX);
        measured(&format!(
            "an outage of 8 s ({rule_of_outage}) with 300 jobs: {calls} calls, all done {all:.1?} \
             after its end"
        ));
        assert_eq!(worker.stop().await, Some(0));
    }
}

/// An hour in which a gateway answers for the API. What an hour holds is counted in graces, of which
/// the second repeat of a POST waits ten: a second each here, and fifteen of them.
async fn hour_behind_a_gateway(count: usize, answer: &str) {
    const HOUR: Duration = Duration::from_secs(15);
    let jobs = Group::new("job", count);
    let settings =
        [("REELQ_API__REQUEST_TIMEOUT", "1s"), ("REELQ_SUBMIT__UNCONFIRMED_GRACE", "1s")];
    let site = with(site(&[]).await, &settings);
    let mut ends = Ends::of(&site);
    let worker = site.worker();
    begin_well(&site, &mut ends).await;
    rule(&site, &[answer]);
    put(&site, jobs.bodies()).await;
    let before = all_calls(&site);
    sleep(HOUR).await;
    let posted = jobs.ids().filter(|id| site.sandbox.posts_of(id) > 0).count();
    let calls = all_calls(&site) - before;
    assert!((1..=100).contains(&posted), "{posted} of {count} jobs were POSTed meanwhile");
    rule(&site, &[]);
    ends.restart();
    let all = ends.reach(&jobs, PATIENCE).await;
    ends.all_completed(&site, &jobs, 1..=2);
    let most = most_posts(&site, &jobs);
    measured(&format!(
        "an hour's outage ({answer}) as {HOUR:?}, {count} jobs: {posted} POSTed meanwhile, {calls} \
         calls; all done {all:.1?} after its end, at most {most} POSTs each"
    ));
    assert_eq!(worker.stop().await, Some(0));
}

#[tokio::test]
async fn an_hour_behind_a_gateway_holds_none_of_a_few_jobs() {
    for answer in ["answer=502", "answer=504"] {
        hour_behind_a_gateway(20, answer).await;
    }
}

#[tokio::test]
async fn an_hour_behind_a_gateway_holds_none_of_many_jobs() {
    hour_behind_a_gateway(1000, "answer=502").await;
}

/// A night holds hundreds of the longest backoff: as short as a test can wait for, with as few
/// attempts as would all be spent by then.
#[tokio::test]
async fn a_night_of_faults_fails_no_job() {
    const NIGHT: Duration = Duration::from_secs(20);
    let jobs = Group::new("job", 20);
    let settings = [
        ("REELQ_SUBMIT__BACKOFF_INITIAL", "50ms"),
        ("REELQ_SUBMIT__BACKOFF_MAX", "100ms"),
        ("REELQ_SUBMIT__MAX_ATTEMPTS", "5"),
    ];
    let site = with(site(&[]).await, &settings);
    let mut ends = Ends::of(&site);
    let worker = site.worker();
    begin_well(&site, &mut ends).await;
    rule(&site, &["answer=500"]);
    put(&site, jobs.bodies()).await;
    sleep(NIGHT).await;
    let posts: u64 = jobs.ids().map(|id| site.sandbox.posts_of(&id)).sum();
    assert!(posts > 5 * 20, "enough to spend all attempts of all: {posts}");
    assert_eq!(site.results().await, 1, "none failed");
    rule(&site, &[]);
    ends.restart();
    let all = ends.reach(&jobs, Duration::from_secs(30)).await;
    ends.all_completed(&site, &jobs, 1..=u64::MAX);
    measured(&format!(
        "a night of 500s as {NIGHT:?}, 20 jobs of 5 attempts each: {posts} POSTs, all done \
         {all:.1?} after its end"
    ));
    assert_eq!(worker.stop().await, Some(0));
}

/// Whoever starts into such a night has no token.
#[tokio::test]
async fn a_start_into_a_night_of_faults_fails_no_job() {
    let jobs = Group::new("job", 20);
    for answer in ["answer=500", "answer=502", "answer=lost"] {
        let site = site(&[answer]).await;
        put(&site, jobs.bodies()).await;
        let worker = site.worker();
        until("a first call", PATIENCE, async || all_calls(&site) > 0).await;
        let before = all_calls(&site);
        sleep(Duration::from_secs(5)).await;
        let calls = all_calls(&site) - before;
        assert!(calls < 20, "{calls} calls");
        assert_eq!(site.results().await, 0, "none failed");
        rule(&site, &[]);
        let mut ends = Ends::of(&site);
        let all = ends.reach(&jobs, PATIENCE).await;
        // Those that found no token were begun, and not sent.
        ends.all_completed(&site, &jobs, 1..=u64::MAX);
        assert_eq!(most_posts(&site, &jobs), 1);
        measured(&format!(
            "a start into an outage ({answer}): {calls} calls in 5 s, all done {all:.1?} after its end"
        ));
        assert_eq!(worker.stop().await, Some(0));
    }
}
