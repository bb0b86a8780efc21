//! Claims: due jobs go into a worker's hands (`lua/claim_submit.lua`, `lua/claim_poll.lua`).
//!
//! A claim of submits brings their bodies along, as many as fit into about a megabyte, so that no
//! reply grows with the size of a body times the batch.

use std::time::Duration;

use redis::Value;

use super::breaker::StageState;
use super::by_hand::Text;
use super::error::QueueError;
use super::handle::RuledQueue;
use super::scripts::{Call, Name};
use super::wire::{TextOrShown, Values, milliseconds};
use crate::job::{Claim, JobId, Millis};

/// The most jobs that one call moves: a claim of 100 takes the server about 1 ms.
pub const CLAIM_BATCH: usize = 100;

/// Who claims, and how much.
#[derive(Clone, Copy, Debug)]
pub struct Claimant<'a> {
    /// The worker's name.
    pub worker: &'a str,
    /// How many jobs it can begin at once; at most [`CLAIM_BATCH`] are given.
    pub limit: usize,
    /// The claim's number among this worker's claims of the stage, rising. A claim whose reply
    /// was lost is repeated under the same number, and gives the same jobs.
    pub number: u64,
    /// How many calls a second the whole fleet may begin in this stage; `None`: any.
    pub rate: Option<f64>,
}

/// What a claim brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed<J> {
    /// The jobs that are now in the caller's hands.
    pub jobs: Vec<J>,
    /// What was taken out of its place since it has no record, or has ended.
    pub quarantined: Vec<String>,
    /// Jobs that were claimed and are not given, since something in their record is no text.
    pub unreadable: Vec<String>,
    /// How long until the next job may be claimed; `None`: none is known.
    pub next_in: Option<Duration>,
    /// Whether the stage is closed, for the whole fleet.
    pub state: StageState,
    /// Whether this job is to find out how the API is, while the stage is closed.
    pub is_probe: bool,
    /// The transaction to check, to find out whether the API is there, before a POST is tried.
    pub to_check: Option<String>,
}

/// Jobs that were not to be submitted any more when they were to be claimed. They have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overdue {
    /// How many that were never sent, or surely not accepted: `expired`, `submit-deadline`.
    pub expired: u64,
    /// How many whose POST was never answered: `failed`, `submit-unconfirmed`.
    pub failed: u64,
    /// How many whose URL the API had pushed meanwhile: `completed`.
    pub completed: u64,
}

/// A job to be submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmitClaim {
    /// Which job.
    pub id: JobId,
    /// Under which claim.
    pub claim: Claim,
    /// Attempts spent so far.
    pub attempts: u32,
    /// How often it was put back to wait.
    pub retries: u32,
    /// How many of its POSTs were never answered.
    pub unconfirmed: u32,
    /// How many POSTs of it were begun, this one included.
    pub posts: u32,
    /// Its template and customer: what it shares a fault with.
    pub pair: String,
    /// Its request body; empty: it is gone from Redis.
    pub body: Vec<u8>,
}

/// A job whose video is to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PollClaim {
    /// Which job.
    pub id: JobId,
    /// Under which claim.
    pub claim: Claim,
    /// The API's id.
    pub whilter_request_id: String,
    /// Its template and customer: what it shares a fault with.
    pub pair: String,
    /// Status checks so far, this one included.
    pub polls: u32,
    /// How late this check is.
    pub late_by: Duration,
    /// How long ago the API accepted the job.
    pub age: Duration,
    /// How long ago the job was admitted, or last retried.
    pub since_admission: Duration,
    /// How long until the job's own end; zero when that is over.
    pub expires_in: Option<Duration>,
    /// The run of bad answers so far, as the last one recorded it.
    pub streak: Option<String>,
    /// Whether it is checked now because the API has pushed something.
    pub is_pushed: bool,
}

impl RuledQueue {
    /// Takes due jobs into a worker's hands to be submitted, and ends those whose time is over.
    ///
    /// # Errors
    /// What the server answered. Repeat the call under the same number: what it took is held by
    /// this worker, and nobody else gets it before the lease runs out.
    pub async fn claim_submits(
        &self,
        claimant: Claimant<'_>,
    ) -> Result<(Claimed<SubmitClaim>, Overdue), QueueError> {
        let call = self
            .claim(Name::ClaimSubmit, claimant)
            .arg(milliseconds(self.rules.max_age))
            .arg(self.rules.max_unconfirmed);
        read_submit(self.connection.call(&call).await?)
    }

    /// Takes due jobs into a worker's hands to be checked.
    ///
    /// # Errors
    /// As [`RuledQueue::claim_submits`].
    pub async fn claim_polls(
        &self,
        claimant: Claimant<'_>,
    ) -> Result<Claimed<PollClaim>, QueueError> {
        let call = self.claim(Name::ClaimPoll, claimant);
        read_poll(self.connection.call(&call).await?)
    }

