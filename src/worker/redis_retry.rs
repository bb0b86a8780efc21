//! In-memory waits between repeats of one call to Redis.
//!
//! The only waits that do not live in Redis: of a loop that has lost its connection. They grow
//! to a second, so that a Redis that is back is noticed at once.

use std::time::Duration;

use crate::job::backoff::Backoff;
use crate::queue::QueueError;
use crate::telemetry;

const BACKOFF: Backoff = Backoff {
    initial: Duration::from_millis(20),
    multiplier: 2.0,
    max: Duration::from_secs(1),
    jitter: 0.5,
};

/// The repeats of one call.
#[derive(Debug)]
pub(crate) struct RedisRetry {
    what: &'static str,
    failures: u32,
}

impl RedisRetry {
    /// For a call that has not failed yet.
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, failures: 0 }
    }

    /// Reports a failure (the first of a run loudly) and waits.
    pub(crate) async fn wait(&mut self, error: &QueueError) {
        telemetry::redis_error(error.kind());
        if self.failures == 0 {
            tracing::warn!(%error, "{}: trying again until Redis answers", self.what);
        } else {
            tracing::debug!(%error, failures = self.failures, "{}: again", self.what);
        }
        tokio::time::sleep(BACKOFF.delay(self.failures)).await;
        self.failures = self.failures.saturating_add(1);
    }

    /// The call has worked.
    pub(crate) fn reset(&mut self) {
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "{}: Redis answers again", self.what);
            self.failures = 0;
        }
    }
}
