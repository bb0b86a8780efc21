//! In-memory waits between repeats of one call to Redis.
//!
//! The only waits that do not live in Redis: of a loop that has lost its connection. They grow
//! to a second, so that a Redis that is back is noticed at once.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::job::backoff::Backoff;
use crate::queue::QueueError;
use crate::telemetry;

const BACKOFF: Backoff = Backoff {
    initial: Duration::from_millis(20),
    multiplier: 2.0,
    max: Duration::from_secs(1),
    jitter: 0.5,
};

/// How often a run of failures is told of.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// The repeats of one call.
#[derive(Debug)]
pub(crate) struct RedisRetry {
    what: &'static str,
    /// Whether the process does nothing at all meanwhile.
    at_start: bool,
    failures: u32,
    said: Option<Instant>,
}

impl RedisRetry {
    /// For a call that has not failed yet.
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, at_start: false, failures: 0, said: None }
    }

    /// For the call without which nothing begins.
    pub(crate) fn at_start(what: &'static str) -> Self {
        Self { at_start: true, ..Self::new(what) }
    }

    /// Reports a failure (the first of a run loudly, and once a minute) and waits.
    pub(crate) async fn wait(&mut self, error: &QueueError) {
        telemetry::redis_error(error.kind());
        if self.said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            self.said = Some(Instant::now());
            let what = self.what;
            if self.at_start {
                tracing::error!(%error, "{what}: trying again until Redis answers");
            } else {
                tracing::warn!(%error, "{what}: trying again until Redis answers");
            }
        } else {
            tracing::debug!(%error, failures = self.failures, "{}: again", self.what);
        }
        sleep(BACKOFF.delay(self.failures)).await;
        self.failures = self.failures.saturating_add(1);
    }

    /// The call has worked.
    pub(crate) fn reset(&mut self) {
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "{}: Redis answers again", self.what);
            (self.failures, self.said) = (0, None);
        }
    }
}
