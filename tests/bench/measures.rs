//! What a queue does beside its throughput: enqueueing, latency, idling, memory, a backlog.

use std::time::{Duration, Instant};

use reelq::job::{EntryFields, Millis, Request, UnknownFields};
use reelq::sandbox::{self, Sandbox};
use serde_json::{Value, json};
use tokio::time::{sleep, sleep_until};

use super::site::{DELAY, Store, Worker};
use super::{body, percentile};

/// A sandbox in this process, which can tell when calls arrived.
async fn watched_sandbox() -> anyhow::Result<Sandbox> {
    let options = sandbox::Options {
        listen: ([127, 0, 0, 1], 0).into(),
        ready_after: Duration::ZERO,
        latency: Duration::ZERO,
        error_rate: 0.0,
        ..sandbox::Options::default()
    };
    Ok(sandbox::start(options).await?)
}

fn jobs(count: usize, fields: &EntryFields) -> anyhow::Result<Vec<(Request, EntryFields)>> {
    let job = |number| -> anyhow::Result<_> {
        let request = Request::parse(body(number).1.as_bytes(), UnknownFields::Reject).request?;
        Ok((request, fields.clone()))
    };
    (0..count).map(job).collect()
}

/// Jobs per second that the Rust library admits, many in a call.
pub(crate) async fn bulk(redis_server: Option<&str>) -> anyhow::Result<f64> {
    let many = jobs(100_000, &EntryFields::default())?;
    let store = Store::start(redis_server).await?;
    let began = Instant::now();
    store.queue.enqueue_many(&many).await?;
    let rate = many.len() as f64 / began.elapsed().as_secs_f64();
    store.redis.stop().await?;
    Ok(rate)
}

/// Jobs per second: by XADD, many in a round trip; by the Rust library, which admits them, many in
/// a call and one after the other.
pub(crate) async fn enqueue(redis_server: Option<&str>) -> anyhow::Result<Value> {
    let (many, few) = (jobs(100_000, &EntryFields::default())?, 5000);
    let bulk = bulk(redis_server).await?;
    let store = Store::start(redis_server).await?;
    let began = Instant::now();
    for (request, fields) in &many[..few] {
        store.queue.enqueue(request, fields).await?;
    }
    let single = few as f64 / began.elapsed().as_secs_f64();
    store.redis.stop().await?;
    let store = Store::start(redis_server).await?;
    let began = Instant::now();
    store.xadd_many(many.len()).await?;
    let xadd = many.len() as f64 / began.elapsed().as_secs_f64();
    store.redis.stop().await?;
    Ok(json!({
        "xadd_per_s": xadd.round(), "bulk_per_s": bulk.round(), "single_per_s": single.round()
    }))
}

/// Milliseconds from an XADD on an idle queue to the POST's arrival.
pub(crate) async fn pickup(redis_server: Option<&str>) -> anyhow::Result<Value> {
    const JOBS: usize = 500;
    let sandbox = watched_sandbox().await?;
    let store = Store::start(redis_server).await?;
    let worker = Worker::start(&store, &format!("http://{}", sandbox.addr())).await?;
    let mut waits = Vec::with_capacity(JOBS);
    for number in 0..JOBS {
        let (id, body) = body(number);
        // The queue is idle again: each comes alone, at no fixed phase of any timer.
        sleep(Duration::from_micros(5000 + (number as u64 * 617) % 5000)).await;
        let added = Instant::now();
        store.xadd(&body).await?;
        let posted = loop {
            if let Some(moments) = sandbox.moments_of(&id) {
                break moments.posted;
            }
            sleep(Duration::from_millis(1)).await;
        };
        // The first call fetches the token.
        if number > 0 {
            waits.push((posted - added).as_secs_f64() * 1e3);
        }
    }
    worker.stop().await?;
    store.redis.stop().await?;
    Ok(json!({ "p50_ms": percentile(&mut waits, 50.0), "p99_ms": percentile(&mut waits, 99.0) }))
}

/// Milliseconds from when a check was due to its arrival, at 200 jobs a second. The time in
/// which the acceptance is recorded is in it.
pub(crate) async fn lateness(redis_server: Option<&str>) -> anyhow::Result<Value> {
    const JOBS: usize = 2000;
    const EVERY: Duration = Duration::from_millis(5);
    let sandbox = watched_sandbox().await?;
    let store = Store::start(redis_server).await?;
    let worker = Worker::start(&store, &format!("http://{}", sandbox.addr())).await?;
    let begin = tokio::time::Instant::now();
    for number in 0..JOBS {
        sleep_until(begin + EVERY * u32::try_from(number)?).await;
        store.xadd(&body(number).1).await?;
    }
    store.results_reach(JOBS).await?;
    let mut late = Vec::with_capacity(JOBS);
    for number in 0..JOBS {
        let moments = sandbox.moments_of(&body(number).0);
        let moments = moments.and_then(|it| it.accepted.zip(it.checked));
        let (accepted, checked) = moments.ok_or_else(|| anyhow::anyhow!("a life is not whole"))?;
        late.push((checked - accepted).saturating_sub(DELAY).as_secs_f64() * 1e3);
    }
    worker.stop().await?;
    store.redis.stop().await?;
    Ok(json!({ "p50_ms": percentile(&mut late, 50.0), "p99_ms": percentile(&mut late, 99.0) }))
}

