//! Good answers that are written oddly, and good ones that never arrive.

use std::time::Duration;

use super::super::support::processes::until;
use super::{Ends, Group, PATIENCE, measured, put, rule, site, with};

const JOBS: Group = Group::new("job", 5);

/// All answers, that with the token too.
async fn read_all_the_same(names: &[&str]) {
    for name in names {
        let site = site(&[&format!("answer={name}")]).await;
        put(&site, JOBS.bodies()).await;
        let mut ends = Ends::of(&site);
        let worker = site.worker();
        let all = ends.reach(&JOBS, Duration::from_secs(20)).await;
        ends.all_completed(&site, &JOBS, 1..=1);
        assert_eq!(site.sandbox.stats().token_calls(), 1);
        measured(&format!("odd answers ({name}): 5 jobs done after {all:.1?}, one POST each"));
        assert_eq!(worker.stop().await, Some(0));
    }
}

#[tokio::test]
async fn odd_bytes_in_good_answers_cost_nothing() {
    read_all_the_same(&["bom", "latin1", "twice", "trailing"]).await;
}

#[tokio::test]
async fn odd_heads_and_ends_of_good_answers_cost_nothing() {
    read_all_the_same(&["php-warning", "headers", "gzip", "unended"]).await;
}

/// A gateway gives up on each POST after the API has taken it.
#[tokio::test]
async fn a_gateway_that_never_waits_long_enough_has_few_posts_billed() {
    for code in [504, 520] {
        few_are_billed(&format!("endpoint=submit,answer={code},accepted")).await;
    }
}

/// So does a connection that breaks instead.
#[tokio::test]
async fn a_connection_that_never_lasts_long_enough_has_few_posts_billed() {
    few_are_billed("endpoint=submit,answer=lost,accepted").await;
}

/// The same for good: each job is sent again twice and then held. It does not matter how long a grace
/// is: the second repeat waits ten.
async fn few_are_billed(answer: &str) {
    let settings =
        [("REELQ_API__REQUEST_TIMEOUT", "1s"), ("REELQ_SUBMIT__UNCONFIRMED_GRACE", "1s")];
    let site = with(site(&[answer]).await, &settings);
    put(&site, JOBS.bodies()).await;
    let mut ends = Ends::of(&site);
    let worker = site.worker();
    let is_held = async |id: &str| {
        let record = format!("reelq:{{video}}:job:{id}");
        let held: Option<String> = site.queue.command(&["HGET", &record, "held"]).await;
        held.as_deref() == Some("1")
    };
    until("all to be held", PATIENCE, async || {
        let mut held = true;
        for id in JOBS.ids() {
            held &= is_held(&id).await;
        }
        held
    })
    .await;
    let took = ends.began.elapsed();
    let posts: Vec<u64> = JOBS.ids().map(|id| site.sandbox.posts_of(&id)).collect();
    assert!(posts.iter().all(|posts| (2..=3).contains(posts)), "{posts:?}");
    assert_eq!(site.results().await, 0, "none failed: it is paid");
    // Well again: an operator has them sent once more.
    rule(&site, &[]);
    ends.restart();
    assert_eq!(site.run(&["retry", "--held"]).await.status.code(), Some(0));
    let all = ends.reach(&JOBS, PATIENCE).await;
    assert!(ends.of_group(&JOBS).iter().all(|it| it.status() == "completed"));
    measured(&format!(
        "{answer} for good: {posts:?} POSTs, held after {took:.1?}; done {all:.1?} after retry --held"
    ));
    assert_eq!(worker.stop().await, Some(0));
}
