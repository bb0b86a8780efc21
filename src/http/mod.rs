//! What a process serves over HTTP.
//!
//! `operations` is what every process serves on `http.listen` for those who operate it. `gateway` is the
//! HTTP front on `gateway.listen`: its routes are `jobs`, `results`, `push` and `openapi`; they use what
//! `shared` holds: `access` lets callers in, `admissions` enqueues together what comes together. `log`
//! tells of each request. `server` accepts the connections of both.
//!
//! A handler holds nothing that is not in Redis: whoever gets no answer may ask again.

mod access;
mod admissions;
mod body;
mod failure;
mod gateway;
mod jobs;
mod log;
mod openapi;
mod operations;
mod push;
mod results;
mod schemas;
mod server;
mod shared;
mod shown;

pub use self::gateway::{RunningGateway, answer_unavailable};
pub use self::operations::Operations;
