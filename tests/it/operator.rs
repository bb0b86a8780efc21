//! An operator at the command line, beside a worker: pause, cancel, retry, resolve, resume.

use std::time::Duration;

use reelq::queue::{Claimant, Settlement};
use reelq::sandbox;
use serde_json::{Value, json};

use super::support::job;
use super::support::moves::unconfirm;
use super::support::processes::{Site, body, faultless, until};

const SOON: Duration = Duration::from_secs(20);

/// What a command prints, line by line, and its exit code.
async fn told(site: &Site, arguments: &[&str]) -> (Vec<Value>, Option<i32>) {
    let output = site.run(arguments).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (lines, output.status.code())
}

async fn state(site: &Site, id: &str) -> Option<String> {
    site.queue.command(&["HGET", &format!("reelq:{{video}}:job:{id}"), "state"]).await
}

#[tokio::test]
async fn what_is_cancelled_in_a_pause_is_never_sent_unless_it_is_retried() {
    let site = Site::new(faultless()).await;
    let worker = site.worker();
    assert_eq!(site.run(&["pause", "quota is spent"]).await.status.code(), Some(0));
    for id in ["a", "b", "c"] {
        site.xadd(&body(id)).await;
    }
    until("admission", SOON, async || site.counter("accepted").await == 3).await;
    let (lines, code) = told(&site, &["cancel", "a", "b", "nobody"]).await;
    assert_eq!(code, Some(1));
    let cancelled =
        |id: &str| json!({ "client-request-id": id, "state": "cancelled", "revision": 1 });
    assert_eq!(lines[..2], [cancelled("a"), cancelled("b")]);
    assert_eq!(lines[2]["error"], "there is no such job");
    let (lines, code) = told(&site, &["retry", "b"]).await;
    assert_eq!(code, Some(0));
    let again = json!({ "client-request-id": "b", "state": "waiting", "revision": 2 });
    assert_eq!(lines, [again]);
    assert_eq!(site.sandbox.stats().posts, 0, "nothing is submitted in a pause");
    assert_eq!(site.run(&["resume"]).await.status.code(), Some(0));
    site.results_reach(4, SOON).await;
    let ends = site.ends().await;
    let end = |id: &str, status: &str| (id.to_owned(), status.to_owned());
    assert_eq!(ends[..2], [end("a", "cancelled"), end("b", "cancelled")]);
    assert!(ends.contains(&end("b", "completed")) && ends.contains(&end("c", "completed")));
    assert_eq!(site.sandbox.stats().posts, 2);
    let (lines, code) = told(&site, &["retry", "b"]).await;
    assert_eq!((lines[0]["error"].as_str(), code), (Some("it has its video"), Some(1)));
    assert_eq!(worker.stop().await, Some(0));
}

#[tokio::test]
async fn an_unconfirmed_job_is_settled_by_hand() {
    let never_answers = sandbox::Options { drop_rate: 1.0, ..faultless() };
    let site = Site::new(never_answers).await.with("REELQ_SUBMIT__ON_UNCONFIRMED", "hold");
    let worker = site.worker();
    for id in ["a", "b", "c", "d"] {
        site.xadd(&body(id)).await;
        until("a lost answer", SOON, async || {
            state(&site, id).await.as_deref() == Some("unconfirmed")
        })
        .await;
    }
    let url = "https://cdn.example/b.mp4";
    for (arguments, state) in [
        (["resolve", "a", "--fail", "support says no"], "failed"),
        (["resolve", "b", "--url", url], "completed"),
        (["resolve", "c", "--transaction", "w-unknown"], "polling"),
    ] {
        let (lines, code) = told(&site, &arguments).await;
        assert_eq!((lines[0]["state"].as_str(), code), (Some(state), Some(0)), "{lines:?}");
    }
    let (lines, code) = told(&site, &["resolve", "b", "--fail", "no"]).await;
    let why = "it is not unconfirmed but completed";
    assert_eq!((lines[0]["error"].as_str(), code), (Some(why), Some(1)));
    for wrong in [
        &["resolve", "d"][..],
        &["resolve", "d", "--url", "ftp://x"],
        &["resolve", "d", "--transaction", "a b"],
        &["resolve", "d", "--fail", "x", "--url", url],
    ] {
        assert_eq!(site.run(wrong).await.status.code(), Some(2), "{wrong:?}");
    }
    let posts = || site.sandbox.stats().posts;
    let before = posts();
    assert_eq!(told(&site, &["retry", "d"]).await.1, Some(0));
    until("one more POST", SOON, async || posts() == before + 1).await;
    assert_eq!(worker.stop().await, Some(0));
}

