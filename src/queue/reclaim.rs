//! What dead workers held, and leases that have run out, are taken back (`lua/reclaim.lua`).

use redis::Value;

use super::claim::CLAIM_BATCH;
use super::error::QueueError;
use super::handle::RuledQueue;
use super::heartbeat::SILENT_AFTER;
use super::scripts::{Call, Name};
use super::wire::{Values, milliseconds};

/// A submit that ended its worker so often, without a settlement between, fails.
pub const MAX_RECOVERIES: u32 = 5;

/// Whose leases to take back.
#[derive(Clone, Copy, Debug)]
pub enum Lost<'a> {
    /// Those that have run out.
    Overdue,
    /// Those of a dead worker; `skip` leases of the living have been passed over.
    Worker {
        /// Its name.
        name: &'a str,
        /// How many leases were looked at and left.
        skip: usize,
    },
}

/// What one call took back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Jobs taken back.
    pub taken: usize,
    /// Of these, jobs that ended `failed`, `crash-loop`.
    pub failed: u64,
    /// Leases looked at; fewer than a full batch means that these were the last.
    pub seen: usize,
    /// What was taken out of `leases` since it has no record, or has ended.
    pub quarantined: Vec<String>,
}

impl Reclaimed {
    /// Whether there may be more.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.seen == CLAIM_BATCH
    }
}

impl RuledQueue {
    /// Takes back a batch of leases.
    ///
    /// # Errors
    /// What the server answered; repeating the call is safe.
    pub async fn reclaim(&self, lost: Lost<'_>) -> Result<Reclaimed, QueueError> {
        let (dead, skip) = match lost {
            Lost::Overdue => ("", 0),
            Lost::Worker { name, skip } => (name, skip),
        };
        let rules = &self.rules;
        let call = Call::new(Name::Reclaim, &self.keys, self.now_ms)
            .arg(dead)
            .arg(skip)
            .arg(CLAIM_BATCH)
            .arg(milliseconds(rules.unconfirmed_grace))
            .arg(rules.max_unconfirmed)
            .arg(milliseconds(rules.max_age))
            .arg(MAX_RECOVERIES)
            .retention(rules)
            .arg(milliseconds(SILENT_AFTER));
        let mut values = Values::new(self.connection.call::<Vec<Value>>(&call).await?);
        let (taken, seen, failed) = (values.take()?, values.take()?, values.take()?);
        Ok(Reclaimed { taken, failed, seen, quarantined: values.take_names()? })
    }
}
