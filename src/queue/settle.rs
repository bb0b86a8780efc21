//! Settlements: what a call to the remote API came to is written, and the job moved.
//!
//! Settlements that arrive together are written together: one call per script, all in one round
//! trip. Each may be repeated when its reply was lost (the scripts recognise a repetition).

use std::time::Duration;

use redis::{Pipeline, Value};

use super::error::QueueError;
use super::handle::RuledQueue;
use super::scripts::{Call, Name};
use super::wire::milliseconds;
use crate::job::{Claim, Fault, JobId};

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Its video is there.
    Completed {
        /// Where the video is.
        video_url: Option<String>,
        /// Where its image is.
        image_url: Option<String>,
    },
    /// It failed, for this reason.
    Failed(Fault),
    /// Its time was over before there was a video; the fault says which time.
    Expired(Fault),
}

/// What is to be recorded of a job in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// The API accepted it.
    Accept {
        /// The API's id.
        whilter_request_id: String,
        /// When to ask for the video.
        first_check_in: Duration,
    },
    /// It was surely not accepted: it waits for its next submit.
    Requeue {
        /// When to submit it again.
        delay: Duration,
        /// Whether that spends an attempt.
        spends_attempt: bool,
        /// What the history says of it.
        event: String,
        /// The error by which it ends when the API refused it again and again and accepted
        /// others meanwhile; `None`: it was not refused.
        refusal: Option<Fault>,
    },
    /// Its POST was sent and never answered.
    Unconfirm {
        /// What the history says of it.
        event: String,
        /// Whether it may not be sent again but waits for its deadline.
        hold: bool,
        /// How long ago the POST began.
        sent_ago: Duration,
    },
    /// Its video is not ready, or the check did not work.
    Repoll {
        /// When to check again.
        delay: Duration,
        /// The run of bad answers; empty after an understood one.
        streak: String,
        /// What the history says of it.
        event: String,
    },
    /// It ends.
    Finish {
        /// How.
        end: End,
        /// What led to it.
        source: Source,
    },
}

/// What led to a job's end, besides an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The answer to its POST.
    Submit,
    /// A status check.
    Poll,
    /// A push of the API, or the check that it asked for.
    Webhook,
}

impl Source {
    /// The word in the record; of a submit there is none.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "",
            Self::Poll => "poll",
            Self::Webhook => "webhook",
        }
    }
}

/// One job's move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Which job.
    pub id: JobId,
    /// Under which claim it was held.
    pub claim: Claim,
    /// What to record.
    pub to: Move,
}

/// What became of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It was recorded, now or by an earlier call.
    Done,
    /// The API had accepted the job before under another id: two videos may be billed.
    AlsoAccepted,
    /// It was accepted, and ended with the URL that the API had pushed before.
    Pushed,
    /// It ended: the API refused it again and again, and accepted others meanwhile.
    Refused,
    /// The job has since been given to somebody else; nothing was changed.
    Stale,
    /// The job had already ended; at most an id was recorded.
    Late,
    /// There is no record of it.
    Gone,
}

impl Settled {
    fn from_code(code: &str) -> Result<Self, QueueError> {
        Ok(match code {
            "polling" | "waiting" | "unconfirmed" | "ended" => Self::Done,
            "also" => Self::AlsoAccepted,
            "pushed" => Self::Pushed,
            "refused" => Self::Refused,
            "stale" => Self::Stale,
            "late" => Self::Late,
            "gone" => Self::Gone,
            other => {
                return Err(QueueError::Unexpected(format!("a script answered {other:?}")));
            }
        })
    }
}

impl RuledQueue {
    /// Records what came of jobs in the hands of this worker; the answers are in the same order.
    ///
    /// # Errors
    /// What the server answered; repeating the call is safe and right.
    pub async fn settle(
        &self,
        worker: &str,
        settlements: &[Settlement],
    ) -> Result<Vec<Settled>, QueueError> {
        let mut batch = self.batch(worker, settlements);
        let replies: Vec<Value> = self.connection.call_all(&mut batch.pipeline).await?;
        batch.read(replies)
    }