#[tokio::test]
async fn many_dead_jobs_are_retried_only_when_that_is_meant() {
    const JOBS: usize = 101;
    let all_fail = sandbox::Options { fail_rate: 1.0, ..faultless() };
    let site = Site::new(all_fail).await;
    let worker = site.worker();
    let jobs: Vec<String> = (0..JOBS).map(|number| body(&format!("job-{number}"))).collect();
    let enqueued = site.run_with_input(&["enqueue"], jobs.join("\n").as_bytes()).await;
    assert_eq!(enqueued.status.code(), Some(0));
    site.results_reach(JOBS, SOON).await;
    assert_eq!(worker.stop().await, Some(0));
    // But for the time that goes by.
    let dump = async || {
        let dump = site.queue.dump().await;
        let lines = dump.lines().map(|line| line.split(" ttl ").next().unwrap_or_default());
        lines.collect::<Vec<_>>().join("\n")
    };
    let before = dump().await;
    let (lines, code) = told(&site, &["retry", "--dead", "--dry-run"]).await;
    assert_eq!((lines.len(), code), (JOBS, Some(0)));
    let would = json!({ "client-request-id": "job-1", "state": "waiting", "revision": 2 });
    assert!(lines.contains(&would), "{lines:?}");
    assert_eq!(told(&site, &["retry", "--dry-run", "job-1"]).await, (vec![would], Some(0)));
    for (arguments, expected) in [
        (&["retry", "--dead"][..], 2),
        (&["retry", "--dead", "--error", "no-such-code"], 2),
        (&["retry", "--dead", "job-1"], 2),
        (&["retry", "job-1", "--since", "1h"], 2),
        (&["retry", "job-1", "--limit", "1"], 2),
        (&["retry", "job-1", "--error", "bad-request"], 2),
        (&["retry"], 2),
        (&["retry", "--dead", "--error", "poll-deadline"], 0),
        (&["retry", "--dead", "--since", "1ms"], 0),
    ] {
        let (lines, code) = told(&site, arguments).await;
        assert_eq!((lines.len(), code), (0, Some(expected)), "{arguments:?}");
    }
    assert_eq!(dump().await, before, "nothing was changed so far");
    let filters = ["retry", "--dead", "--error", "generation-failed", "--since", "1h"];
    let (lines, _) = told(&site, &[&filters[..], &["--limit", "5"]].concat()).await;
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0]["state"], "waiting", "the API made nothing of it: it starts over");
    assert_eq!(told(&site, &["retry", "--dead", "--yes"]).await.0.len(), JOBS - 5);
    assert_eq!(site.counter("reopened").await, JOBS as u64);
}

/// Jobs whose POST was sent and never answered, and that are held for a person.
async fn hold(site: &Site, count: usize) {
    let queue = &site.queue.queue;
    let jobs: Vec<_> = (0..count).map(|number| job(&format!("job-{number}"))).collect();
    queue.enqueue_many(&jobs).await.unwrap();
    for number in 1.. {
        let claimant = Claimant { worker: "w1", limit: 100, number, rate: None };
        let claimed = queue.claim_submits(claimant).await.unwrap().0.jobs;
        if claimed.is_empty() {
            break;
        }
        let held = |job: &reelq::queue::SubmitClaim| Settlement {
            id: job.id.clone(),
            claim: job.claim,
            to: unconfirm(true),
        };
        let settlements: Vec<_> = claimed.iter().map(held).collect();
        queue.settle("w1", &settlements).await.unwrap();
    }
}

