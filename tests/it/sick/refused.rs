//! Jobs that the API refuses, before others and between them; and an API that refuses us.

use std::time::Duration;

use reelq::sandbox;
use tokio::time::sleep;

use super::super::support::processes::{Site, WorkerProcess, until};
use super::{
    Ends, Group, PATIENCE, all_calls, begin_well, feeding, measured, most_posts, put, rule, site,
    with,
};

const GOOD: Group = Group::new("good", 20);
const BAD: Group = Group::new("bad", 60);

/// The bad jobs are answered in this way, for good; the good ones stand behind them.
async fn bad_before_good(bad: Group, answer: &str) {
    let site = site(&[&format!("endpoint=submit,id=bad-*,{answer}")]).await;
    put(&site, bad.bodies().chain(GOOD.bodies())).await;
    let mut ends = Ends::of(&site);
    let worker = site.worker();
    let good = ends.reach(&GOOD, Duration::from_secs(15)).await;
    ends.all_completed(&site, &GOOD, 1..=1);
    let all = ends.reach(&bad, Duration::from_secs(120)).await;
    ends.all_failed(&bad, "api-refused");
    assert!(bad.ids().all(|id| site.sandbox.posts_of(&id) >= 3), "three times each");
    let most = most_posts(&site, &bad);
    measured(&format!(
        "60 refused ({answer}; {} templates of {}) before 20 good: good after {good:.1?}, all after \
         {all:.1?}, at most {most} POSTs of a refused one",
        bad.templates, bad.template,
    ));
    assert_eq!(worker.stop().await, Some(0));
}

#[tokio::test]
async fn sixty_refused_of_one_template_keep_no_others_waiting() {
    bad_before_good(BAD.of_templates(1), "answer=403").await;
}

#[tokio::test]
async fn sixty_refused_of_three_templates_keep_no_others_waiting() {
    bad_before_good(BAD.of_templates(3), "answer=403").await;
}

#[tokio::test]
async fn sixty_refused_of_as_many_templates_keep_no_others_waiting() {
    bad_before_good(BAD.of_templates(60), "answer=403").await;
}

/// What is wrong is in the jobs themselves: the good ones have the same template and customer.
#[tokio::test]
async fn sixty_refused_of_the_others_template_keep_no_others_waiting() {
    bad_before_good(BAD, "answer=403").await;
}

#[tokio::test]
async fn what_something_in_front_of_the_api_refuses_keeps_no_others_waiting() {
    for answer in ["answer=407", "answer=421", "answer=451"] {
        bad_before_good(BAD.of_templates(1), answer).await;
    }
}

#[tokio::test]
async fn what_a_page_refuses_keeps_no_others_waiting() {
    for answer in ["answer=400,page", "answer=422,page", "answer=403,page"] {
        bad_before_good(BAD.of_templates(1), answer).await;
    }
}

#[tokio::test]
async fn five_thousand_refused_keep_no_others_waiting() {
    let bad = Group::new("bad", 5000).of_templates(1);
    let site = site(&["endpoint=submit,id=bad-*,answer=403"]).await;
    let site = site.with("REELQ_LOG__FILTER", "error");
    put(&site, bad.bodies().chain(GOOD.bodies())).await;
    let mut ends = Ends::of(&site);
    let _worker = site.worker();
    let good = ends.reach(&GOOD, Duration::from_secs(60)).await;
    ends.all_completed(&site, &GOOD, 1..=1);
    let calls = all_calls(&site);
    measured(&format!("5,000 refused before 20 good: good after {good:.1?}, {calls} calls"));
}

const THIRD: Group = Group::new("bad", 90);

/// Three of ten jobs are bad; the good ones are measured alone first.
async fn bad_among_good(bad: Group) {
    let good = Group::new("good", 210);
    let alone = site(&[]).await;
    put(&alone, good.bodies()).await;
    let mut ends = Ends::of(&alone);
    let worker = alone.worker();
    let took_alone = ends.reach(&good, PATIENCE).await;
    assert_eq!(worker.stop().await, Some(0));

    let site = site(&["endpoint=submit,id=bad-*,answer=403"]).await;
    let mixed = (0..30).flat_map(|ten| {
        let bad = (3 * ten..3 * (ten + 1)).map(|number| bad.body(number));
        bad.chain((7 * ten..7 * (ten + 1)).map(|number| good.body(number)))
    });
    put(&site, mixed).await;
    let mut ends = Ends::of(&site);
    let worker = site.worker();
    let took = ends.reach(&good, 3 * took_alone).await;
    ends.all_completed(&site, &good, 1..=1);
    measured(&format!(
        "90 bad ({} templates of {}) among 210 good: good after {took:.1?}, alone {took_alone:.1?}",
        bad.templates, bad.template
    ));
    assert_eq!(worker.stop().await, Some(0));
}

#[tokio::test]
async fn a_third_of_one_bad_template_slows_the_others_little() {
    bad_among_good(THIRD.of_templates(1)).await;
}

