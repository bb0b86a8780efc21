//! Unconfirmed jobs that are held for a person: they are not sent again, and fail at their deadline.
//!
//! Whether one is held is told by its record (`lua/lib/unconfirmed.lua`), for the place that it is in is
//! also that of jobs which wait for a repeat. Called for the metrics and for `reelq retry --held`.

use redis::RedisResult;

use super::by_hand::{Text, read_id};
use super::claim::CLAIM_BATCH;
use super::error::QueueError;
use super::handle::RuledQueue;
use super::wire::milliseconds;
use crate::job::{JobId, State};

/// A repeat of an unanswered POST waits so many graces at most.
pub(super) const MOST_GRACES: u32 = 11;

/// So many jobs that may wait for a repeat are looked at when the held ones are counted.
const LOOKED_AT: isize = 1000;

/// What tells a held job, as its record has it.
const FIELDS: [&str; 4] = ["state", "held", "unconfirmed", "resend"];

impl RuledQueue {
    /// How many unconfirmed jobs are held. What is due later than any repeat is held; of the others the
    /// first thousand are looked at.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn held(&self) -> Result<u64, QueueError> {
        let place = self.keys.named("unconfirmed");
        let graces = milliseconds(self.rules.unconfirmed_grace).saturating_mul(MOST_GRACES.into());
        let latest = self.server_time().await?.0.saturating_add(graces);
        let mut both = redis::pipe();
        both.zcount(&place, format!("({latest}"), "+inf");
        both.zrangebyscore_limit(&place, "-inf", latest, 0, LOOKED_AT);
        let (later, sooner): (u64, Vec<Vec<u8>>) = self.connection.pipeline(&both).await?;
        let held = self.held_among(sooner.into_iter().filter_map(read_id).collect()).await?;
        Ok(later + u64::try_from(held.len()).unwrap_or_default())
    }

    /// The jobs that are held, by the time when they end.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn held_jobs(&self) -> Result<Vec<JobId>, QueueError> {
        let members = self.members(&self.keys.named("unconfirmed")).await?;
        self.held_among(members.into_iter().map(|(_, id)| id).collect()).await
    }

    async fn held_among(&self, ids: Vec<JobId>) -> Result<Vec<JobId>, QueueError> {
        let mut held = Vec::new();
        for batch in ids.chunks(CLAIM_BATCH) {
            let mut records = redis::pipe();
            for id in batch {
                records.hmget(self.keys.job(id), &FIELDS);
            }
            let records: Vec<RedisResult<[Option<Text>; 4]>> =
                self.connection.pipeline(records.ignore_errors()).await?;
            for (id, record) in batch.iter().zip(records) {
                let record = match record {
                    // What somebody has put there is no record.
                    Err(error) if error.code() == Some("WRONGTYPE") => continue,
                    record => record?,
                };
                if self.is_held(record) {
                    held.push(id.clone());
                }
            }
        }
        Ok(held)
    }

    /// The mark may be missing: earlier versions made none for what was sent often enough, and the rules
    /// may have changed.
    fn is_held(&self, [state, mark, unconfirmed, resend]: [Option<Text>; 4]) -> bool {
        let times: Option<u32> = unconfirmed.and_then(|it| it.0.parse().ok());
        let often = times.is_some_and(|times| times > self.rules.max_unconfirmed);
        state.is_some_and(|it| it.0 == State::Unconfirmed.as_str())
            && (mark.is_some() || often)
            && resend.is_none()
    }
}
