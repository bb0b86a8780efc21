//! A slow, broken, misconfigured or limiting API: it costs patience and nothing else.

use std::time::Duration;

use reelq::sandbox::{self, Endpoint, Mode};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::support::processes::{Site, WorkerProcess, body, until};

const PATIENCE: Duration = Duration::from_secs(90);

/// Without faults, as far away as an API is.
fn distant() -> sandbox::Options {
    let latency = Duration::from_millis(20);
    sandbox::Options { latency, ..super::support::processes::faultless() }
}

async fn enqueue(site: &Site, jobs: usize) {
    for number in 0..jobs {
        site.xadd(&body(&format!("job-{number}"))).await;
    }
}

/// Has the workers fetch their token and do one job, while the API is well.
async fn begin_well(site: &Site) {
    site.xadd(&body("first")).await;
    site.results_reach(1, PATIENCE).await;
}

/// All calls but those for a token.
fn calls(site: &Site) -> u64 {
    let calls = site.sandbox.stats().calls;
    let of = |endpoint| calls.get(&endpoint).map_or(0, |answers| answers.values().sum::<u64>());
    of(Endpoint::Submit) + of(Endpoint::Status)
}

fn answered(site: &Site, code: &str) -> u64 {
    let stats = site.sandbox.stats();
    stats.answered(Endpoint::Submit, code) + stats.answered(Endpoint::Status, code)
}

async fn all_complete(site: &Site, jobs: usize) {
    site.results_reach(jobs, PATIENCE).await;
    let ends = site.ends().await;
    assert!(ends.iter().all(|(_, status)| status == "completed"), "{ends:?}");
    assert_eq!(ends.len(), jobs, "one result each");
    let posts = site.sandbox.stats().accepted;
    assert_eq!(posts, jobs as u64, "none was paid twice");
}

async fn stop(workers: Vec<WorkerProcess>) {
    for worker in workers {
        assert_eq!(worker.stop().await, Some(0));
    }
}

async fn refused_for_five_seconds(workers: usize, calls_below: u64) {
    let site = Site::new(distant()).await;
    let workers = (0..workers).map(|_| site.worker()).collect();
    begin_well(&site).await;
    site.sandbox.set(|options| options.mode = Mode::Refuse);
    let calls_before = calls(&site);
    enqueue(&site, 50).await;
    sleep(Duration::from_secs(5)).await;
    let stage: String = site.queue.command(&["HGET", "reelq:{video}:stage:submit", "state"]).await;
    assert_eq!((stage.as_str(), site.results().await), ("halted", 1));
    let made = calls(&site) - calls_before;
    assert!(made < calls_below, "{made} calls");
    site.sandbox.set(|options| options.mode = Mode::Normal);
    all_complete(&site, 51).await;
    assert!(!site.queue.exists("stage:submit").await, "open again");
    stop(workers).await;
}

#[tokio::test]
async fn when_all_are_refused_the_stage_halts_and_none_fails() {
    refused_for_five_seconds(1, 20).await;
}

#[tokio::test]
async fn three_workers_halt_together() {
    refused_for_five_seconds(3, 40).await;
}