    /// Builds the calls for a batch, one per script that is needed.
    fn batch(&self, worker: &str, settlements: &[Settlement]) -> Batch {
        let mut calls: Vec<(Name, Call, Vec<usize>)> = Vec::new();
        for (index, settlement) in settlements.iter().enumerate() {
            let name = script_of(&settlement.to);
            let at = calls.iter().position(|(known, ..)| *known == name).unwrap_or_else(|| {
                calls.push((name, self.begin_settling(name, worker), Vec::new()));
                calls.len() - 1
            });
            let (_, call, slots) = &mut calls[at];
            slots.push(index);
            add(call, settlement);
        }
        let mut pipeline = redis::pipe();
        let mut slots = Vec::with_capacity(calls.len());
        for (_, call, indexes) in calls {
            pipeline.add_command(call.into_command());
            slots.push(indexes);
        }
        Batch { pipeline, slots }
    }

    fn begin_settling(&self, name: Name, worker: &str) -> Call {
        let call = Call::new(name, &self.keys, self.now_ms);
        // An accepted id is true whoever brings it.
        if name == Name::Accept {
            return call.retention(&self.rules);
        }
        let call = call.arg(worker);
        if name == Name::Unconfirm {
            return call
                .arg(milliseconds(self.rules.unconfirmed_grace))
                .arg(self.rules.max_unconfirmed)
                .arg(milliseconds(self.rules.max_age));
        }
        if name == Name::Requeue {
            return call.retention(&self.rules).arg(milliseconds(self.rules.refused_grace));
        }
        if name == Name::Finish { call.retention(&self.rules) } else { call }
    }
}

/// The calls that write a batch of settlements, and which settlements each call holds.
struct Batch {
    pipeline: Pipeline,
    slots: Vec<Vec<usize>>,
}

impl Batch {
    /// Puts the replies back into the order of the settlements.
    fn read(&self, replies: Vec<Value>) -> Result<Vec<Settled>, QueueError> {
        let count = self.slots.iter().map(Vec::len).sum();
        let mut settled = vec![Settled::Gone; count];
        for (indexes, reply) in self.slots.iter().zip(replies) {
            let codes: Vec<String> = redis::from_redis_value(reply)
                .map_err(|error| QueueError::Unexpected(error.to_string()))?;
            if codes.len() != indexes.len() {
                return Err(QueueError::Unexpected("a reply of another length".to_owned()));
            }
            for (index, code) in indexes.iter().zip(&codes) {
                settled[*index] = Settled::from_code(code)?;
            }
        }
        Ok(settled)
    }
}

fn script_of(to: &Move) -> Name {
    match to {
        Move::Accept { .. } => Name::Accept,
        Move::Requeue { .. } => Name::Requeue,
        Move::Unconfirm { .. } => Name::Unconfirm,
        Move::Repoll { .. } => Name::Repoll,
        Move::Finish { .. } => Name::Finish,
    }
}

fn add(call: &mut Call, settlement: &Settlement) {
    call.push(settlement.id.as_str());
    match &settlement.to {
        Move::Accept { whilter_request_id, first_check_in } => {
            call.push(whilter_request_id);
            call.push(milliseconds(*first_check_in));
        }
        Move::Requeue { delay, spends_attempt, event, refusal } => {
            call.push(settlement.claim.0);
            call.push(milliseconds(*delay));
            call.push(u8::from(*spends_attempt));
            call.push(event);
            call.push(refusal.as_ref().map_or_else(String::new, Fault::to_field));
        }
        Move::Unconfirm { event, hold, sent_ago } => {
            call.push(settlement.claim.0);
            call.push(event);
            call.push(u8::from(*hold));
            call.push(milliseconds(*sent_ago));
        }
        Move::Repoll { delay, streak, event } => {
            call.push(settlement.claim.0);
            call.push(milliseconds(*delay));
            call.push(streak);
            call.push(event);
        }
        Move::Finish { end, source } => {
            call.push(settlement.claim.0);
            add_end(call, end);
            call.push(source.as_str());
        }
    }
}

fn add_end(call: &mut Call, end: &End) {
    let (status, error, video_url, image_url) = match end {
        End::Completed { video_url, image_url } => {
            ("completed", String::new(), video_url.as_deref(), image_url.as_deref())
        }
        End::Failed(fault) => ("failed", fault.to_field(), None, None),
        End::Expired(fault) => ("expired", fault.to_field(), None, None),
    };
    call.push(status);
    call.push(error);
    call.push(video_url.unwrap_or_default());
    call.push(image_url.unwrap_or_default());
}