#[tokio::test]
async fn many_held_jobs_are_sent_once_more_only_when_that_is_meant() {
    const JOBS: usize = 101;
    let site = Site::new(faultless()).await;
    hold(&site, JOBS).await;
    let place = async || -> Vec<String> {
        let all = ["ZRANGE", "reelq:{video}:unconfirmed", "0", "-1", "WITHSCORES"];
        site.queue.command(&all).await
    };
    let before = place().await;
    let (lines, code) = told(&site, &["retry", "--held", "--dry-run"]).await;
    assert_eq!((lines.len(), code), (JOBS, Some(0)));
    let would = json!({ "client-request-id": "job-7", "state": "unconfirmed", "revision": 1 });
    assert!(lines.contains(&would), "{lines:?}");
    for arguments in [
        &["retry", "--held"][..],
        &["retry", "--held", "--yes", "--dead"],
        &["retry", "--held", "--yes", "job-1"],
        &["retry", "--held", "--yes", "--error", "submit-unconfirmed"],
        &["retry", "--held", "--yes", "--since", "1h"],
        &["retry", "--held", "--yes", "--resubmit"],
        &["retry", "--held", "--yes", "--limit", "-1"],
    ] {
        assert_eq!(told(&site, arguments).await, (vec![], Some(2)), "{arguments:?}");
    }
    assert_eq!(place().await, before, "nothing was changed so far");
    assert_eq!(told(&site, &["retry", "--held", "--limit", "5"]).await.0.len(), 5);
    let retried = site.run(&["retry", "--held"]).await;
    assert_eq!(retried.status.code(), Some(0), "96 are fewer than a hundred");
    let said = String::from_utf8(retried.stderr).unwrap();
    assert!(said.contains(&format!("to be submitted, and paid: {}", JOBS - 5)), "{said}");
    assert_eq!(told(&site, &["retry", "--held"]).await, (vec![], Some(0)), "none is held any more");
    let worker = site.worker();
    site.results_reach(JOBS, SOON).await;
    assert!(site.ends().await.iter().all(|(_, status)| status == "completed"));
    assert_eq!(site.sandbox.stats().posts, JOBS as u64, "each once more");
    assert_eq!(worker.stop().await, Some(0));
}

/// By itself it would be tried again after half a minute at least.
#[tokio::test]
async fn a_closed_stage_is_tried_at_once_when_an_operator_says_so() {
    const JOBS: usize = 30;
    let refuses = "endpoint=submit,answer=403".parse().unwrap();
    let site = Site::new(sandbox::Options { faults: vec![refuses], ..faultless() }).await;
    let site = site.with("REELQ_SUBMIT__BACKOFF_INITIAL", "60s");
    let said = async |arguments: &[&str]| {
        let output = site.run(arguments).await;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let now = ["resume", "--stage", "submit"];
    assert!(said(&now).await.contains("submit is open"));
    assert_eq!(site.run(&["resume", "--stage", "token"]).await.status.code(), Some(2));
    for number in 0..JOBS {
        site.xadd(&body(&format!("job-{number}"))).await;
    }
    let worker = site.worker();
    until("a halt", SOON, async || site.queue.exists("stage:submit").await).await;
    let posts = || site.sandbox.stats().posts;
    let refused = posts();
    assert!(refused < JOBS as u64, "some have not been tried yet: {refused}");
    assert!(said(&now).await.contains("submit is probed at once"));
    until("a probe", SOON, async || posts() > refused).await;
    site.sandbox.set(|options| options.faults.clear());
    assert_eq!(site.run(&["pause"]).await.status.code(), Some(0));
    assert!(said(&now).await.contains("submit is paused"));
    assert!(said(&["resume"]).await.contains("resumed"));
    assert!(said(&["resume", "--stage", "poll"]).await.contains("poll is open"));
    // The pause has put off nothing: what was to be probed at once is.
    until("a video", SOON, async || site.counter("completed").await > 0).await;
    assert!(!site.queue.exists("stage:submit").await);
    assert_eq!(worker.stop().await, Some(0));
}
