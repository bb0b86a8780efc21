//! The Lua scripts: one per transition, each registered here once and called through [`Call`].
//!
//! A script's file begins with its engine line and a header (purpose, `Transition:`, KEYS, ARGV,
//! Returns). The parts that scripts share are under `lua/lib`; those that a script needs are put
//! behind its engine line. The slot order of a script's arguments is written in the one function
//! that builds its call.

use std::sync::LazyLock;

use redis::{Cmd, ToRedisArgs};

use super::keys::Keys;
use super::rules::Rules;
use super::wire::{command, milliseconds};

/// A script as the server gets it.
pub(crate) struct Script {
    /// Its file's name without the ending.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests compare it with the table"))]
    pub(crate) name: &'static str,
    /// Its file as it stands in the repository.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests read the headers"))]
    pub(crate) file: &'static str,
    /// What is loaded: engine line, shared parts, body.
    pub(crate) source: String,
    digest: String,
}

const RECORD: &str = include_str!("lua/lib/record.lua");
const PLACE: &str = include_str!("lua/lib/place.lua");
const CLAIM: &str = include_str!("lua/lib/claim.lua");
const UNCONFIRMED: &str = include_str!("lua/lib/unconfirmed.lua");
const RESULT: &str = include_str!("lua/lib/result.lua");
const ENDING: &str = include_str!("lua/lib/ending.lua");
const GATE: &str = include_str!("lua/lib/gate.lua");
const GOOD: &str = include_str!("lua/lib/good.lua");
const PICK: &str = include_str!("lua/lib/pick.lua");

/// Makes the one list of scripts: a name in Rust, the file, and the shared parts that it needs.
macro_rules! scripts {
    ($($name:ident $file:literal [$($part:ident)*]),* $(,)?) => {
        /// Which script.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Name { $($name),* }

        /// All scripts, in the order of [`Name`].
        pub(crate) static SCRIPTS: LazyLock<Vec<Script>> = LazyLock::new(|| {
            vec![$(script($file, include_str!(concat!("lua/", $file, ".lua")), &[$($part),*])),*]
        });
    };
}

scripts! {
    Admit "admit" [RECORD PLACE CLAIM],
    ClaimSubmit "claim_submit" [RECORD PLACE CLAIM UNCONFIRMED RESULT ENDING GATE PICK],
    Accept "accept" [RECORD PLACE RESULT ENDING],
    Requeue "requeue" [RECORD PLACE RESULT ENDING],
    Unconfirm "unconfirm" [RECORD PLACE UNCONFIRMED],
    ClaimPoll "claim_poll" [RECORD PLACE CLAIM RESULT ENDING GATE PICK],
    Repoll "repoll" [RECORD PLACE],
    Finish "finish" [RECORD PLACE RESULT ENDING],
    Reclaim "reclaim" [RECORD PLACE UNCONFIRMED RESULT ENDING],
    Tick "tick" [RECORD PLACE GATE GOOD],
    Forget "forget" [RECORD],
    Cancel "cancel" [RECORD PLACE RESULT ENDING],
    Retry "retry" [RECORD PLACE RESULT],
    Resolve "resolve" [RECORD PLACE RESULT ENDING],
    Push "push" [RECORD PLACE RESULT ENDING],
    Breaker "breaker" [RECORD GATE GOOD],
    Rights "rights" [],
}

fn script(name: &'static str, file: &'static str, parts: &[&str]) -> Script {
    let (engine, body) = file.split_once('\n').expect("every script has an engine line");
    let source = [&[engine], parts, &[body]].concat().join("\n");
    let digest = redis::Script::new(&source).get_hash().to_owned();
    Script { name, file, source, digest }
}

/// One call of a script, with its arguments in slot order.
pub(crate) struct Call {
    command: Cmd,
}

impl Call {
    /// A call on the keys of one queue. `now_ms` is a test's time; `None` asks the server.
    pub(crate) fn new(name: Name, keys: &Keys, now_ms: Option<u64>) -> Self {
        let mut evalsha = command("EVALSHA");
        evalsha.arg(&SCRIPTS[name as usize].digest).arg(1).arg(keys.prefix());
        let call = Self { command: evalsha };
        match now_ms {
            Some(now_ms) => call.arg(now_ms),
            None => call.arg(""),
        }
    }

    /// Adds the next argument.
    pub(crate) fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        self.push(argument);
        self
    }

    /// Adds the next argument in place.
    pub(crate) fn push(&mut self, argument: impl ToRedisArgs) {
        self.command.arg(argument);
    }

    /// Adds how long records are kept, in ms: of completed jobs, and of others.
    pub(crate) fn retention(self, rules: &Rules) -> Self {
        self.arg(milliseconds(rules.completed_retention)).arg(milliseconds(rules.failed_retention))
    }

    /// The command that runs it.
    pub(super) fn command(&self) -> &Cmd {
        &self.command
    }

    /// The command that runs it, for a pipeline.
    pub(super) fn into_command(self) -> Cmd {
        self.command
    }
}

#[cfg(test)]
mod tests;
