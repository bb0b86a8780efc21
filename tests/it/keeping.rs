//! What is kept and what is let go: results by who has read them, the dead and the rejected by age.

use std::time::Duration;

use reelq::queue::Rules;

use super::support::{RULES, TestQueue};

const HOUR: u64 = 3_600_000;
/// When the entries below are looked at. They were written in the hours after the epoch.
const NOW: u64 = 1000 * HOUR;
const AGES: Rules = Rules {
    results_retention: Duration::from_millis(10 * HOUR),
    results_max_age: Duration::from_millis(500 * HOUR),
    failed_retention: Duration::from_millis(100 * HOUR),
    ..RULES
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

/// The ids of these of an hour's hundred.
fn ids(hour: u64, indices: impl IntoIterator<Item = u64>) -> Vec<String> {
    indices.into_iter().map(|index| format!("{}-{index}", hour * HOUR)).collect()
}

/// Deletes entries, whoever may still need them.
async fn delete(queue: &TestQueue, stream: &str, ids: &[String]) {
    let words = ["XDEL", stream].into_iter().chain(ids.iter().map(String::as_str));
    let _: u64 = queue.raw_command(words.map(str::as_bytes)).await;
}

async fn give_all_to(queue: &TestQueue, group: &str) {
    queue.queue.create_results_group(group).await.unwrap();
    let mut reader = queue.queue.results_of_group(group, "one");
    assert!(!reader.read(999, Duration::ZERO).await.unwrap().is_empty());
}

async fn age_of(queue: &TestQueue, group: &str) -> u64 {
    queue.queue.at(NOW).stats().await.unwrap().result_groups_ms[group]
}

/// What was trimmed or deleted while it was pending pinned all that came after it.
#[tokio::test]
async fn what_is_gone_pins_neither_trimming_nor_a_groups_age() {
    let queue = TestQueue::start().await;
    let results = queue.queue.keys().results();
    for hour in [600, 700, 800, 995] {
        publish_hundred(&queue, &results, hour).await;
    }
    give_all_to(&queue, "slow").await;
    let done = [ids(700, 1..=10), ids(700, 51..=100), ids(800, 1..=59), ids(800, 61..=100)];
    queue.queue.acknowledge("slow", &done.concat()).await.unwrap();
    queue.queue.acknowledge("slow", &ids(995, 1..=100)).await.unwrap();
    let first = (700 * HOUR).to_string();
    let _: u64 = queue.command(&["XTRIM", &results, "MINID", &first]).await;
    delete(&queue, &results, &ids(700, 11..=50)).await;
    assert_eq!(age_of(&queue, "slow").await, 200 * HOUR, "800-60 is the oldest that is there");
    trim(&queue, NOW).await;
    assert_eq!(length(&queue, &results).await, 200);

    delete(&queue, &results, &ids(800, [60])).await;
    assert_eq!(age_of(&queue, "slow").await, 0, "all that it has not acknowledged is gone");
    trim(&queue, NOW).await;
    assert_eq!(length(&queue, &results).await, 100);
}

/// One look is bounded; each trimming brings the next one further.
#[tokio::test]
async fn many_holes_are_got_over_in_several_looks() {
    let queue = TestQueue::start().await;
    let results = queue.queue.keys().results();
    for hour in [600, 700, 800, 995] {
        publish_hundred(&queue, &results, hour).await;
    }
    give_all_to(&queue, "slow").await;
    for hour in [600, 700, 800] {
        queue.queue.acknowledge("slow", &ids(hour, (1..=100).step_by(2))).await.unwrap();
        delete(&queue, &results, &ids(hour, (2..=100).step_by(2))).await;
    }
    assert_eq!(age_of(&queue, "slow").await, 200 * HOUR, "nothing before 800 is needed");
    trim(&queue, NOW).await;
    assert_eq!(age_of(&queue, "slow").await, 5 * HOUR);
    trim(&queue, NOW).await;
    assert_eq!(length(&queue, &results).await, 100);
}

#[tokio::test]
async fn a_reader_skips_what_is_gone_and_is_not_given_it_again() {
    let queue = TestQueue::start().await;
    let results = queue.queue.keys().results();
    publish_hundred(&queue, &results, 600).await;
    give_all_to(&queue, "g").await;
    delete(&queue, &results, &ids(600, (1..=100).filter(|index| *index != 50))).await;
    publish_hundred(&queue, &results, 700).await;
    let mut reader = queue.queue.results_of_group("g", "one");
    let mut read = Vec::new();
    for _ in 0..3 {
        // Fewer than what is gone before the next that is there.
        let results = reader.read(10, Duration::from_millis(1)).await.unwrap();
        assert!(results.iter().all(|result| result.status() == "completed"), "{results:?}");
        read.extend(results.into_iter().map(|result| result.entry_id));
    }
    assert_eq!(read, [ids(600, [50]), ids(700, 1..=20)].concat());
    let pending: Vec<redis::Value> = queue.command(&["XPENDING", &results, "g"]).await;
    assert_eq!(pending.first(), Some(&redis::Value::Int(21)), "those that were given");
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
    queue.queue.with_rules(AGES).at(now_ms).trim().await.unwrap();
}
