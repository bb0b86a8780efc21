//! reelq: a durable job queue and worker for the Whilter.AI Realtime Media API.

pub mod job;
pub mod queue;

#[cfg(feature = "worker")]
pub mod config;
#[cfg(feature = "worker")]
pub mod telemetry;
#[cfg(feature = "worker")]
pub mod whilter;
#[cfg(feature = "worker")]
pub mod worker;

#[cfg(feature = "gateway")]
pub mod gateway;
#[cfg(feature = "sandbox")]
pub mod sandbox;

#[cfg(feature = "cli")]
pub mod cli;
