//! The pure rules of a job: its identity, its request, its life, what an answer means, when to
//! try again.
//!
//! Nothing here does IO, reads a clock or is async; everything above (`queue`, `whilter`,
//! `worker`) calls down into it.

mod error_code;
mod ids;
mod outcome;
#[cfg(feature = "worker")]
pub mod policy;
pub mod request;

pub use error_code::{ErrorCode, Fault};
pub use ids::{Claim, JobId, Millis, QueueName};
pub use outcome::{StatusOutcome, SubmitOutcome};
pub use request::{Entry, EntryFields, Problem, Problems, Request, UnknownFields};
