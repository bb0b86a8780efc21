//! Everything that needs a Redis: each test starts a private one and ends it.
//!
//! - `scripts`: every script on its own: seed, call, dump of the whole key space, and every call
//!   made twice.
//! - `keeping`: what is kept of what has ended, and for how long.
//! - `model`: random sequences of events, beside a model of the life cycle.
//! - `lives`: whole lives through a worker and the sandbox.
//! - `crashes`: worker processes that are killed.
//! - `cut_off`: scripts that are refused one of their commands.
//! - `containers`: servers in real containers.
//! - `outages`: a Redis that forgets, falls silent, or wants a password.
//! - `forgotten`: paid answers to jobs whose records are gone.
//! - `lost_replies`: commands that were carried out and whose replies never arrived.
//! - `inbox`: entries that lie with a reader that does not admit them.
//! - `by_hand`: what others write into Redis by hand.
//! - `identity`: one job as producers in several languages write it.
//! - `rights`: a Redis user without some rights.
//! - `bad_input`: what producers should not send, and do.
//! - `supervision`: roles that end although nobody told them.
//! - `commands`: the command line from outside.
//! - `deployed`: the files under deploy/redis, and what a restart or a backup loses.
//! - `upgrade`: workers of an earlier version beside this one's.
//! - `service`: a worker or a gateway as whoever runs it sees it.
//! - `settings`: what cannot be used is refused, what can be is shown without secrets; needs no Redis.
//! - `sick`: what is wrong with some, and what it must not do to the others.
//! - `troubles`: an API that refuses, fails, limits or is slow.
//! - `secrets`: values that must be seen nowhere.
//! - `operator`: cancel, retry, resolve and pause beside a worker.
//! - `bare_caller`: that against which the bench measures the queue.
//! - `gateway`: jobs over HTTP, and the API's push.
//! - `snippets`: the Python and Node examples of the README.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

mod bad_input;
mod bare_caller;
mod by_hand;
mod commands;
mod containers;
mod crashes;
mod cut_off;
mod deployed;
mod forgotten;
mod gateway;
mod identity;
mod inbox;
mod keeping;
mod lives;
mod lost_replies;
mod model;
mod operator;
mod outages;
mod rights;
mod scripts;
mod secrets;
mod service;
mod settings;
mod sick;
mod snippets;
mod supervision;
mod support;
mod troubles;
mod upgrade;
