//! Whole lives: XADD at one end, a result at the other, through worker processes and the sandbox.

use std::time::Duration;

use super::support::processes::{Site, body, faultless, until};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn one_xadd_and_nothing_else_leads_to_one_result() {
    let site = Site::new(faultless()).await;
    let worker = site.worker();
    let entry_id = site.xadd(&body("only")).await;
    site.results_reach(1, SOON).await;
    let result = &site.queue.queue.results_after("0").read(9, SOON).await.unwrap()[0];
    assert_eq!(result.get("client-request-id"), Some("only"));
    assert_eq!(result.get("status"), Some("completed"));
    assert_eq!(result.get("entry-id"), Some(entry_id.as_str()));
    assert_eq!(result.get("posts"), Some("1"));
    assert_eq!(result.get("source"), Some("poll"));
    assert!(result.get("video-url").is_some_and(|url| url.starts_with("https://")));
    assert_eq!(worker.stop().await, Some(0));
    assert_eq!(site.results().await, 1);
    let left: u64 = site.queue.command(&["XLEN", "reelq:{video}:jobs"]).await;
    assert_eq!(left, 0, "the inbox is empty");
}

#[tokio::test]
async fn three_hundred_jobs_are_posted_once_each_with_bodies_as_given() {
    let site = Site::new(faultless()).await;
    let worker = site.worker();
    // Spacing, escapes and field order are the producer's own and must arrive as they are.
    let odd = |number: usize| {
        format!(
            "{{ \"user-id\":\"u\\u00e4{number}\",\"use-case-id\" : \"b\", \"customer-id\":\"c\",\
             \"video-texts\":[],\"client-request-id\":\"job-{number}\"}}"
        )
    };
    for number in 0..300 {
        site.xadd(&odd(number)).await;
    }
    site.results_reach(300, SOON).await;
    assert_eq!(worker.stop().await, Some(0));
    let mut ends = site.ends().await;
    ends.sort();
    ends.dedup();
    assert_eq!(ends.len(), 300);
    assert!(ends.iter().all(|(_, status)| status == "completed"));
    for number in 0..300 {
        let id = format!("job-{number}");
        assert_eq!(site.sandbox.posts_of(&id), 1, "{id}");
        assert_eq!(site.sandbox.body_of(&id).as_deref(), Some(odd(number).as_bytes()), "{id}");
    }
    assert!(site.sandbox.stats().token_calls() <= 2);
}

#[tokio::test]
async fn one_id_five_times_with_three_workers_is_one_post_and_one_result() {
    let site = Site::new(faultless()).await;
    let workers = [site.worker(), site.worker(), site.worker()];
    until("three workers", SOON, async || {
        site.queue.command::<u64>(&["ZCARD", "reelq:{video}:workers"]).await == 3
    })
    .await;
    let body = body("same");
    tokio::join!(
        site.xadd(&body),
        site.xadd(&body),
        site.xadd(&body),
        site.xadd(&body),
        site.xadd(&body)
    );
    site.xadd(&body.replace("ann", "bob")).await;
    site.results_reach(1, SOON).await;
    until("the others to be recognised", SOON, async || {
        site.counter("duplicate").await == 4 && site.counter("conflict").await == 1
    })
    .await;
    for worker in workers {
        assert_eq!(worker.stop().await, Some(0));
    }
    assert_eq!(site.ends().await, [("same".to_owned(), "completed".to_owned())]);
    assert_eq!(site.sandbox.posts_of("same"), 1);
    let aside: u64 = site.queue.command(&["XLEN", "reelq:{video}:rejected"]).await;
    assert_eq!(aside, 1, "the conflict is kept aside");
}

#[tokio::test]
async fn faults_of_the_api_are_retried_until_every_job_has_its_video() {
    let mut options = faultless();
    options.error_rate = 0.3;
    options.status_error_rate = 0.3;
    options.ready_after = Duration::from_millis(300);
    let site = Site::new(options).await.with("REELQ_SUBMIT__BACKOFF_INITIAL", "50ms");
    let worker = site.worker();
    for number in 0..50 {
        site.xadd(&body(&format!("job-{number}"))).await;
    }
    site.results_reach(50, SOON).await;
    assert_eq!(worker.stop().await, Some(0));
    assert!(site.ends().await.iter().all(|(_, status)| status == "completed"));
    assert!(site.counter("retried").await > 0, "some POST failed");
}

#[tokio::test]
async fn a_pause_holds_submits_and_nothing_else() {
    let site = Site::new(faultless()).await.with("REELQ_POLL__FIRST", "1s");
    let worker = site.worker();
    site.xadd(&body("followed")).await;
    until("the first job to be followed", SOON, async || {
        site.queue.command::<u64>(&["ZCARD", "reelq:{video}:poll"]).await == 1
    })
    .await;
    let _: () = site.queue.command(&["SET", "reelq:{video}:paused", "holiday"]).await;
    site.xadd(&body("held")).await;
    site.results_reach(1, SOON).await;
    until("the second job to be admitted", SOON, async || {
        site.queue.command::<u64>(&["ZCARD", "reelq:{video}:submit"]).await == 1
    })
    .await;
    assert_eq!(site.ends().await, [("followed".to_owned(), "completed".to_owned())]);
    assert_eq!(site.sandbox.posts_of("held"), 0);
    let _: () = site.queue.command(&["DEL", "reelq:{video}:paused"]).await;
    site.results_reach(2, SOON).await;
    assert_eq!(worker.stop().await, Some(0));
}

/// A fetch that unpacks all that is due at once stops for good at 8,000; ours is bounded.
#[tokio::test]
async fn fifty_thousand_polls_due_at_one_moment_drain_without_a_pause() {
    const POLLS: usize = 50_000;
    let site = Site::new(faultless())
        .await
        .with("REELQ_POLL__FIRST", "30s")
        .with("REELQ_LOG__FILTER", "warn");
    let worker = site.worker();
    let jobs: Vec<_> =
        (0..POLLS).map(|number| super::support::job(&format!("j{number}"))).collect();
    // A future of the library can be spawned.
    let queue = site.queue.queue.clone();
    tokio::spawn(async move { queue.enqueue_many(&jobs).await }).await.unwrap().unwrap();
    until("every job to be accepted", Duration::from_secs(120), async || {
        site.counter("submitted").await == POLLS as u64
    })
    .await;
    assert_eq!(site.results().await, 0, "no check was due yet");
    // All of them become due at one moment.
    let due_now = "local ids = redis.call('ZRANGE', KEYS[1], 0, -1)
        for _, id in ipairs(ids) do redis.call('ZADD', KEYS[1], 1, id) end
        return redis.call('PUBLISH', ARGV[1], 'poll')";
    let _: u64 = site
        .queue
        .command(&["EVAL", due_now, "1", "reelq:{video}:poll", "reelq:{video}:wake"])
        .await;
    let mut seen = 0;
    while seen < POLLS {
        until("the drain to go on", Duration::from_secs(2), async || site.results().await > seen)
            .await;
        seen = site.results().await;
    }
    assert_eq!(worker.stop().await, Some(0));
    assert_eq!(site.results().await, POLLS);
}