    /// What both claims begin with.
    fn claim(&self, name: Name, claimant: Claimant<'_>) -> Call {
        let rate = claimant.rate.map_or_else(String::new, |rate| rate.to_string());
        Call::new(name, &self.keys, self.now_ms)
            .arg(claimant.worker)
            .arg(milliseconds(self.rules.lease))
            .arg(claimant.limit.min(CLAIM_BATCH))
            .arg(claimant.number)
            .arg(rate)
            .retention(&self.rules)
    }
}

/// What both replies begin with.
struct Head {
    now: Millis,
    next_in: Option<Duration>,
    state: StageState,
    is_probe: bool,
    quarantined: Vec<String>,
}

impl Head {
    fn take(values: &mut Values) -> Result<Self, QueueError> {
        let now = Millis(values.take()?);
        let next: Option<u64> = values.take_if_given()?;
        Ok(Self {
            now,
            next_in: next.map(|next| between(now, Millis(next))),
            state: StageState::parse(&values.take::<String>()?),
            is_probe: values.take::<u8>()? == 1,
            quarantined: values.take_names()?,
        })
    }

    /// The whole, with the items that could be read, and the ids of those that could not.
    fn with<J>(self, items: Vec<Result<J, String>>) -> Claimed<J> {
        let Self { next_in, state, is_probe, quarantined, .. } = self;
        let (mut jobs, mut unreadable) = (Vec::with_capacity(items.len()), Vec::new());
        for item in items {
            match item {
                Ok(job) => jobs.push(job),
                Err(id) => unreadable.push(id),
            }
        }
        Claimed { jobs, quarantined, unreadable, next_in, state, is_probe, to_check: None }
    }
}

/// Reads the reply of `lua/claim_submit.lua`. A paused queue has nothing due until it is resumed.
fn read_submit(reply: Vec<Value>) -> Result<(Claimed<SubmitClaim>, Overdue), QueueError> {
    let mut values = Values::new(reply);
    let head = Head::take(&mut values)?;
    let overdue =
        Overdue { expired: values.take()?, failed: values.take()?, completed: values.take()? };
    let to_check = Some(values.take::<Text>()?.0).filter(|it| !it.is_empty());
    let mut items = Vec::with_capacity(values.len() / 8);
    while values.len() > 0 {
        let (id, claim) = (values.take_text()?, Claim(values.take_number()?.unwrap_or_default()));
        let body = values.take_bytes()?.unwrap_or_default();
        let (posts, pair) = (values.take_count()?, values.take::<Text>()?.0);
        let (attempts, retries) = (values.take_count()?, values.take_count()?);
        let unconfirmed = values.take_count()?;
        items.push(job_id(id).map(|id| SubmitClaim {
            id,
            claim,
            attempts,
            retries,
            unconfirmed,
            posts,
            pair,
            body,
        }));
    }
    Ok((Claimed { to_check, ..head.with(items) }, overdue))
}

/// Reads the reply of `lua/claim_poll.lua`.
fn read_poll(reply: Vec<Value>) -> Result<Claimed<PollClaim>, QueueError> {
    let mut values = Values::new(reply);
    let head = Head::take(&mut values)?;
    let now = head.now;
    let mut items = Vec::with_capacity(values.len() / 12);
    while values.len() > 0 {
        let (id, claim) = (values.take_text()?, values.take_number()?.unwrap_or_default());
        let (polls, pair) = (values.take_count()?, values.take::<Text>()?.0);
        let whilter_request_id = values.take_text()?;
        let next_at = values.take_number()?;
        let due_at = next_at.unwrap_or(now.0);
        // From the acceptance, or from the operator's retry if that was later.
        let (submitted_at, retried_at) = (values.take_number()?, values.take_number()?);
        let since = submitted_at.max(retried_at).unwrap_or(now.0);
        let expires_at = values.take_number()?;
        let (streak, pushed_at) = (values.take_text()?, values.take_number()?);
        let accepted_at = values.take_number()?.max(retried_at).unwrap_or(since);
        let id = job_id(id);
        let readable = match (id, whilter_request_id) {
            (Ok(id), Some(Ok(whilter_request_id))) => Ok((id, whilter_request_id)),
            (Ok(id), _) => Err(id.to_string()),
            (Err(id), _) => Err(id),
        };
        items.push(readable.map(|(id, whilter_request_id)| PollClaim {
            id,
            claim: Claim(claim),
            whilter_request_id,
            pair,
            polls,
            late_by: between(Millis(due_at), now),
            age: between(Millis(since), now),
            since_admission: between(Millis(accepted_at), now),
            expires_in: expires_at.map(|at| between(now, Millis(at))),
            streak: streak.and_then(Result::ok),
            is_pushed: pushed_at.is_some() && pushed_at == next_at,
        }));
    }
    Ok(head.with(items))
}

/// A job's id as it stands in a reply, or what stands there instead.
fn job_id(text: Option<TextOrShown>) -> Result<JobId, String> {
    match text {
        Some(Ok(text)) => JobId::new(text.clone()).map_err(|_| text),
        Some(Err(shown)) => Err(shown),
        None => Err(String::new()),
    }
}

fn between(earlier: Millis, later: Millis) -> Duration {
    Duration::from_millis(later.since(earlier))
}
