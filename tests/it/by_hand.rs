//! What others write into Redis by hand: names that are no text and numbers that are none hide
//! nothing else.

use std::time::Duration;

use reelq::queue::Rules;

use super::support::processes::{Site, body, faultless};
use super::support::{RULES, TestQueue, id, job};

const RESULTS: &str = "reelq:{video}:results";
const SOON: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A group and a consumer whose names are not UTF-8, with one result given and not acknowledged.
async fn strange_group(queue: &TestQueue) {
    let create: [&[u8]; 6] =
        [b"XGROUP", b"CREATE", RESULTS.as_bytes(), b"a\xff", b"0", b"MKSTREAM"];
    let _: () = queue.raw_command(create).await;
    let _: String = queue.command(&["XADD", RESULTS, "1-1", "status", "completed"]).await;
    let read: [&[u8]; 7] =
        [b"XREADGROUP", b"GROUP", b"a\xff", b"\xfe", b"STREAMS", RESULTS.as_bytes(), b">"];
    let _: redis::Value = queue.raw_command(read).await;
}

/// One strange group blinded statistics, gauges and waiting, and nothing was trimmed any more.
#[tokio::test]
async fn a_group_whose_name_is_no_text_is_shown_and_hides_nothing() {
    let (site, http) = Site::new(faultless()).await.serving().await;
    strange_group(&site.queue).await;
    let worker = site.worker();
    let waited = site.run_with_input(&["enqueue", "--wait"], body("a").as_bytes()).await;
    assert_eq!(waited.status.code(), Some(0), "{}", String::from_utf8_lossy(&waited.stderr));
    let stats = site.run(&["stats", "--json"]).await;
    let stats: serde_json::Value = serde_json::from_slice(&stats.stdout).unwrap();
    assert!(stats["result-groups-ms"][r"a\xff"].as_u64().is_some_and(|age| age > 0), "{stats}");
    let table = site.run(&["stats"]).await;
    assert!(String::from_utf8(table.stdout).unwrap().contains(r"group a\xff"));
    let (_, metrics) = http.get("/metrics").await;
    let gauge = r#"reelq_results_group_age_seconds{queue="video",group="a\\xff"}"#;
    assert!(metrics.contains(gauge), "no {gauge} in\n{metrics}");
    assert_eq!(worker.stop().await, Some(0));
}

#[tokio::test]
async fn what_a_strange_group_needs_is_kept_and_the_rest_trimmed() {
    let queue = TestQueue::start().await;
    strange_group(&queue).await;
    for index in 0..200 {
        let entry_id = format!("2-{index}");
        let _: String = queue.command(&["XADD", RESULTS, &entry_id, "status", "completed"]).await;
    }
    queue.queue.create_results_group("other").await.unwrap();
    let dead: [&[u8]; 4] = [b"ZADD", b"reelq:{video}:dead", b"1.5", b"\xff"];
    let _: u64 = queue.raw_command(dead).await;
    let ages = Rules {
        results_retention: DAY,
        results_max_age: 20_000 * DAY,
        failed_retention: DAY,
        ..RULES
    };
    let queue_then = queue.queue.with_rules(ages).at(10_000 * 24 * 3600 * 1000);
    queue_then.trim().await.unwrap();
    let length = async || -> u64 { queue.command(&["XLEN", RESULTS]).await };
    assert_eq!(length().await, 201, "the group needs its first");
    assert!(!queue.exists("dead").await, "a member that is no text is old too");

    let destroy: [&[u8]; 4] = [b"XGROUP", b"DESTROY", RESULTS.as_bytes(), b"a\xff"];
    let _: u64 = queue.raw_command(destroy).await;
    let ids: Vec<String> = (0..200).map(|index| format!("2-{index}")).collect();
    let mut reader = queue.queue.results_of_group("other", "one");
    assert_eq!(reader.read(999, SOON).await.unwrap().len(), 201);
    queue.queue.acknowledge("other", &ids).await.unwrap();
    queue.queue.acknowledge("other", &["1-1".to_owned()]).await.unwrap();
    queue_then.trim().await.unwrap();
    assert!(length().await < 101, "nobody needs the old ones");
}

#[tokio::test]
async fn values_that_are_no_text_or_no_number_are_shown_as_well_as_can_be() {
    let queue = TestQueue::start().await;
    queue.queue.enqueue_many(&[job("a")]).await.unwrap();
    let words: [&[&[u8]]; 6] = [
        &[b"HSET", b"reelq:{video}:job:a", b"not\xe9", b"\xff"],
        &[b"HSET", b"reelq:{video}:counters", b"mine", b"many", b"\xff", b"3"],
        &[b"HSET", b"reelq:{video}:stage:poll", b"state", b"broken", b"reason", b"\xfe"],
        &[b"SET", b"reelq:{video}:paused", b"why\xff"],
        &[b"ZADD", b"reelq:{video}:poll", b"1.5", b"\xff"],
        &[b"ZADD", b"reelq:{video}:submit", b"-inf", b"a"],
    ];
    for words in words {
        let _: redis::Value = queue.raw_command(words.iter().copied()).await;
    }
    let record = queue.queue.record(&id("a")).await.unwrap().unwrap();
    assert_eq!(record.get(r"not\xe9"), Some(r"\xff"));
    assert_eq!(record.state(), "waiting");
    let stats = queue.queue.at(10).stats().await.unwrap();
    assert_eq!(stats.paused.as_deref(), Some(r"why\xff"));
    assert_eq!(stats.stages.poll.reason, r"\xfe");
    assert_eq!((stats.counters["accepted"], stats.counters["mine"]), (1, 0));
    assert_eq!(stats.counters[r"\xff"], 3);
    assert_eq!((stats.oldest_poll_ms, stats.oldest_submit_ms), (9, 10));
}