/// Commands a second that a worker sends when there is nothing to do.
pub(crate) async fn idle(redis_server: Option<&str>) -> anyhow::Result<Value> {
    let store = Store::start(redis_server).await?;
    let worker = Worker::start(&store, "http://127.0.0.1:9").await?;
    let sent_per_s = sent_per_s(&store).await?;
    worker.stop().await?;
    store.redis.stop().await?;
    Ok(json!({ "sent_per_s": sent_per_s }))
}

/// Commands a second that are sent to a server by all.
pub(crate) async fn sent_per_s(store: &Store) -> anyhow::Result<f64> {
    const SECONDS: u64 = 20;
    let client = redis::Client::open(store.redis.url())?;
    let mut monitor = client.get_async_monitor().await?;
    let mut lines = monitor.on_message::<String>();
    let until = tokio::time::Instant::now() + Duration::from_secs(SECONDS);
    let mut sent = 0;
    while let Ok(line) =
        tokio::time::timeout_at(until, futures_util::StreamExt::next(&mut lines)).await
    {
        // A command from inside a script says so in place of an address.
        sent += u64::from(line.is_some_and(|line| !line.contains(" lua] ")));
    }
    Ok(sent as f64 / SECONDS as f64)
}

/// Bytes of Redis for a waiting job that was never retried.
pub(crate) async fn memory(redis_server: Option<&str>) -> anyhow::Result<Value> {
    const JOBS: usize = 100_000;
    let store = Store::start(redis_server).await?;
    let later =
        EntryFields { not_before: Some(Millis(9_999_999_999_999)), ..EntryFields::default() };
    let before = store.used_memory().await?;
    store.queue.enqueue_many(&jobs(JOBS, &later)?).await?;
    let bytes = store.used_memory().await?.saturating_sub(before) as f64 / JOBS as f64;
    store.redis.stop().await?;
    Ok(json!({ "bytes_per_job": bytes.round() }))
}

/// How a backlog of checks that are all overdue drains: checks per second in its first and its last
/// tenth, and what the scripts cost meanwhile.
pub(crate) async fn drain(redis_server: Option<&str>, count: usize) -> anyhow::Result<Value> {
    let sandbox = super::site::Sandbox::start().await?;
    let store = Store::start(redis_server).await?;
    let later = [("REELQ_POLL__FIRST", "10h"), ("REELQ_POLL__MAX", "10h")];
    let worker = Worker::start_with(&store, &sandbox.url, &later).await?;
    for first in (0..count).step_by(100_000) {
        let mut batch = Vec::with_capacity(100_000);
        for number in first..count.min(first + 100_000) {
            let request =
                Request::parse(body(number).1.as_bytes(), UnknownFields::Reject).request?;
            batch.push((request, EntryFields::default()));
        }
        store.queue.enqueue_many(&batch).await?;
    }
    while store.counter("submitted").await? < count {
        sleep(Duration::from_millis(100)).await;
    }
    worker.stop().await?;
    anyhow::ensure!(store.results().await? == 0, "some checks were made before all were due");
    // From the end that is due last, until all of them have been due since the epoch.
    let all_due = "local ids = redis.call('ZRANGE', KEYS[1], -1000, -1, 'WITHSCORES')
        if tonumber(ids[#ids]) == 1 then return 0 end
        for at = 1, #ids, 2 do redis.call('ZADD', KEYS[1], 1, ids[at]) end
        return 1";
    while store.command::<u64>(&["EVAL", all_due, "1", "reelq:{video}:poll"]).await? == 1 {}
    let () = store.command(&["CONFIG", "RESETSTAT"]).await?;
    let () = store.command(&["SLOWLOG", "RESET"]).await?;
    // All that is slow enough to matter, not only the last 128.
    let slow = ["slowlog-log-slower-than", "2000", "slowlog-max-len", "100000"];
    let () = store.command(&[&["CONFIG", "SET"][..], &slow].concat()).await?;
    let worker = Worker::start(&store, &sandbox.url).await?;
    let mut tenths = Vec::new();
    let mut began = Instant::now();
    for tenth in 1..=10 {
        store.results_reach(count * tenth / 10).await?;
        let per_s = ((count / 10) as f64 / began.elapsed().as_secs_f64()).round();
        println!("  tenth {tenth}: {per_s}/s, {} results", store.results().await?);
        tenths.push(per_s);
        began = Instant::now();
    }
    let info: String = store.command(&["INFO", "latencystats"]).await?;
    let evalsha = info.lines().find(|line| line.starts_with("latency_percentiles_usec_evalsha:"));
    let p999 = evalsha.and_then(|line| line.split("p99.9=").nth(1)).unwrap_or_default();
    let slow: Vec<Vec<redis::Value>> = store.command(&["SLOWLOG", "GET", "-1"]).await?;
    let longest = slow.iter().filter_map(|entry| match entry.get(2) {
        Some(redis::Value::Int(micros)) => Some(*micros),
        _ => None,
    });
    let slowlog_max_ms = longest.max().unwrap_or(0) as f64 / 1e3;
    worker.stop().await?;
    store.redis.stop().await?;
    sandbox.stop().await?;
    Ok(json!({
        "jobs": count,
        "first_tenth_per_s": tenths[0],
        "last_tenth_per_s": tenths[9],
        "scripts_p999_ms": p999.trim().parse::<f64>().unwrap_or(f64::NAN) / 1e3,
        "slowlog_max_ms": slowlog_max_ms,
    }))
}