#[tokio::test]
async fn a_third_of_three_bad_templates_slows_the_others_little() {
    bad_among_good(THIRD.of_templates(3)).await;
}

#[tokio::test]
async fn a_third_of_the_others_template_slows_them_little() {
    bad_among_good(THIRD).await;
}

/// What is wrong with us, until it is put right.
#[derive(Clone, Copy)]
enum Wrong {
    /// 401, by the sandbox itself: it knows another key.
    Key,
    /// 403 to whatever we send, after a token.
    Account,
    /// 403 to all, the token call too.
    Address,
}

impl Wrong {
    const ALL: [Self; 3] = [Self::Key, Self::Account, Self::Address];

    fn begin(self, site: &Site) {
        match self {
            Self::Key => site.sandbox.set(|options| "another".clone_into(&mut options.api_key)),
            Self::Account => rule(site, &["endpoint=submit+status,answer=403"]),
            Self::Address => rule(site, &["answer=403"]),
        }
    }

    fn end(site: &Site) {
        site.sandbox.set(|options| {
            sandbox::API_KEY.clone_into(&mut options.api_key);
            options.faults.clear();
        });
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Key => "a wrong key (401)",
            Self::Account => "a wrong account (403)",
            Self::Address => "a wrong address (403, tokens too)",
        }
    }
}

/// Fifty jobs and so many workers, for five seconds of that. They are at work when it begins, or
/// start into it.
async fn refused_altogether(wrong: Wrong, templates: usize, workers: usize, at_work: bool) {
    let fewer_than = if workers == 1 { 20 } else { 45 };
    let jobs = Group::new("job", 50).of_templates(templates);
    let site = site(&[]).await;
    let mut ends = Ends::of(&site);
    let mut crew: Vec<WorkerProcess> = Vec::new();
    if at_work {
        crew.extend((0..workers).map(|_| site.worker()));
        begin_well(&site, &mut ends).await;
    }
    wrong.begin(&site);
    let before = all_calls(&site);
    put(&site, jobs.bodies()).await;
    if !at_work {
        crew.extend((0..workers).map(|_| site.worker()));
    }
    until("the first refusal", PATIENCE, async || all_calls(&site) > before).await;
    sleep(Duration::from_secs(5)).await;
    let calls = all_calls(&site) - before;
    let ended = site.results().await - usize::from(at_work);
    let words = wrong.words();
    assert!(calls < fewer_than, "{words}: {calls} calls of {workers} workers");
    assert_eq!(ended, 0, "{words}: none failed");
    Wrong::end(&site);
    ends.restart();
    let all = ends.reach(&jobs, Duration::from_secs(30)).await;
    ends.all_completed(&site, &jobs, 1..=u64::MAX);
    measured(&format!(
        "{words}, {templates} templates, {workers} workers, at work before: {at_work}: {calls} calls \
         in 5 s, all done {all:.1?} after its end"
    ));
    for worker in crew {
        assert_eq!(worker.stop().await, Some(0));
    }
}

#[tokio::test]
async fn whatever_refuses_us_costs_few_calls_and_no_job_of_one_template() {
    for wrong in Wrong::ALL {
        refused_altogether(wrong, 1, 1, false).await;
    }
}

#[tokio::test]
async fn whatever_refuses_us_costs_few_calls_and_no_job_of_ten_templates() {
    for wrong in Wrong::ALL {
        refused_altogether(wrong, 10, 1, true).await;
    }
}

#[tokio::test]
async fn whatever_refuses_three_workers_costs_few_calls_and_no_job() {
    for wrong in Wrong::ALL {
        refused_altogether(wrong, 10, 3, false).await;
    }
}

/// Ten minutes, and the default grace of fifteen, as so many seconds.
#[tokio::test]
async fn a_customer_who_is_not_known_yet_loses_no_job() {
    let new = Group::new("new", 20).of_customer("newcomer");
    let site = site(&["endpoint=submit,customer-id=newcomer,answer=403"]).await;
    let site = with(site, &[("REELQ_SUBMIT__REFUSED_GRACE", "15s")]);
    put(&site, new.bodies()).await;
    let mut ends = Ends::of(&site);
    let worker = site.worker();
    let ten_minutes = sleep(Duration::from_secs(10));
    let (others, ()) = feeding(&site, Group::new("other", 0), ten_minutes).await;
    let most = most_posts(&site, &new);
    assert!(most >= 3, "some were refused often enough to fail: {most}");
    rule(&site, &[]);
    ends.restart();
    let all = ends.reach(&new, Duration::from_secs(30)).await;
    ends.all_completed(&site, &new, 1..=u64::MAX);
    ends.reach(&others, PATIENCE).await;
    ends.all_completed(&site, &others, 1..=1);
    measured(&format!(
        "a new customer refused for 10 s beside {} others: at most {most} POSTs of a job by then, \
         all done {all:.1?} later",
        others.count
    ));
    assert_eq!(worker.stop().await, Some(0));
}
