//! The whole key space of a queue as text, the same for the same content.
//!
//! Ids of stream entries are the server's own and shown as `#1`, `#2`; SHA-1 digests and bodies
//! are shown by their begin; keys with a time to live say so in tens of seconds, for a test that is slow.
//! What lives for about a second of the real clock, as a rate does, is left out.

use std::collections::BTreeMap;
use std::fmt::Write;

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, Value};

/// What PTTL answers about a key that is not there.
const GONE: i64 = -2;
/// Milliseconds.
const SOON_GONE: i64 = 2000;

pub(crate) async fn dump(connection: &mut MultiplexedConnection, prefix: &str) -> String {
    let mut keys: Vec<String> =
        connection.keys(format!("{}*", prefix.replace('{', "\\{"))).await.unwrap();
    keys.sort();
    let mut text = String::new();
    for key in keys {
        let name = key.strip_prefix(prefix).unwrap();
        let ttl: i64 = connection.pttl(&key).await.unwrap();
        if ttl == GONE || (0..SOON_GONE).contains(&ttl) {
            continue;
        }
        let ttl =
            if ttl > 0 { format!(" ttl {} s", (ttl + 5000) / 10_000 * 10) } else { String::new() };
        let kind: String =
            redis::Cmd::new().arg("TYPE").arg(&key).query_async(connection).await.unwrap();
        writeln!(text, "{name}{ttl}").unwrap();
        for line in lines(connection, &key, &kind).await {
            writeln!(text, "  {line}").unwrap();
        }
    }
    text
}

async fn lines(connection: &mut MultiplexedConnection, key: &str, kind: &str) -> Vec<String> {
    match kind {
        "hash" => {
            let fields: BTreeMap<String, String> = connection.hgetall(key).await.unwrap();
            let shown = fields.iter().map(|(name, value)| match name.as_str() {
                "body-sha1" => format!("{name} {}..", &value[..4]),
                "result" if !value.is_empty() => format!("{name} <entry>"),
                _ => format!("{name} {value}"),
            });
            vec![shown.collect::<Vec<_>>().join(" | ")]
        }
        "zset" => {
            let members: Vec<(String, f64)> =
                connection.zrange_withscores(key, 0, -1).await.unwrap();
            members.iter().map(|(member, score)| format!("{member} {score}")).collect()
        }
        "stream" => stream_lines(connection, key).await,
        "string" => {
            let value: String = connection.get(key).await.unwrap();
            vec![value.chars().take(30).collect()]
        }
        other => vec![format!("a {other}")],
    }
}

async fn stream_lines(connection: &mut MultiplexedConnection, key: &str) -> Vec<String> {
    let entries: Vec<(String, Vec<(String, String)>)> =
        redis::Cmd::new().arg(&["XRANGE", key, "-", "+"]).query_async(connection).await.unwrap();
    let mut lines = Vec::new();
    for (index, (_, fields)) in entries.iter().enumerate() {
        let fields: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name} {value}")).collect();
        lines.push(format!("#{} {}", index + 1, fields.join(" | ")));
    }
    let groups: Vec<BTreeMap<String, Value>> =
        redis::Cmd::new().arg(&["XINFO", "GROUPS", key]).query_async(connection).await.unwrap();
    for group in groups {
        let pending: u64 = redis::from_redis_value(group["pending"].clone()).unwrap();
        let name: String = redis::from_redis_value(group["name"].clone()).unwrap();
        lines.push(format!("group {name}: {pending} pending"));
    }
    lines
}
