//! What is kept aside, in the stream `rejected`, for people to look at.
//!
//! Entries that are no jobs come there by admission (`lua/admit.lua`); here comes what the API was
//! paid for and Redis has no record of.

use super::error::QueueError;
use super::handle::RuledQueue;
use super::wire::command;
use crate::job::JobId;

/// About so many entries are kept, as in `lua/admit.lua`.
const KEPT: usize = 10_000;

impl RuledQueue {
    /// Keeps aside what was paid for under this id, in words.
    ///
    /// # Errors
    /// What the server answered. After a lost reply it may be there; repeated, it is there twice.
    pub async fn keep_aside(&self, id: &JobId, reason: &str) -> Result<(), QueueError> {
        let mut add = command("XADD");
        add.arg(self.keys.rejected()).arg("MAXLEN").arg("~").arg(KEPT).arg("*");
        for (name, value) in
            [("client-request-id", id.as_str()), ("entry-id", ""), ("reason", reason), ("job", "")]
        {
            add.arg(name).arg(value);
        }
        self.connection.query(&add).await
    }
}
