//! What is kept and what is let go: results by who has read them, the dead and the rejected by age.

use std::time::Duration;

use reelq::queue::TrimAges;

use super::support::TestQueue;

const HOUR: u64 = 3_600_000;
/// When the entries below are looked at. They were written in the hours after the epoch.
const NOW: u64 = 1000 * HOUR;
const AGES: TrimAges = TrimAges {
    acknowledged_results: Duration::from_millis(10 * HOUR),
    any_results: Duration::from_millis(500 * HOUR),
    dead: Duration::from_millis(100 * HOUR),
};

/// Streams are trimmed by whole nodes of 100 entries, so the tests count in hundreds.
async fn publish_hundred(queue: &TestQueue, stream: &str, hour: u64) {
    for index in 0..100 {
        let entry_id = format!("{}-{}", hour * HOUR, index + 1);
        let _: String = queue.command(&["XADD", stream, &entry_id, "status", "completed"]).await;
    }
}

async fn length(queue: &TestQueue, stream: &str) -> u64 {
    queue.command(&["XLEN", stream]).await
}

#[tokio::test]
async fn results_are_kept_until_every_group_has_acknowledged_them() {
    let queue = TestQueue::start().await;
    let results = queue.queue.keys().results();
    trim(&queue, NOW).await;
    for hour in [600, 700, 800, 995] {
        publish_hundred(&queue, &results, hour).await;
    }
    trim(&queue, NOW).await;
    assert_eq!(length(&queue, &results).await, 400, "no group: nobody has read them");

    for group in ["fast", "slow"] {
        queue.queue.create_results_group(group).await.unwrap();
        let mut reader = queue.queue.results_of_group(group, "one");
        let read = reader.read(200, Duration::ZERO).await.unwrap();
        let ids: Vec<String> = read.into_iter().map(|result| result.entry_id).collect();
        let acknowledged = if group == "fast" { &ids[..] } else { &ids[..100] };
        queue.queue.acknowledge(group, acknowledged).await.unwrap();
    }
    let ages = queue.queue.at(NOW).stats().await.unwrap().result_groups_ms;
    assert_eq!(ages["slow"], 300 * HOUR, "delivered, not acknowledged");
    assert_eq!(ages["fast"], 200 * HOUR, "not delivered");
    trim(&queue, NOW).await;
    assert_eq!(length(&queue, &results).await, 300, "what both have acknowledged is gone");

    trim(&queue, NOW + 301 * HOUR).await;
    assert_eq!(length(&queue, &results).await, 100, "what is too old is gone, read or not");
}

#[tokio::test]
async fn acknowledged_results_are_kept_for_their_retention() {
    let queue = TestQueue::start().await;
    let results = queue.queue.keys().results();
    publish_hundred(&queue, &results, 980).await;
    publish_hundred(&queue, &results, 995).await;
    queue.queue.create_results_group("only").await.unwrap();
    let mut reader = queue.queue.results_of_group("only", "one");
    let read = reader.read(200, Duration::ZERO).await.unwrap();
    let ids: Vec<String> = read.into_iter().map(|result| result.entry_id).collect();
    queue.queue.acknowledge("only", &ids).await.unwrap();
    assert_eq!(queue.queue.at(NOW).stats().await.unwrap().result_groups_ms["only"], 0);
    trim(&queue, NOW).await;
    assert_eq!(length(&queue, &results).await, 100);
}

#[tokio::test]
async fn the_dead_and_the_rejected_go_by_age_however_many_there_are() {
    let queue = TestQueue::start().await;
    let (dead, rejected) = (queue.queue.keys().dead(), queue.queue.keys().rejected());
    for number in 0..2500_u64 {
        let member = number.to_string();
        let hour = if number < 2300 { 800 } else { 950 };
        let score = (hour * HOUR).to_string();
        let _: u64 = queue.command(&["ZADD", &dead, &score, &member]).await;
    }
    publish_hundred(&queue, &rejected, 800).await;
    publish_hundred(&queue, &rejected, 950).await;
    trim(&queue, NOW).await;
    assert_eq!(queue.command::<u64>(&["ZCARD", &dead]).await, 200);
    assert_eq!(length(&queue, &rejected).await, 100, "seven days are over");
}

async fn trim(queue: &TestQueue, now_ms: u64) {
    queue.queue.at(now_ms).trim(AGES).await.unwrap();
}
