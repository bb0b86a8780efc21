//! Admission: entries become jobs, duplicates, conflicts or rejects (`lua/admit.lua`).
//!
//! Producers admit directly and are answered at once; a worker admits what it read from the
//! inbox stream, some of it straight into its own hands.

use std::fmt;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use redis::Value;

use super::error::QueueError;
use super::handle::{Queue, RuledQueue};
use super::scripts::{Call, Name};
use super::wire::{Values, history_event, milliseconds};
use crate::job::request::body_sha1;
use crate::job::{Entry, EntryFields, ErrorCode, Fault, JobId, Millis, Request};

/// The most entries that one call admits; a longer list is admitted in several calls.
pub const ADMIT_BATCH: usize = 64;

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Accepted, and in the caller's hands: its POST must begin now, under claim 1.
    Leased,
    /// Accepted; it waits for a worker.
    Waiting,
    /// The same body was accepted under this id before; nothing was done.
    Duplicate,
    /// Another body was accepted under this id before; it was kept aside and not submitted.
    Conflict,
    /// No valid request; it was kept aside and the result stream says why.
    Rejected,
}

impl Admission {
    /// Whether the entry is a new job.
    #[must_use]
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::Leased | Self::Waiting)
    }

    fn from_code(code: &str) -> Result<Self, QueueError> {
        Ok(match code {
            "leased" => Self::Leased,
            "waiting" => Self::Waiting,
            "duplicate" => Self::Duplicate,
            "conflict" => Self::Conflict,
            "rejected" => Self::Rejected,
            other => {
                return Err(QueueError::Unexpected(format!("admit.lua answered {other:?}")));
            }
        })
    }
}

/// The word that producers are answered with.
impl fmt::Display for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leased | Self::Waiting => "accepted",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Rejected => "rejected",
        })
    }
}

/// The hands that new jobs may go into at once.
#[derive(Clone, Copy, Debug)]
pub struct Hands<'a> {
    /// Who reads the stream.
    pub worker: &'a str,
    /// How many jobs can begin at once.
    pub free: usize,
    /// The admission's number among this worker's, rising. An admission whose reply was lost is
    /// repeated under the same number, and leases the same jobs.
    pub number: u64,
}

impl Hands<'_> {
    /// No hands: every job waits.
    pub(crate) const NONE: Self = Self { worker: "", free: 0, number: 0 };
}

impl Queue {
    /// Puts one job on the queue and says at once what became of it.
    ///
    /// # Errors
    /// What the server answered. After a lost reply the job may have been accepted: enqueue it
    /// again, it will then be a [`Admission::Duplicate`].
    pub async fn enqueue(
        &self,
        request: &Request,
        fields: &EntryFields,
    ) -> Result<Admission, QueueError> {
        let admitted = self.enqueue_many(&[(request.clone(), fields.clone())]).await?;
        admitted.first().copied().ok_or_else(|| QueueError::Unexpected("no answer".to_owned()))
    }

    /// Puts many jobs on the queue, in batches of [`ADMIT_BATCH`]; the answers are in the same
    /// order.
    ///
    /// # Errors
    /// As [`Queue::enqueue`]; earlier batches have been accepted then.
    pub async fn enqueue_many(
        &self,
        jobs: &[(Request, EntryFields)],
    ) -> Result<Vec<Admission>, QueueError> {
        // By index: a closure over borrowed chunks would make the future one that cannot be spawned.
        let calls = (0..jobs.len()).step_by(ADMIT_BATCH).map(|first| {
            let mut call = self.begin(Hands::NONE, Duration::ZERO);
            for (request, fields) in jobs.iter().skip(first).take(ADMIT_BATCH) {
                add_job(&mut call, "", request, fields);
            }
            call
        });
        // While the server admits one batch, the next is put together.
        let admit = |call| async move { read(self.connection.call(&call).await?) };
        let mut admitted = stream::iter(calls).map(admit).buffered(2);
        let mut admissions = Vec::with_capacity(jobs.len());
        while let Some(batch) = admitted.try_next().await? {
            admissions.extend(batch.admissions);
        }
        Ok(admissions)
    }

