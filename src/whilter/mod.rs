//! stub
use crate::config::{Api, Deliverable};
use crate::job::*;
/// x
#[derive(Clone, Debug)]
pub struct Client;
/// x
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct BuildError;
impl Client {
    /// x
    pub fn new(_a: &Api, _s: usize, _p: usize) -> Result<Self, BuildError> {
        Ok(Self)
    }
    /// x
    pub async fn submit(
        &self,
        _id: &JobId,
        _b: bytes::Bytes,
        _d: tokio::time::Instant,
    ) -> SubmitOutcome {
        SubmitOutcome::Unknown { detail: String::new() }
    }
    /// x
    pub async fn status(
        &self,
        _id: &JobId,
        _w: &str,
        _x: Deliverable,
        _d: tokio::time::Instant,
    ) -> StatusOutcome {
        StatusOutcome::NotYet
    }
}
