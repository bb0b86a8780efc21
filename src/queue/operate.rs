//! What an operator does to single jobs (`lua/cancel.lua`, `lua/retry.lua`, `lua/resolve.lua`).
//!
//! Each job is dealt with in one script call that is safe in every state; the answers say where
//! the job stands then, or why nothing was done.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::Value;

use super::by_hand::{Text, Whole, read_id};
use super::claim::CLAIM_BATCH;
use super::error::QueueError;
use super::handle::RuledQueue;
use super::scripts::{Call, Name};
use super::wire::{Values, command, history_event, milliseconds};
use crate::job::{ErrorCode, Fault, JobId, Millis, Stage, State};

/// What became of an operator's word about one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operated {
    /// It was done, now or by an earlier call.
    Done {
        /// Where the job stands now.
        state: State,
        /// Its revision.
        revision: u64,
    },
    /// It cannot be done in the job's state; nothing was changed.
    Refused(String),
    /// There is no record of the job.
    Gone,
}

impl Operated {
    /// Where the job stands then; `None`: nothing was done.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        match self {
            Self::Done { state, .. } => Some(*state),
            Self::Refused(_) | Self::Gone => None,
        }
    }
}

/// What an operator found out about a job whose POST was never answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The API accepted it under this whilter-request-id.
    Accepted(String),
    /// Its video is at this URL.
    Ready(String),
    /// There is no video and will be none, in words.
    GivenUp(String),
}

/// A job that ended `failed` or `expired`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// Which job.
    pub id: JobId,
    /// When it ended.
    pub ended_at: Millis,
    /// Its `error` field.
    pub error: String,
}

impl Dead {
    /// The code of its error.
    #[must_use]
    pub fn code(&self) -> &str {
        self.error.split(':').next().unwrap_or_default()
    }
}

impl RuledQueue {
    /// Ends live jobs and publishes their results; the answers are in the same order. A job that
    /// was cancelled before counts as done. The history says by whom, if that has a name.
    ///
    /// # Errors
    /// What the server answered; repeating the call is safe.
    pub async fn cancel(
        &self,
        ids: &[JobId],
        by: Option<&str>,
    ) -> Result<Vec<Operated>, QueueError> {
        let event = history_event("cancelled", by);
        let begin = || {
            let call = Call::new(Name::Cancel, &self.keys, self.now_ms).retention(&self.rules);
            call.arg(&event)
        };
        self.operate(ids, begin).await
    }

    /// Makes live jobs due now and lets ended ones live again; the answers are in the same order.
    /// What the API accepted and did not fail is followed again, or, with `resubmit`, bought again.
    /// With `dry` nothing is changed; the answers say what would be.
    ///
    /// # Errors
    /// What the server answered; repeating the call is safe.
    pub async fn retry(
        &self,
        ids: &[JobId],
        resubmit: bool,
        dry: bool,
    ) -> Result<Vec<Operated>, QueueError> {
        self.retry_as(if resubmit { "resubmit" } else { "" }, ids, dry).await
    }

    /// Makes unconfirmed jobs due now, each to be sent once more, and refuses all others: what was held
    /// when it was listed may have ended since, and is not to be bought again.
    ///
    /// # Errors
    /// What the server answered; repeating the call is safe.
    pub async fn retry_held(&self, ids: &[JobId], dry: bool) -> Result<Vec<Operated>, QueueError> {
        self.retry_as("held", ids, dry).await
    }

    async fn retry_as(
        &self,
        how: &str,
        ids: &[JobId],
        dry: bool,
    ) -> Result<Vec<Operated>, QueueError> {
        let begin = || Call::new(Name::Retry, &self.keys, self.now_ms).arg(how).arg(u8::from(dry));
        self.operate(ids, begin).await
    }

    /// Settles a job whose POST was never answered.
    ///
    /// # Errors
    /// What the server answered; repeating the call is safe.
    pub async fn resolve(&self, id: &JobId, finding: &Finding) -> Result<Operated, QueueError> {
        let (to, known) = match finding {
            Finding::Accepted(whilter_request_id) => (State::Polling, whilter_request_id.clone()),
            Finding::Ready(video_url) => (State::Completed, video_url.clone()),
            Finding::GivenUp(why) => {
                (State::Failed, Fault::new(ErrorCode::SubmitUnconfirmed, why).to_field())
            }
        };
        let call = Call::new(Name::Resolve, &self.keys, self.now_ms)
            .retention(&self.rules)
            .arg(id.as_str())
            .arg(to.as_str())
            .arg(known);
        read_one(&mut Values::new(self.connection.call::<Vec<Value>>(&call).await?))
    }