    /// Begins the call that admits entries, some of them into these hands for the time of a lease.
    fn begin(&self, hands: Hands<'_>, lease: Duration) -> Call {
        Call::new(Name::Admit, &self.keys, self.now_ms)
            .arg(hands.worker)
            .arg(milliseconds(lease))
            .arg(hands.free)
            .arg(hands.number)
    }
}

impl RuledQueue {
    /// Admits entries of the inbox stream, at most [`ADMIT_BATCH`], some of them straight into
    /// the hands of the worker that read them.
    ///
    /// # Errors
    /// What the server answered; repeating the call is safe and right.
    pub async fn admit(
        &self,
        hands: Hands<'_>,
        entries: &[(String, Entry)],
    ) -> Result<Admitted, QueueError> {
        let mut call = self.begin(hands, self.rules.lease);
        for (entry_id, entry) in entries {
            add_entry(&mut call, entry_id, entry);
        }
        read(self.connection.call(&call).await?)
    }
}

/// Adds a valid job; `entry_id` is empty when it did not come by the inbox stream.
fn add_job(call: &mut Call, entry_id: &str, request: &Request, fields: &EntryFields) {
    add_identity(call, entry_id, Some(request.id()), request.body());
    call.push(request.body());
    call.push("");
    let time = |at: Option<Millis>| at.map_or(String::new(), |at| at.to_string());
    let (not_before, expires_at) = (time(fields.not_before), time(fields.expires_at));
    call.push(&not_before);
    call.push(&expires_at);
    // In the place of the script's own.
    let history = fields.by.as_deref().map(|by| history_event("+0 accepted", Some(by)));
    add_words(
        call,
        &[
            ("user-id", request.user_id()),
            ("customer-id", request.customer_id()),
            ("use-case-id", request.use_case_id()),
            ("entry-id", entry_id),
            ("not-before", &not_before),
            ("expires-at", &expires_at),
            ("traceparent", fields.traceparent.as_deref().unwrap_or_default()),
            ("meta", fields.meta.as_deref().unwrap_or_default()),
            ("history", &history.unwrap_or_default()),
        ],
    );
}

/// Adds an entry of the inbox stream, valid or not.
fn add_entry(call: &mut Call, entry_id: &str, entry: &Entry) {
    let problems = match &entry.request {
        Ok(request) => return add_job(call, entry_id, request, &entry.fields),
        Err(problems) => problems,
    };
    add_identity(call, entry_id, entry.id.as_ref(), &entry.body);
    call.push(&entry.body[..entry.body.len().min(REJECTED_BODY_BYTES)]);
    call.push(Fault::new(ErrorCode::InvalidJob, problems.to_string()).to_field());
    call.push("");
    call.push("");
    add_words(
        call,
        &[
            ("client-request-id", entry.id.as_ref().map_or("", JobId::as_str)),
            ("traceparent", entry.fields.traceparent.as_deref().unwrap_or_default()),
            ("meta", entry.fields.meta.as_deref().unwrap_or_default()),
        ],
    );
}

/// Adds those of the fields that have a value, and before them how many words they are.
fn add_words(call: &mut Call, fields: &[(&str, &str)]) {
    let given = || fields.iter().filter(|(_, value)| !value.is_empty());
    call.push(2 * given().count());
    for (name, value) in given() {
        call.push(*name);
        call.push(*value);
    }
}

fn add_identity(call: &mut Call, entry_id: &str, id: Option<&JobId>, body: &[u8]) {
    call.push(entry_id);
    call.push(id.map_or("", JobId::as_str));
    call.push(body_sha1(body));
}

/// How much of a rejected body is kept (lua/admit.lua cuts what conflicts to the same length).
const REJECTED_BODY_BYTES: usize = 4096;

/// What a call brought: when it happened, and what became of each entry, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The server's time.
    pub at: Millis,
    /// One for each entry.
    pub admissions: Vec<Admission>,
}

/// Reads the reply of `lua/admit.lua`.
fn read(reply: Vec<Value>) -> Result<Admitted, QueueError> {
    let mut values = Values::new(reply);
    let at = Millis(values.take()?);
    let mut admissions = Vec::with_capacity(values.len());
    while values.len() > 0 {
        admissions.push(Admission::from_code(&values.take::<String>()?)?);
    }
    Ok(Admitted { at, admissions })
}
