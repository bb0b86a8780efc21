//! Says in the log what goes wrong with calls of the API: each one at debug, and the first of a
//! while as a warning with the number of those that were kept from it, so that an outage under
//! load does not fill the log.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::job::{JobId, Stage};

/// Warnings of one stage are at least so far apart.
const QUIET: Duration = Duration::from_secs(30);

/// See the module; one for each stage.
#[derive(Debug)]
pub(crate) struct FaultLog {
    stage: Stage,
    since: Mutex<Since>,
}

/// Since the last warning.
#[derive(Debug, Default)]
struct Since {
    warned: Option<Instant>,
    not_logged: u64,
}

impl FaultLog {
    pub(crate) fn new(stage: Stage) -> Self {
        Self { stage, since: Mutex::default() }
    }

    /// A call ended in a fault.
    pub(crate) fn note(&self, id: &JobId, why: &str) {
        let stage = self.stage;
        tracing::debug!(job.id = %id, "{stage}: {why}");
        if let Some(not_logged) = self.is_loud() {
            tracing::warn!(job.id = %id, not_logged, "{stage}: {why}");
        }
    }

    /// Whether to warn, and how many faults were not warned about since the last time.
    fn is_loud(&self) -> Option<u64> {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.warned.is_some_and(|at| at.elapsed() < QUIET) {
            since.not_logged += 1;
            return None;
        }
        let not_logged = since.not_logged;
        *since = Since { warned: Some(Instant::now()), not_logged: 0 };
        Some(not_logged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_said_at_once_and_then_now_and_again() {
        let faults = FaultLog::new(Stage::Submit);
        assert_eq!(faults.is_loud(), Some(0));
        assert_eq!(faults.is_loud(), None);
        assert_eq!(faults.is_loud(), None);
        tokio::time::advance(QUIET).await;
        assert_eq!(faults.is_loud(), Some(2));
    }
}
