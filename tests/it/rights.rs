//! A Redis user without some rights: what is optional is done without, and what is missing is named
//! and waited for, with nothing lost.

use std::time::Duration;

use reelq::queue::needed_commands;

use super::cut_off::judge::{is_busy, verdict};
use super::support::processes::{Http, Site, body, faultless, until};
use super::support::say;

const SOON: Duration = Duration::from_secs(60);
/// How long each right is missing; `REELQ_RIGHTS_MISSING_MS` sets another time.
const MISSING: Duration = Duration::from_millis(1500);
/// Commands that every life uses, so that their absence is noticed while it lasts.
const IN_USE: [&str; 9] =
    ["HGET", "HINCRBY", "HMGET", "HSET", "XACK", "XADD", "XREADGROUP", "ZADD", "ZREM"];
/// What a connection needs to call a script at all.
const CONNECTION: [&str; 4] = ["+ping", "+evalsha", "+script|load", "+select"];

impl Site {
    /// A site whose workers are the user `worker`, with these rights.
    async fn with_rights(rights: &[&str]) -> Self {
        let site = Self::new(faultless()).await;
        site.rights(&["on", ">secret", "~reelq:{video}:*", "resetchannels"]).await;
        site.rights(rights).await;
        site.with("REELQ_REDIS__USERNAME", "worker").with("REELQ_REDIS__PASSWORD", "secret")
    }

    async fn rights(&self, rights: &[&str]) {
        let words: Vec<&str> =
            ["ACL", "SETUSER", "worker"].into_iter().chain(rights.iter().copied()).collect();
        let _: () = self.queue.command(&words).await;
    }

    async fn enqueue_and_see_them_end(&self, count: usize) {
        for number in 0..count {
            self.xadd(&body(&format!("job-{number}"))).await;
        }
        self.results_reach(count, SOON).await;
        let ids: Vec<_> = (0..count).map(|number| format!("job-{number}")).collect();
        assert_eq!(verdict(&self.queue, &ids, true).await, Vec::<String>::new());
        assert_eq!(self.sandbox.stats().accepted, count as u64);
    }
}

/// How a command is written in a rule.
fn rule(sign: char, command: &str) -> String {
    format!("{sign}{}", command.to_lowercase().replace(' ', "|"))
}

#[tokio::test]
async fn what_is_not_dangerous_is_enough_without_any_channel() {
    let optional = ["-info", "-config", "-client", "-subscribe", "-publish"];
    let rights: Vec<_> = ["+@all", "-@dangerous"].into_iter().chain(optional).collect();
    let (site, http) = Site::with_rights(&rights).await.serving().await;
    let worker = site.worker();
    site.enqueue_and_see_them_end(50).await;
    assert_eq!(http.get("/readyz").await.0, 200);
    assert_eq!(worker.stop().await, Some(0));
}

#[tokio::test]
async fn the_rights_that_are_asked_for_are_enough() {
    let needed: Vec<String> = needed_commands().map(|command| rule('+', &command)).collect();
    let mut rights = vec!["-@all"];
    rights.extend(CONNECTION);
    rights.extend(needed.iter().map(String::as_str));
    let site = Site::with_rights(&rights).await;
    let worker = site.worker();
    site.enqueue_and_see_them_end(20).await;
    assert_eq!(worker.stop().await, Some(0));
}

async fn is_ready(http: &Http) -> bool {
    http.get("/readyz").await.0 == 200
}

#[tokio::test]
async fn what_is_missing_at_the_start_is_named_and_waited_for() {
    let (site, http) = Site::with_rights(&["+@all", "-xadd", "-xgroup"]).await.serving().await;
    let worker = site.worker();
    site.xadd(&body("a")).await;
    let said = "the Redis user lacks rights: XADD on results, rejected; XGROUP CREATE on jobs; \
                XGROUP DELCONSUMER on jobs\n";
    let named = async || http.try_get("/readyz").await == Some((503, said.to_owned()));
    until("what is missing to be named", SOON, named).await;
    assert_eq!(site.sandbox.stats().posts, 0);
    assert_eq!(site.queue.command::<u64>(&["XLEN", "reelq:{video}:jobs"]).await, 1);
    site.rights(&["+xadd", "+xgroup"]).await;
    site.results_reach(1, SOON).await;
    until("readiness", SOON, async || is_ready(&http).await).await;
    assert_eq!(worker.stop().await, Some(0));
}

/// Each right in turn is taken away from two busy workers and given back.
#[tokio::test]
async fn each_right_taken_away_under_load_loses_nothing_and_buys_nothing_twice() {
    let site = Site::with_rights(&["+@all"])
        .await
        .with("REELQ_API__REQUEST_TIMEOUT", "1s")
        .with("REELQ_QUEUE__LEASE", "11s");
    site.sandbox.set(|options| options.latency = Duration::from_millis(20));
    let (site, http) = site.serving().await;
    let first = site.worker();
    let second = site.worker();
    until("readiness", SOON, async || http.try_get("/readyz").await.is_some_and(|it| it.0 == 200))
        .await;
    let missing = std::env::var_os("REELQ_RIGHTS_MISSING_MS").map_or(MISSING, |ms| {
        let ms = ms.to_string_lossy().parse();
        Duration::from_millis(ms.expect("REELQ_RIGHTS_MISSING_MS is a number"))
    });
    let mut ids = Vec::new();
    for command in needed_commands() {
        site.rights(&[&rule('-', &command)]).await;
        let mut beat = tokio::time::interval(Duration::from_millis(100));
        let given_back_at = tokio::time::Instant::now() + missing;
        let mut named = false;
        while tokio::time::Instant::now() < given_back_at {
            beat.tick().await;
            let (code, said) = http.get("/readyz").await;
            named |= code == 503 && said.contains(&command);
            for _ in 0..5 {
                let id = format!("job-{}", ids.len());
                site.xadd(&body(&id)).await;
                ids.push(id);
            }
        }
        assert!(named || !IN_USE.contains(&command.as_str()), "{command} was not named");
        site.rights(&[&rule('+', &command)]).await;
        until(&format!("readiness after -{command}"), SOON, async || is_ready(&http).await).await;
    }
    until("all places to be empty", SOON, async || !is_busy(&site.queue).await).await;
    assert_eq!(verdict(&site.queue, &ids, true).await, Vec::<String>::new());
    assert_eq!(site.results().await, ids.len(), "each job ended once");
    let stats = site.sandbox.stats();
    assert_eq!((stats.accepted, stats.duplicates), (ids.len() as u64, 0), "{stats:?}");
    say(&format!("{} jobs, each right missing for {missing:?}\n", ids.len()));
    for worker in [first, second] {
        assert_eq!(worker.stop().await, Some(0));
    }
}
