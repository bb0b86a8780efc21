//! Replies of Redis that get lost: the command was carried out and nobody knows. Whichever of a
//! job's commands it hits, the job is posted once and ends once.

use std::time::Duration;

use super::support::id;
use super::support::processes::{Site, body, faultless, until};
use super::support::proxy::Proxy;

const SOON: Duration = Duration::from_secs(30);

/// How a job gets into a worker's hands.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// By its admission.
    AtOnce,
    /// By a claim, after it has waited.
    Later,
}

/// One life, of which these replies are lost. Returns how many commands it took.
async fn live(site: &Site, proxy: &Proxy, way: Way, lost: &[usize]) -> usize {
    let before = site.results().await;
    let name = &format!("{way:?}-{before}-{lost:?}").replace(' ', "");
    proxy.lose(name, lost.iter().copied());
    let (seconds, micros): (u64, u64) = site.queue.command(&["TIME"]).await;
    let not_before = match way {
        Way::AtOnce => 0,
        Way::Later => seconds * 1000 + micros / 1000 + 30,
    };
    let not_before = format!("{not_before:013}");
    let body = body(name);
    let words = ["XADD", "reelq:{video}:jobs", "*", "job", &body, "not-before", &not_before];
    let _: String = site.queue.command(&words).await;
    site.results_reach(before + 1, SOON).await;
    let record = site.queue.queue.record(&id(name)).await.unwrap().unwrap();
    assert_eq!(record.state(), "completed", "{lost:?}: {record:?}");
    assert_eq!(record.get("posts"), Some("1"), "{lost:?}: {record:?}");
    assert_eq!(site.sandbox.posts_of(name), 1, "{lost:?}: {record:?}");
    // The worker may still have to hear of the end, and to let its lease go.
    until("nothing to be left over", SOON, async || {
        let held: u64 = site.queue.command(&["ZCARD", "reelq:{video}:leases"]).await;
        let inbox: u64 = site.queue.command(&["XLEN", "reelq:{video}:jobs"]).await;
        held + inbox == 0
    })
    .await;
    assert_eq!(site.results().await, before + 1, "{lost:?}: it ended once");
    proxy.seen()
}

#[tokio::test]
async fn whichever_reply_is_lost_a_job_is_posted_once_and_ends_once() {
    let site = Site::new(faultless()).await;
    let proxy = Proxy::start(&site.queue.url).await;
    let site = site.with("REELQ_REDIS__URL", &proxy.url()).with("REELQ_POLL__FIRST", "20ms");
    let worker = site.worker();
    for (way, least) in [(Way::AtOnce, 5), (Way::Later, 6)] {
        let commands = live(&site, &proxy, way, &[]).await;
        assert!(commands >= least, "read, admitted, accepted, claimed, ended: {commands}");
        for first in 1..=commands {
            live(&site, &proxy, way, &[first]).await;
            until("the command to be repeated", SOON, async || proxy.seen() > first).await;
            // A repeated command may lose its reply again.
            for second in first + 1..=commands + 1 {
                live(&site, &proxy, way, &[first, second]).await;
            }
        }
    }
    assert_eq!(worker.stop().await, Some(0));
    let ends = site.ends().await;
    assert!(ends.iter().all(|(_, status)| status == "completed"));
}
