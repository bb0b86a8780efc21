//! The queue on Redis: keys, scripts, and one function per thing that can be done to a job.
//!
//! A live job is a record plus exactly one place in one sorted set (`submit`, `unconfirmed`,
//! `poll`, or `leases` while a worker holds it). Every move is one Lua script: checks first, then
//! writes, additions before removals; every script may run twice with the same effect as once.
//! Nothing here knows HTTP or what an answer means.

mod admit;
mod aside;
mod breaker;
mod by_hand;
mod claim;
mod connection;
mod error;
mod groups;
mod handle;
mod heartbeat;
mod held;
mod inbox;
mod keys;
mod operate;
mod push;
mod reclaim;
mod record;
mod results;
mod rights;
mod rules;
mod scripts;
mod settle;
mod stats;
mod trim;
mod waiters;
mod wire;

pub use admit::{ADMIT_BATCH, Admission, Admitted, Hands};
pub use breaker::{BreakerEvent, Report, Reported, StageState, StageView, Witnesses};
pub use claim::{CLAIM_BATCH, Claimant, Claimed, Overdue, PollClaim, SubmitClaim};
pub use connection::{ConnectOptions, Connection};
pub use error::QueueError;
pub use handle::{Memory, Queue, RuledQueue};
pub use heartbeat::{Beat, SILENT_AFTER, ServerClock, Tick};
pub use inbox::{Inbox, RawEntry};
pub use keys::{KEYS, Keys, WORKERS_GROUP};
pub use operate::{Dead, Finding, Operated};
pub use push::{Push, PushOutcome, PushTrust};
pub use reclaim::{Lost, MAX_RECOVERIES, Reclaimed};
pub use record::Record;
pub use results::{JobResult, ResultReader};
pub use rights::needed_commands;
pub use rules::Rules;
pub use settle::{End, Move, Settled, Settlement, Source};
pub use stats::Stats;
pub use waiters::{Awaited, Waiters};
