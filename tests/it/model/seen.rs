//! The whole key space of a queue, compared with the model.

use std::collections::{BTreeMap, BTreeSet};

use redis::streams::StreamRangeReply;
use reelq::job::lifecycle::State;

use super::life::{Model, Place};
use crate::support::TestQueue;

/// Fields that the model leaves alone: they never change, or are text for people.
const CONSTANT: [&str; 8] =
    ["result", "v", "body-sha1", "user-id", "customer-id", "use-case-id", "entry-id", "history"];

/// Finds the first thing in which Redis and the model differ.
pub(crate) async fn compare(queue: &TestQueue, model: &Model) -> Result<(), String> {
    let prefix = queue.queue.keys().prefix();
    let mut keys = BTreeSet::new();
    for (id, job) in &model.jobs {
        keys.insert(format!("job:{id}"));
        if job.state != State::Completed {
            keys.insert(format!("body:{id}"));
        }
        let record: BTreeMap<String, String> =
            queue.command(&["HGETALL", &format!("{prefix}job:{id}")]).await;
        same(
            &format!("whether job:{id} has a result"),
            record.contains_key("result"),
            job.state.is_end(),
        )?;
        let shown = record.into_iter().filter(|(name, _)| !CONSTANT.contains(&&**name));
        // Of an error the code is compared; its detail is for people.
        let code = |(name, value): (String, String)| match &*name {
            "error" => (name, value.split(':').next().unwrap_or_default().to_owned()),
            _ => (name, value),
        };
        let shown: BTreeMap<String, String> = shown.map(code).collect();
        let expected: BTreeMap<String, String> =
            job.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        same(&format!("job:{id}"), shown, expected)?;
        let ttl: i64 = queue.command(&["PTTL", &format!("{prefix}job:{id}")]).await;
        same(&format!("whether job:{id} expires"), ttl > 0, job.state.is_end())?;
    }
    for place in Place::ALL {
        let members: Vec<(String, u64)> = queue
            .command(&["ZRANGE", &format!("{prefix}{}", place.key()), "0", "-1", "WITHSCORES"])
            .await;
        let mut expected: Vec<(String, u64)> = Vec::new();
        for (id, job) in &model.jobs {
            expected.extend(
                job.place().filter(|(it, _)| *it == place).map(|(_, due)| (id.clone(), due)),
            );
        }
        expected.sort_by_key(|(id, due)| (*due, id.clone()));
        if !expected.is_empty() {
            keys.insert(place.key().to_owned());
        }
        same(place.key(), members, expected)?;
    }
    let counters: BTreeMap<String, u64> =
        queue.command(&["HGETALL", &format!("{prefix}counters")]).await;
    let expected: BTreeMap<String, u64> =
        model.counters.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    same("counters", counters, expected)?;
    let dead: Vec<String> = queue.command(&["ZRANGE", &format!("{prefix}dead"), "0", "-1"]).await;
    same("dead", dead.into_iter().collect::<BTreeSet<_>>(), model.dead().into_iter().collect())?;
    let results: StreamRangeReply =
        queue.command(&["XRANGE", &format!("{prefix}results"), "-", "+"]).await;
    let field = |entry: &redis::streams::StreamId, name| entry.get(name).unwrap_or_default();
    let results = results.ids.iter().map(|entry| {
        (field(entry, "client-request-id"), field(entry, "status"), field(entry, "revision"))
    });
    same("results", results.collect::<Vec<_>>(), model.results.clone())?;
    let aside: usize = queue.command(&["XLEN", &format!("{prefix}rejected")]).await;
    same("rejected", aside, model.aside)?;
    same("all keys", seen_keys(queue, prefix).await, expected_keys(keys, model))
}

async fn seen_keys(queue: &TestQueue, prefix: &str) -> BTreeSet<String> {
    let pattern = format!("{}*", prefix.replace('{', "\\{"));
    let keys: Vec<String> = queue.command(&["KEYS", &pattern]).await;
    let names = keys.into_iter().map(|key| key[prefix.len()..].to_owned());
    // A worker's memory of its last claim, the pace of checks for pushes, and since when checks come to
    // nothing expire by themselves.
    let passing = |name: &String| {
        name.starts_with("claimed:") || ["rate:push", "checks-fail-since"].contains(&name.as_str())
    };
    names.filter(|name| !passing(name)).collect()
}

fn expected_keys(mut keys: BTreeSet<String>, model: &Model) -> BTreeSet<String> {
    for (name, there) in [
        ("counters", !model.counters.is_empty()),
        ("dead", !model.dead().is_empty()),
        ("results", !model.results.is_empty()),
        ("rejected", model.aside > 0),
        ("paused", model.paused),
    ] {
        if there {
            keys.insert(name.to_owned());
        }
    }
    keys
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, seen: T, expected: T) -> Result<(), String> {
    if seen == expected {
        return Ok(());
    }
    Err(format!("{what}:\n  in Redis      {seen:?}\n  in the model  {expected:?}"))
}
