//! The judge: reads a queue whose jobs have all had their time, and says what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use redis::streams::StreamRangeReply;
use reelq::job::lifecycle::State;

use crate::support::TestQueue;

const PREFIX: &str = "reelq:{video}:";
const PLACES: [&str; 4] = ["submit", "unconfirmed", "poll", "leases"];
/// What a record has only while the job lives. The marks `held` and `resend` are not among them:
/// they mean nothing once a job is polled, and may be left by an acceptance that was cut off.
const LIVING: [&str; 4] = ["next-at", "worker", "recoveries", "streak"];

/// A record's fields.
pub(crate) type Fields = BTreeMap<String, String>;

/// The record of a job; empty when there is none.
pub(crate) async fn record(queue: &TestQueue, id: &str) -> Fields {
    queue.command(&["HGETALL", &format!("{PREFIX}job:{id}")]).await
}

/// Whether a record is of a job that has ended.
pub(crate) fn has_ended(record: &Fields) -> bool {
    State::ALL.iter().any(|it| it.is_end() && record.get("state").is_some_and(|s| s == it.as_str()))
}

/// Whether a member is left in any place, or an entry in the inbox.
pub(crate) async fn is_busy(queue: &TestQueue) -> bool {
    for place in PLACES {
        if queue.command::<u64>(&["ZCARD", &format!("{PREFIX}{place}")]).await > 0 {
            return true;
        }
    }
    queue.command::<u64>(&["XLEN", &format!("{PREFIX}jobs")]).await > 0
}

/// What is wrong with the queue, if anything. Of the jobs `must_exist` says which the queue had
/// taken over, so that their records must be there.
pub(crate) async fn verdict(queue: &TestQueue, ids: &[String], must_exist: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for place in PLACES {
        let left: Vec<String> =
            queue.command(&["ZRANGE", &format!("{PREFIX}{place}"), "0", "-1"]).await;
        if !left.is_empty() {
            wrong.push(format!("{left:?} are left in {place}"));
        }
    }
    if queue.command::<u64>(&["XLEN", &format!("{PREFIX}jobs")]).await > 0 {
        wrong.push("entries are left in the inbox".to_owned());
    }
    let published = results(queue, &mut wrong).await;
    for id in ids {
        let record = record(queue, id).await;
        if record.is_empty() {
            let body: bool = queue.command(&["EXISTS", &format!("{PREFIX}body:{id}")]).await;
            if body {
                wrong.push(format!("{id}: a body without a record"));
            }
            if must_exist {
                wrong.push(format!("{id} is lost"));
            }
            continue;
        }
        job(queue, id, &record, &published, &mut wrong).await;
    }
    wrong
}

/// The published revisions of each job with the id of their last entry; two of one must not differ.
async fn results(
    queue: &TestQueue,
    wrong: &mut Vec<String>,
) -> BTreeMap<(String, String), (BTreeSet<String>, Fields)> {
    let entries: StreamRangeReply =
        queue.command(&["XRANGE", &format!("{PREFIX}results"), "-", "+"]).await;
    let mut published: BTreeMap<(String, String), (BTreeSet<String>, Fields)> = BTreeMap::new();
    for entry in entries.ids {
        let fields: Fields = entry
            .map
            .iter()
            .map(|(name, value)| (name.clone(), redis::from_redis_value(value.clone()).unwrap()))
            .collect();
        let of = |name: &str| fields.get(name).cloned().unwrap_or_default();
        let key = (of("client-request-id"), of("revision"));
        let (entries, first) =
            published.entry(key.clone()).or_insert_with(|| (BTreeSet::new(), fields.clone()));
        if *first != fields {
            wrong.push(format!("{key:?} has two results: {first:?} and {fields:?}"));
        }
        entries.insert(entry.id);
    }
    published
}

async fn job(
    queue: &TestQueue,
    id: &str,
    record: &Fields,
    published: &BTreeMap<(String, String), (BTreeSet<String>, Fields)>,
    wrong: &mut Vec<String>,
) {
    let mut say = |what: String| wrong.push(format!("{id}: {what}"));
    if !has_ended(record) {
        return say(format!("has not ended: {record:?}"));
    }
    let field = |name: &str| record.get(name).cloned().unwrap_or_default();
    let (state, last) = (field("state"), field("revision").parse::<u32>().unwrap_or(1));
    for revision in 1..=last {
        match published.get(&(id.to_owned(), revision.to_string())) {
            None => say(format!("revision {revision} has no result")),
            Some((entries, result)) if revision == last => {
                if result.get("status") != Some(&state) {
                    say(format!("its result says {:?}, not {state}", result.get("status")));
                }
                if !entries.contains(&field("result")) {
                    say(format!("`result` is {:?}, of {entries:?}", field("result")));
                }
            }
            Some(_) => {}
        }
    }
    let living: Vec<_> = LIVING.iter().filter(|name| record.contains_key(**name)).collect();
    if !living.is_empty() {
        say(format!("it still has {living:?}"));
    }
    let ttl =
        async |key: &str| -> i64 { queue.command(&["PTTL", &format!("{PREFIX}{key}:{id}")]).await };
    if ttl("job").await < 0 {
        say("its record never expires".to_owned());
    }
    let body = ttl("body").await;
    if body == -1 {
        say("its body never expires".to_owned());
    }
    let dead: Option<f64> = queue.command(&["ZSCORE", &format!("{PREFIX}dead"), id]).await;
    let belongs = state == "failed" || state == "expired";
    if dead.is_some() != belongs {
        say(format!("it is {state}, and whether it is in `dead`: {}", dead.is_some()));
    }
}
