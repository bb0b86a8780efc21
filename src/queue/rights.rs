//! The rights that a worker's Redis user must have (`lua/rights.lua`).
//!
//! A script that is refused one of its commands stops half-way. Such a job is healed, but nothing
//! goes on, so a worker looks before it claims anything. `PUBLISH` and `SUBSCRIBE` are not among
//! them: without channels others merely notice within a second. Nor is what only counts for people.

use std::collections::{BTreeMap, BTreeSet};

use super::error::QueueError;
use super::handle::Queue;
use super::scripts::{Call, Name};

/// Which commands are used on which of the queue's keys, each as it might be sent; `{}` is the key.
const NEEDED: &[(&str, &[&str])] = &[
    ("jobs", INBOX),
    ("job:x", RECORD),
    ("body:x", &["SET {} v", "GET {}", "DEL {}", "PEXPIRE {} 1", "PERSIST {}", "EXISTS {}"]),
    ("submit", PLACE),
    ("unconfirmed", PLACE),
    ("poll", PLACE),
    ("leases", PLACE),
    ("workers", PLACE),
    ("dead", SET),
    ("claimed:admit:w", TEXT),
    ("claimed:submit:w", TEXT),
    ("claimed:poll:w", TEXT),
    ("results", RESULTS),
    ("rejected", &["XADD {} * f v", "XTRIM {} MINID 0"]),
    ("counters", &["HINCRBY {} f 1", "HMGET {} f"]),
    ("paused", &["EXISTS {}"]),
    ("stage:submit", STAGE),
    ("stage:poll", STAGE),
    ("rate:submit", RATE),
    ("rate:poll", RATE),
    ("halt-ended:submit", TEXT),
    ("good:submit", SET),
    ("good:poll", SET),
    ("checks-fail-since", &["SET {} v", "GET {}", "DEL {}", "PEXPIRE {} 1"]),
    ("ill", &["HSET {} f v", "HDEL {} f"]),
    ("token-turn", &["SET {} v", "PTTL {}", "DEL {}"]),
    ("clock", TEXT),
    ("", &["TIME"]),
];
const INBOX: &[&str] = &[
    "XREADGROUP GROUP workers w STREAMS {} >",
    "XGROUP CREATE {} workers 0",
    "XGROUP DELCONSUMER {} workers w",
    "XACK {} workers 0-1",
    "XDEL {} 0-1",
    "XRANGE {} - +",
    "XPENDING {} workers",
    "XCLAIM {} workers w 0 0-1",
    "XAUTOCLAIM {} workers w 0 0",
];
const RECORD: &[&str] = &[
    "HMGET {} f",
    "HGET {} f",
    "HSET {} f v",
    "HSETNX {} f v",
    "HDEL {} f",
    "PTTL {}",
    "PEXPIRE {} 1",
    "PERSIST {}",
    "EXISTS {}",
];
const PLACE: &[&str] =
    &["ZADD {} 0 m", "ZREM {} m", "ZRANGE {} 0 0", "ZSCORE {} m", "ZCOUNT {} 0 1"];
const SET: &[&str] = &["ZADD {} 0 m", "ZREM {} m", "ZRANGE {} 0 0"];
const TEXT: &[&str] = &["SET {} v", "GET {}"];
const RATE: &[&str] = &["SET {} v", "GET {}", "DEL {}"];
const STAGE: &[&str] = &["HMGET {} f", "HSET {} f v", "HDEL {} f", "DEL {}", "EXISTS {}"];
const RESULTS: &[&str] = &[
    "XADD {} * f v",
    "XTRIM {} MINID 0",
    "XINFO GROUPS {}",
    "XPENDING {} g",
    "XRANGE {} - +",
    "EXISTS {}",
];

/// Commands that have commands of their own below them.
const CONTAINERS: [&str; 2] = ["XGROUP", "XINFO"];

/// The commands that a worker's Redis user must have on the queue's keys.
pub fn needed_commands() -> impl Iterator<Item = String> {
    let all = NEEDED.iter().flat_map(|(_, commands)| commands.iter().map(|words| name_of(words)));
    all.collect::<BTreeSet<_>>().into_iter()
}

impl Queue {
    /// What the connection's user may not do and a worker has to: each command with the keys of
    /// the queue on which it is refused. Empty: all is well.
    ///
    /// # Errors
    /// What the server answered; a right may be missing for this call itself.
    pub async fn missing_rights(&self) -> Result<Vec<String>, QueueError> {
        let mut asked = Vec::new();
        let mut call = Call::new(Name::Rights, &self.keys, None);
        for (key, commands) in NEEDED {
            for words in *commands {
                call.push(words.replace("{}", &self.keys.named(key)));
                asked.push((*key, name_of(words)));
            }
        }
        let refused: Vec<usize> = self.connection.call(&call).await?;
        let mut missing: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        // The script counts from 1.
        for (key, name) in refused.into_iter().filter_map(|place| asked.get(place.wrapping_sub(1)))
        {
            missing.entry(name.clone()).or_default().push(key);
        }
        let said = |(name, keys): (String, Vec<&str>)| format!("{name} on {}", keys.join(", "));
        Ok(missing.into_iter().map(said).collect())
    }
}

/// A command's name, with that of the command below it.
fn name_of(words: &str) -> String {
    let first = words.split(' ').next().unwrap_or_default();
    let count = if CONTAINERS.contains(&first) { 2 } else { 1 };
    words.split(' ').take(count).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::scripts::SCRIPTS;

    /// What is used and not asked for: a worker does without.
    const OPTIONAL: [&str; 1] = ["PUBLISH"];

    #[test]
    fn every_command_of_the_scripts_is_asked_for() {
        let asked: BTreeSet<String> =
            needed_commands().map(|name| name.split(' ').next().unwrap().to_owned()).collect();
        let mut used = BTreeSet::new();
        for script in &*SCRIPTS {
            for begin in ["redis.call('", "redis.pcall('", "ask('"] {
                let commands = script.source.split(begin).skip(1);
                used.extend(commands.filter_map(|rest| rest.split('\'').next()));
            }
        }
        assert!(used.len() > 20, "{used:?}");
        for command in used.into_iter().filter(|it| !OPTIONAL.contains(it)) {
            assert!(asked.contains(command), "{command} is not asked for");
        }
    }
}
