//! The pure rules of a job: its identity, its request, its life, what an answer means, when to
//! try again.
//!
//! Nothing here does IO, reads a clock or is async; everything above (`queue`, `whilter`,
//! `worker`) calls down into it.

#[cfg(feature = "worker")]
pub mod backoff;
mod error_code;
mod ids;
pub mod lifecycle;
mod outcome;
mod received;
pub mod request;
mod stage;
#[cfg(feature = "worker")]
mod streak;

pub use error_code::{ErrorCode, Fault};
pub use ids::{Claim, JobId, Millis, QueueName};
pub use lifecycle::State;
pub use outcome::{ApiSignal, Outcome, Refusal, StatusOutcome, SubmitOutcome};
pub use received::{is_media_url, is_transaction_id};
pub use request::{Entry, EntryFields, Problem, Problems, Request, UnknownFields};
pub use stage::{PerStage, Stage};
#[cfg(feature = "worker")]
pub use streak::{BadAnswer, CheckedAt, Streak};
