//! What an answer of the moment, or a pause, must not end: jobs that wait, and videos that are paid.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::sleep;

use super::super::support::processes::{Site, until};
use super::front::Front;
use super::{Ends, Group, PATIENCE, accepted, feeding, measured, put, rule, site, with};

const ODD: Group = Group::new("odd", 5);
const OTHER: Group = Group::new("other", 0);

/// Jobs whose first five checks find fault with them, while others are well, under the grace.
#[tokio::test]
async fn five_answers_of_a_moment_fail_no_video() {
    for code in [400, 413, 422, 404] {
        let site = site(&[&format!("endpoint=status,id=odd-*,calls=1-5,answer={code}")]).await;
        let site = with(site, &[("REELQ_POLL__NOT_FOUND_GRACE", "1m")]);
        put(&site, ODD.bodies()).await;
        let mut ends = Ends::of(&site);
        let worker = site.worker();
        let (_, all) = feeding(&site, OTHER, ends.reach(&ODD, PATIENCE)).await;
        ends.all_completed(&site, &ODD, 1..=1);
        measured(&format!("five times {code} to checks, in under the grace: done after {all:.1?}"));
        assert_eq!(worker.stop().await, Some(0));
    }
}

/// The same answers for longer than the grace, while others are well.
#[tokio::test]
async fn five_answers_over_the_grace_end_a_job_whose_fault_it_is() {
    for (code, error) in [(400, "status-refused"), (410, "unknown-transaction")] {
        let site = site(&[&format!("endpoint=status,id=odd-*,answer={code}")]).await;
        put(&site, ODD.bodies()).await;
        let mut ends = Ends::of(&site);
        let worker = site.worker();
        let (_, all) = feeding(&site, OTHER, ends.reach(&ODD, PATIENCE)).await;
        ends.all_failed(&ODD, error);
        measured(&format!("{code} to checks for good: {error} after {all:.1?}"));
        assert_eq!(worker.stop().await, Some(0));
    }
}

/// An API that is broken for an hour, which is many times the grace: here eight seconds of two.
#[tokio::test]
async fn answers_that_all_checks_get_fail_no_video() {
    let jobs = Group::new("job", 20);
    for answer in ["400", "413", "422", "404", "422,page"] {
        let site = site(&[&format!("endpoint=status,answer={answer}")]).await;
        put(&site, jobs.bodies()).await;
        let mut ends = Ends::of(&site);
        let worker = site.worker();
        accepted(&site, jobs.count).await;
        sleep(Duration::from_secs(8)).await;
        assert_eq!(site.results().await, 0, "none ended");
        rule(&site, &[]);
        ends.restart();
        let all = ends.reach(&jobs, Duration::from_secs(30)).await;
        ends.all_completed(&site, &jobs, 1..=1);
        measured(&format!("{answer} to all checks for 8 s: all done {all:.1?} after its end"));
        assert_eq!(worker.stop().await, Some(0));
    }
}

/// A site whose API says of every video so many times that it failed, before it says what is true.
async fn failing_at_first(times: u32) -> (Site, Front) {
    let site = site(&[]).await;
    let said = Mutex::<HashMap<String, u32>>::default();
    let says = move |path: &str| {
        let transaction = path.strip_prefix("/status/")?;
        let mut said = said.lock().unwrap();
        let so_far = said.entry(transaction.to_owned()).or_default();
        *so_far += 1;
        let failed = r#"{"status":"FAILED","message":"no renderer is free"}"#;
        (*so_far <= times).then(|| (200, failed.to_owned()))
    };
    let front = Front::start(0, site.sandbox.addr(), says).await;
    let address = format!("http://{}", front.addr());
    (site.with("REELQ_API__BASE_URL", &address), front)
}

#[tokio::test]
async fn a_failure_that_is_taken_back_fails_no_video() {
    let (site, _front) = failing_at_first(1).await;
    put(&site, ODD.bodies()).await;
    let mut ends = Ends::of(&site);
    let worker = site.worker();
    let all = ends.reach(&ODD, PATIENCE).await;
    ends.all_completed(&site, &ODD, 1..=1);
    measured(&format!("a failure word once, then a URL: done after {all:.1?}"));
    assert_eq!(worker.stop().await, Some(0));
}

#[tokio::test]
async fn a_failure_that_is_said_twice_fails_the_job_with_its_message() {
    let (site, _front) = failing_at_first(2).await;
    put(&site, ODD.bodies()).await;
    let mut ends = Ends::of(&site);
    let worker = site.worker();
    let all = ends.reach(&ODD, PATIENCE).await;
    ends.all_failed(&ODD, "generation-failed");
    let said = |error: &str| error.contains("no renderer is free");
    assert!(ends.of_group(&ODD).iter().all(|it| said(it.get("error").unwrap())));
    measured(&format!("a failure word twice: failed after {all:.1?}"));
    assert_eq!(worker.stop().await, Some(0));
}

/// Whether an operator resumes the queue or deletes the key by hand.
#[tokio::test]
async fn a_pause_does_not_age_jobs() {
    let jobs = Group::new("job", 20);
    for by_command in [true, false] {
        let site = with(site(&[]).await, &[("REELQ_SUBMIT__MAX_AGE", "3s")]);
        assert_eq!(site.run(&["pause", "holiday"]).await.status.code(), Some(0));
        put(&site, jobs.bodies()).await;
        let mut ends = Ends::of(&site);
        let worker = site.worker();
        until("them to wait", PATIENCE, async || {
            site.queue.command::<usize>(&["ZCARD", "reelq:{video}:submit"]).await == jobs.count
        })
        .await;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(site.results().await, 0, "none expired");
        if by_command {
            assert_eq!(site.run(&["resume"]).await.status.code(), Some(0));
        } else {
            let _: u64 = site.queue.command(&["DEL", "reelq:{video}:paused"]).await;
        }
        ends.restart();
        let all = ends.reach(&jobs, Duration::from_secs(30)).await;
        ends.all_completed(&site, &jobs, 1..=1);
        measured(&format!(
            "a pause of 5 s, jobs expire after 3 s: all done {all:.1?} after its end"
        ));
        assert_eq!(worker.stop().await, Some(0));
    }
}