    /// The jobs that ended `failed` or `expired`, at most `since` ago, by the time of their end.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn dead(&self, since: Option<Duration>) -> Result<Vec<Dead>, QueueError> {
        let since = match since {
            Some(since) => self.server_time().await?.0.saturating_sub(milliseconds(since)),
            None => 0,
        };
        let mut ids = self.members(&self.keys.dead()).await?;
        ids.retain(|(ended_at, _)| *ended_at >= since);
        let mut dead = Vec::with_capacity(ids.len());
        for batch in ids.chunks(CLAIM_BATCH) {
            let mut errors = redis::pipe();
            for (_, id) in batch {
                errors.hget(self.keys.job(id), "error");
            }
            let errors: Vec<Option<Text>> = self.connection.pipeline(&errors).await?;
            dead.extend(batch.iter().zip(errors).map(|((ended_at, id), error)| Dead {
                id: id.clone(),
                ended_at: Millis(*ended_at),
                error: error.unwrap_or_default().0,
            }));
        }
        Ok(dead)
    }

    /// The members of a sorted set that are ids, by score.
    pub(super) async fn members(&self, key: &str) -> Result<Vec<(u64, JobId)>, QueueError> {
        let mut found = BTreeMap::new();
        let mut cursor = 0_u64;
        // A scan misses nobody who is there all the time, whoever else comes or goes.
        loop {
            let mut scan = command("ZSCAN");
            scan.arg(key).arg(cursor).arg("COUNT").arg(CLAIM_BATCH);
            let members: Vec<(Vec<u8>, Whole)>;
            (cursor, members) = self.connection.query(&scan).await?;
            found.extend(members);
            if cursor == 0 {
                break;
            }
        }
        let id = |(bytes, score): (_, Whole)| Some((score.0, read_id(bytes)?));
        let mut ids: Vec<_> = found.into_iter().filter_map(id).collect();
        ids.sort();
        Ok(ids)
    }

    /// Stops all submits until [`RuledQueue::resume`]; intake and status checks go on.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn pause(&self, reason: &str) -> Result<(), QueueError> {
        self.connection.query(command("SET").arg(self.keys.named("paused")).arg(reason)).await
    }

    /// Whether submits are stopped.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn is_paused(&self) -> Result<bool, QueueError> {
        self.connection.query(command("EXISTS").arg(self.keys.named("paused"))).await
    }

    /// Lets submits go on. Says whether the queue was paused.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn resume(&self) -> Result<bool, QueueError> {
        if self.is_paused().await? {
            // No job has grown older by the pause.
            let now = self.server_time().await?;
            let mut ended = command("SET");
            ended.arg(self.keys.named("halt-ended:submit")).arg(now.0);
            ended.arg("PX").arg(milliseconds(self.rules.max_age));
            self.connection.query::<()>(&ended).await?;
        }
        let removed: u64 =
            self.connection.query(command("DEL").arg(self.keys.named("paused"))).await?;
        let mut wake = command("PUBLISH");
        wake.arg(self.keys.wake()).arg(Stage::Submit.as_str());
        match self.connection.query::<u64>(&wake).await {
            Err(error) if !error.is_missing_right() => Err(error),
            // Without that right, workers notice within a second.
            Ok(_) | Err(_) => Ok(removed > 0),
        }
    }

    async fn operate(
        &self,
        ids: &[JobId],
        begin: impl Fn() -> Call,
    ) -> Result<Vec<Operated>, QueueError> {
        let mut answers = Vec::with_capacity(ids.len());
        for batch in ids.chunks(CLAIM_BATCH) {
            let call = batch.iter().fold(begin(), |call, id| call.arg(id.as_str()));
            let reply: Vec<Value> = self.connection.call(&call).await?;
            let mut values = Values::new(reply);
            for _ in batch {
                answers.push(read_one(&mut values)?);
            }
        }
        Ok(answers)
    }
}

fn read_one(values: &mut Values) -> Result<Operated, QueueError> {
    let (code, detail): (String, String) = (values.take()?, values.take()?);
    Ok(match code.as_str() {
        "gone" => Operated::Gone,
        "refused" => Operated::Refused(detail),
        state => {
            let state = State::ALL.into_iter().find(|it| it.as_str() == state);
            let state =
                state.ok_or_else(|| QueueError::Unexpected(format!("the state {code:?}")))?;
            Operated::Done { state, revision: detail.parse().unwrap_or_default() }
        }
    })
}
