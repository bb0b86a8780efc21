//! Entries of the inbox that lie with a reader that does not admit them: a worker takes them over.

use std::time::Duration;

use reelq::queue::{ADMIT_BATCH, Inbox};

use super::support::TestQueue;

const JOBS: &str = "reelq:{video}:jobs";

/// Adds entries and has a reader take them; gives their ids.
async fn taken_by_another(queue: &TestQueue, count: usize) -> Vec<String> {
    queue.queue.create_group().await.unwrap();
    let mut ids: Vec<String> = Vec::new();
    for _ in 0..count {
        ids.push(queue.command(&["XADD", JOBS, "*", "job", "{}"]).await);
    }
    let count = count.to_string();
    let read = ["XREADGROUP", "GROUP", "workers", "another", "COUNT", &count, "STREAMS", JOBS, ">"];
    let _: redis::Value = queue.command(&read).await;
    ids
}

/// Makes entries look as if they had lain there for two minutes.
async fn leave_idle(queue: &TestQueue, ids: &[String]) {
    let claim = ["XCLAIM", JOBS, "workers", "another", "0"].into_iter();
    let words = claim.chain(ids.iter().map(String::as_str)).chain(["IDLE", "120000", "JUSTID"]);
    let _: redis::Value = queue.raw_command(words.map(str::as_bytes)).await;
}

async fn adopted(queue: &TestQueue) -> Vec<String> {
    let adopted = queue.queue.adopt_idle_entries("w1").await.unwrap();
    adopted.into_iter().map(|entry| entry.entry_id).collect()
}

/// The server looks at ten times as many as it may give; whatever lay behind was not seen.
#[tokio::test]
async fn idle_entries_are_found_behind_any_number_that_are_not() {
    let queue = TestQueue::start().await;
    let ids = taken_by_another(&queue, 20 * ADMIT_BATCH).await;
    let idle = ids.split_at(ids.len() - ADMIT_BATCH - 1).1;
    leave_idle(&queue, idle).await;
    assert_eq!(adopted(&queue).await, idle[..ADMIT_BATCH], "as many as are admitted at once");
    assert_eq!(adopted(&queue).await, idle[ADMIT_BATCH..]);
    assert_eq!(adopted(&queue).await, [""; 0]);
}

#[tokio::test]
async fn entries_that_were_deleted_are_pending_no_more() {
    let queue = TestQueue::start().await;
    let ids = taken_by_another(&queue, 2 * ADMIT_BATCH + 1).await;
    let (last, others) = ids.split_last().unwrap();
    let words = ["XDEL", JOBS].into_iter().chain(others.iter().map(String::as_str));
    let _: u64 = queue.raw_command(words.map(str::as_bytes)).await;
    leave_idle(&queue, std::slice::from_ref(last)).await;
    assert_eq!(adopted(&queue).await, [last.as_str()]);
    let pending: Vec<redis::Value> = queue.command(&["XPENDING", JOBS, "workers"]).await;
    assert_eq!(pending.first(), Some(&redis::Value::Int(1)));
}

/// In the newer protocol a read's reply has another form, in which no entry was found.
#[tokio::test]
async fn an_address_that_asks_for_another_protocol_changes_nothing() {
    let server = TestQueue::start().await;
    let queue = TestQueue::on(format!("{}/?protocol=resp3", server.url), None).await.queue;
    let entry_id: String = server.command(&["XADD", JOBS, "*", "job", "{}"]).await;
    let mut inbox = Inbox::new(&queue, "w1".to_owned());
    let entries = tokio::time::timeout(Duration::from_secs(20), inbox.read()).await;
    let entries = entries.unwrap().unwrap();
    assert_eq!(entries[0].entry_id, entry_id);
}
