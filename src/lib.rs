//! reelq: a durable job queue and worker for the Whilter.AI Realtime Media API.
//!
//! Streams in, streams out. A producer puts a request on the inbox stream; a worker *admits* it
//! (record, body and place in one script), *claims* it (a lease), makes one HTTP call, and one
//! script records the outcome and moves the job. The last script also writes the result entry.
//! Between two calls a job is a record and one member of a sorted set: no task, no timer.
//!
//! # Map
//!
//! Arrows point down only:
//!
//! ```text
//! cli                     commands: parse, call the library, print
//!   http  sandbox         the gateway, health and metrics over HTTP; a stand-in for the remote API
//!     worker              roles: intake, heartbeat, rescuer, settler, rights, wake
//!       stages            submit and poll: claim loop, apalis backend (apalis is named here only)
//!       api_health        breaker, slow start, fault log
//!         setup           the settings as the queue's rules, and how Redis is reached
//!         whilter  queue  the API's client; the queue on Redis: rules, moves, scripts
//!           job           pure rules: request, life cycle, stage, outcomes, backoff
//! config  telemetry       settings in, logs and metrics out
//! ```
//!
//! A module uses those below it and none above, and no two files use each other; tests hold it to
//! that.
//!
//! # Invariants
//!
//! - A live job is in exactly one of `submit`, `unconfirmed`, `poll`, `leases`; an ended one in
//!   none of them, with one result per revision.
//! - One script per transition: checks first, then writes; every script may run twice, and may be
//!   cut off at any command (Redis undoes nothing): a job's old place is left last, and whoever
//!   finds a job half moved or half ended does the rest.
//! - Each claim raises a number: a late failure under an old claim, or of another worker, is
//!   refused; a late success is taken, because it is true whoever brings it.
//! - What is claimed is begun: nobody holds future work in memory.
//! - Time is Redis's. Only ended records expire.
//! - Absent on purpose: heartbeats per job (one bounded call per lease needs none), a retry layer
//!   that sleeps in a worker slot, limits per process.
//!
//! # A job that succeeds
//!
//! 1. `worker/intake.rs` reads the entry; `queue/lua/admit.lua` makes the record and, as there is a
//!    free permit, a lease: state `submitting`.
//! 2. The submit lane POSTs; `accept.lua` records the API's id: state `polling`, due in a second.
//! 3. The poll loop claims it when it is due (`claim_poll.lua`); the GET brings the URL; `finish.lua`
//!    ends the record and writes the result (`lib/result.lua`), in one step.
//!
//! # A job that is retried
//!
//! 1. The POST is answered with 500, which `whilter/outcome.rs` reads as "later":
//!    `worker/stages/submit.rs` decides on a wait from the number of retries, `requeue.lua` puts the
//!    job back into `submit` with that due time.
//! 2. The submit loop's alarm rings; `claim_submit.lua` takes it into whichever worker is free.
//!
//! # A job whose worker dies
//!
//! 1. The worker's beat stops; after four seconds another worker's heartbeat calls it silent.
//! 2. `worker/rescuer.rs` runs `reclaim.lua`: a job being polled is due again at once; a job being
//!    submitted is `unconfirmed`, since its POST may have been sent.
//! 3. After the grace it is sent again under the same id, at most as often as configured.

pub mod job;
pub mod queue;

#[cfg(feature = "worker")]
pub mod config;
#[cfg(feature = "worker")]
pub mod setup;
#[cfg(feature = "worker")]
pub mod telemetry;
#[cfg(feature = "worker")]
pub mod whilter;
#[cfg(feature = "worker")]
pub mod worker;

#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "sandbox")]
pub mod sandbox;

#[cfg(feature = "cli")]
pub mod cli;

pub use job::{EntryFields, JobId, QueueName, Request};
pub use queue::{Queue, RuledQueue};

/// The README's Rust blocks compile as tests of the crate.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
