//! What the gateway's routes share.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use tokio::sync::watch;
use tokio::time::timeout;

use super::access::{Access, Caller, PushAccess};
use super::admissions::Admissions;
use super::failure::Failure;
use super::log::KeyShown;
use crate::config::Trust;
use crate::job::{JobId, UnknownFields};
use crate::queue::{Awaited, RuledQueue, Waiters};

/// What the routes share.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) queue: RuledQueue,
    pub(super) admissions: Admissions,
    pub(super) waiters: Waiters,
    pub(super) access: Access,
    pub(super) push_access: PushAccess,
    pub(super) trust: Trust,
    pub(super) unknown_fields: UnknownFields,
    /// Turns true when the process is to end.
    pub(super) stopping: watch::Receiver<bool>,
}

impl Gateway {
    /// Waits for a job's end, for so long, and no longer than the process is to run.
    pub(super) async fn ended(&self, id: &JobId, within: Duration) -> Result<Awaited, Failure> {
        let waited = self.waiters.ended(id, self.no_longer_than(within)).await;
        waited.map_err(|error| Failure::of_queue(&error))
    }

    /// Returns after this time, or when the process is to end.
    pub(super) async fn no_longer_than(&self, time: Duration) {
        let mut stopping = self.stopping.clone();
        // An error says that it ends.
        let _ = timeout(time, stopping.wait_for(|it| *it)).await;
    }
}

impl FromRequestParts<Arc<Gateway>> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &Arc<Gateway>,
    ) -> Result<Self, Failure> {
        let authorization = parts.headers.get(header::AUTHORIZATION);
        let caller = gateway.access.admit(authorization.and_then(|it| it.to_str().ok()))?;
        // For the log of the request.
        if let Some(shown) = parts.extensions.get::<KeyShown>() {
            shown.set(caller.0.clone());
        }
        Ok(caller)
    }
}
