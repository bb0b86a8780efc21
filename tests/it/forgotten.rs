//! Paid answers to jobs whose records are gone: they are said and kept aside, never dropped.

use std::collections::BTreeMap;
use std::time::Duration;

use super::support::processes::{Site, body, errors, faultless, until};

const SOON: Duration = Duration::from_secs(20);

/// What stands among the rejected entries, once there are so many.
async fn kept_aside(site: &Site, count: usize) -> Vec<BTreeMap<String, String>> {
    let rejected = "reelq:{video}:rejected";
    until("an entry among the rejected", SOON, async || {
        site.queue.command::<usize>(&["XLEN", rejected]).await == count
    })
    .await;
    let entries: Vec<(String, BTreeMap<String, String>)> =
        site.queue.command(&["XRANGE", rejected, "-", "+"]).await;
    entries.into_iter().map(|(_, fields)| fields).collect()
}

/// Somebody deletes a record while its POST is in hand, and another while its check is.
#[tokio::test]
async fn what_was_paid_for_a_deleted_job_is_said_and_kept_aside() {
    let mut options = faultless();
    options.latency = Duration::from_millis(500);
    let site = Site::new(options).await;
    let (worker, log) = site.worker_with_log();
    site.xadd(&body("posted")).await;
    until("its POST", SOON, async || site.sandbox.posts_of("posted") == 1).await;
    let _: u64 = site.queue.command(&["DEL", "reelq:{video}:job:posted"]).await;
    kept_aside(&site, 1).await;

    site.xadd(&body("checked")).await;
    let record = "reelq:{video}:job:checked";
    until("its check to be in hand", SOON, async || {
        let state: Option<String> = site.queue.command(&["HGET", record, "state"]).await;
        let lease: Option<f64> =
            site.queue.command(&["ZSCORE", "reelq:{video}:leases", "checked"]).await;
        state.as_deref() == Some("polling") && lease.is_some()
    })
    .await;
    let transaction: String = site.queue.command(&["HGET", record, "whilter-request-id"]).await;
    let _: u64 = site.queue.command(&["DEL", record]).await;
    let kept = kept_aside(&site, 2).await;
    assert_eq!(worker.stop().await, Some(0));

    let errors = errors(log).await;
    assert_eq!(errors.len(), 2, "each once: {errors:?}");
    for ((id, kept), said) in ["posted", "checked"].into_iter().zip(&kept).zip(&errors) {
        assert_eq!((&*kept["client-request-id"], &*kept["entry-id"], &*kept["job"]), (id, "", ""));
        assert_eq!(said["job.id"], id);
        let transaction = said["job.whilter_request_id"].as_str().unwrap();
        let reason = &kept["reason"];
        assert!(reason.starts_with("paid for, and its record is gone: "), "{reason}");
        assert!(reason.contains(&format!("whilter-request-id {transaction}")), "{reason}");
    }
    assert_eq!(errors[1]["job.whilter_request_id"], transaction.as_str());
    let url = errors[1]["job.url"].as_str().unwrap();
    assert!(url.starts_with("https://") && kept[1]["reason"].ends_with(url), "{errors:?}");
    assert_eq!(site.results().await, 0);
}