/// What is paid for is in Redis before anybody is told that the API is well again.
#[tokio::test]
async fn the_answer_that_opens_a_stage_is_written_first() {
    let site = Site::new(distant()).await;
    let worker = site.worker();
    begin_well(&site).await;
    site.sandbox.set(|options| options.mode = Mode::Refuse);
    enqueue(&site, 20).await;
    until("the halt", PATIENCE, async || site.queue.exists("stage:submit").await).await;
    let address = site.queue.url.trim_start_matches("redis://");
    let mut monitor = BufReader::new(TcpStream::connect(address).await.unwrap());
    monitor.write_all(b"MONITOR\r\n").await.unwrap();
    let mut commands = monitor.lines();
    assert_eq!(commands.next_line().await.unwrap().as_deref(), Some("+OK"));
    site.sandbox.set(|options| options.mode = Mode::Normal);
    let mut accepted = false;
    loop {
        let line = timeout(PATIENCE, commands.next_line()).await.unwrap().unwrap().unwrap();
        accepted |= line.contains(r#""state" "polling""#);
        if line.contains(r#""DEL" "reelq:{video}:stage:submit""#) {
            break;
        }
    }
    assert!(accepted, "the stage was opened before the probe's answer was written");
    all_complete(&site, 21).await;
    stop(vec![worker]).await;
}

#[tokio::test]
async fn an_outage_breaks_the_stage_and_spends_few_calls() {
    let site = Site::new(distant()).await;
    let worker = site.worker();
    enqueue(&site, 300).await;
    until("a good start", PATIENCE, async || site.counter("submitted").await >= 100).await;
    site.sandbox.set(|options| options.mode = Mode::Down);
    let calls_before = calls(&site);
    sleep(Duration::from_secs(8)).await;
    let made = calls(&site) - calls_before;
    assert!(made < 100, "{made} calls");
    site.sandbox.set(|options| options.mode = Mode::Normal);
    all_complete(&site, 300).await;
    stop(vec![worker]).await;
}

#[tokio::test]
async fn an_api_that_answers_pages_halts_the_stage() {
    let (site, http) = Site::new(distant()).await.serving().await;
    let site =
        site.with("REELQ_API__REQUEST_TIMEOUT", "1s").with("REELQ_SUBMIT__UNCONFIRMED_GRACE", "1s");
    let worker = site.worker();
    begin_well(&site).await;
    site.sandbox.set(|options| options.mode = Mode::Html);
    let calls_before = calls(&site);
    enqueue(&site, 50).await;
    let says_why = async || {
        let (_, readyz) = http.get("/readyz").await;
        readyz.starts_with("ready; submit: halted for ")
            && readyz.contains(" s (200, not understood: ")
    };
    until("the halt in /readyz", PATIENCE, says_why).await;
    let (_, metrics) = http.get("/metrics").await;
    let halted = r#"reelq_stage_closed{queue="video",stage="submit",state="halted"} 1"#;
    assert!(metrics.contains(halted), "{metrics}");
    let again_at = metrics
        .lines()
        .find(|it| {
            it.starts_with("reelq_stage_next_probe_timestamp_seconds") && it.contains("submit")
        })
        .and_then(|it| it.rsplit(' ').next()?.parse::<f64>().ok());
    assert!(again_at.is_some_and(|it| it > 1.7e9), "{again_at:?}");
    sleep(Duration::from_secs(4)).await;
    let made = calls(&site) - calls_before;
    assert!(made < 20, "{made} calls");
    site.sandbox.set(|options| options.mode = Mode::Normal);
    all_complete(&site, 51).await;
    stop(vec![worker]).await;
}

#[tokio::test]
async fn a_foreign_template_fails_its_job_and_no_other() {
    let foreign = Some("foreign".to_owned());
    let site = Site::new(sandbox::Options { foreign_use_case: foreign, ..distant() })
        .await
        .with("REELQ_SUBMIT__REFUSED_GRACE", "500ms");
    let worker = site.worker();
    enqueue(&site, 100).await;
    site.xadd(&body("job-x").replace("birthday", "foreign")).await;
    for number in 100..199 {
        site.xadd(&body(&format!("job-{number}"))).await;
    }
    site.results_reach(200, PATIENCE).await;
    let mut ends = site.ends().await;
    let (id, status) = ends.pop().unwrap();
    assert_eq!((id.as_str(), status.as_str()), ("job-x", "failed"));
    assert!(ends.iter().all(|(_, status)| status == "completed"));
    let error: String = site.queue.command(&["HGET", "reelq:{video}:job:job-x", "error"]).await;
    assert!(error.starts_with("api-refused: 403"), "{error}");
    assert!(!site.queue.exists("stage:submit").await);
    stop(vec![worker]).await;
}

#[tokio::test]
async fn a_limit_is_found_and_kept_by_the_fleet() {
    let site = Site::new(sandbox::Options { limit: Some(20.0), ..distant() }).await;
    let workers = vec![site.worker(), site.worker(), site.worker()];
    enqueue(&site, 300).await;
    all_complete(&site, 300).await;
    let (all, above) = (calls(&site), answered(&site, "429"));
    assert!(above * 10 < all, "{above} of {all} calls were above the limit");
    let attempts: String =
        site.queue.command(&["HGET", "reelq:{video}:job:job-7", "attempts"]).await;
    assert_eq!(attempts, "0", "a 429 spends none");
    stop(workers).await;
}

#[tokio::test]
async fn a_configured_rate_is_never_exceeded() {
    const JOBS: usize = 60;
    let site = Site::new(distant()).await.with("REELQ_SUBMIT__RATE", "20/s");
    let workers = vec![site.worker(), site.worker()];
    enqueue(&site, JOBS).await;
    all_complete(&site, JOBS).await;
    let id = |number| format!("job-{number}");
    let mut moments: Vec<_> =
        (0..JOBS).map(|number| site.sandbox.moments_of(&id(number)).unwrap().posted).collect();
    moments.sort();
    for second in moments.windows(21 + 2) {
        // Two more than a second's worth, for what the way to the API adds or takes.
        let took = second[22].duration_since(second[0]);
        assert!(took > Duration::from_secs(1), "23 POSTs within {took:?}");
    }
    stop(workers).await;
}

#[tokio::test]
async fn an_outage_of_status_checks_outlasts_the_deadline_and_loses_no_video() {
    let site = Site::new(sandbox::Options { status_error_rate: 1.0, ..distant() })
        .await
        .with("REELQ_POLL__DEADLINE", "1s");
    let worker = site.worker();
    enqueue(&site, 30).await;
    until("acceptance", PATIENCE, async || site.counter("submitted").await == 30).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(site.results().await, 0, "no clock ends a job that is accepted");
    site.sandbox.set(|options| options.status_error_rate = 0.0);
    all_complete(&site, 30).await;
    stop(vec![worker]).await;
}

#[tokio::test]
async fn an_api_slower_than_our_patience_is_not_called_again_and_again() {
    const JOBS: u64 = 200;
    let slow = sandbox::Options { latency: Duration::from_secs(3), ..distant() };
    let site = Site::new(slow)
        .await
        .with("REELQ_API__REQUEST_TIMEOUT", "1s")
        .with("REELQ_SUBMIT__UNCONFIRMED_GRACE", "1s");
    let worker = site.worker();
    // The token call comes first, and is as slow.
    site.sandbox.set(|options| options.latency = Duration::ZERO);
    site.xadd(&body("first")).await;
    until("a token", PATIENCE, async || site.counter("submitted").await == 1).await;
    site.sandbox.set(|options| options.latency = Duration::from_secs(3));
    for number in 0..JOBS {
        site.xadd(&body(&format!("job-{number}"))).await;
    }
    until("the break", PATIENCE, async || site.queue.exists("stage:submit").await).await;
    sleep(Duration::from_secs(10)).await;
    let stats = site.sandbox.stats();
    assert!(stats.max_posts_per_id <= 3, "{stats:?}");
    assert!(stats.posts < 60, "{} POSTs", stats.posts);
    let ends = site.ends().await;
    assert!(ends.iter().all(|(_, status)| status == "completed"), "{ends:?}");
    stop(vec![worker]).await;
}

/// All tokens issued so far are refused from now on, three times.
#[tokio::test]
async fn a_revoked_token_is_fetched_once_by_each_worker() {
    const REVOCATIONS: u64 = 3;
    let site = Site::new(distant()).await;
    let workers = vec![site.worker(), site.worker()];
    for revocation in 1..=REVOCATIONS {
        for number in 0..100 {
            site.xadd(&body(&format!("job-{revocation}-{number}"))).await;
        }
        let so_far = (revocation - 1) * 100;
        until("some", PATIENCE, async || site.counter("submitted").await > so_far + 20).await;
        site.sandbox.revoke_tokens();
        site.results_reach(usize::try_from(revocation * 100).unwrap(), PATIENCE).await;
    }
    all_complete(&site, usize::try_from(REVOCATIONS * 100).unwrap()).await;
    let fetched = site.sandbox.stats().token_calls();
    assert!(fetched <= 2 * REVOCATIONS + 4, "{fetched} token calls");
    stop(workers).await;
}

#[tokio::test]
async fn workers_that_revoke_each_other_make_no_storm() {
    let site = Site::new(sandbox::Options { single_token: true, ..distant() }).await;
    let began = std::time::Instant::now();
    let workers = vec![site.worker(), site.worker(), site.worker()];
    enqueue(&site, 100).await;
    all_complete(&site, 100).await;
    let (fetched, seconds) = (site.sandbox.stats().token_calls(), began.elapsed().as_secs());
    // The first second has one, too.
    assert!(fetched <= seconds + 1, "{fetched} token calls in {seconds} s");
    stop(workers).await;
}
