//! What one call to the remote API came to, in the words of the life cycle.
//!
//! `whilter` produces outcomes from answers; `worker` turns (state, outcome) into a transition.

use std::time::Duration;

use super::{ErrorCode, Fault};

/// What a submit (`POST`) came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitOutcome {
    /// The API accepted the request under this id.
    Accepted {
        /// The API's own id, by which the video is followed.
        whilter_request_id: String,
    },
    /// An error of the API, which surely bought nothing: wait and send it again.
    RetryLater {
        /// What happened, in words.
        detail: String,
        /// Whether it counts toward `submit.max_attempts`.
        spends_attempt: bool,
        /// The wait that the API asked for.
        retry_after: Option<Duration>,
    },
    /// The API wants to be called less (429).
    Limited {
        /// What happened, in words.
        detail: String,
        /// The wait that the API asked for; zero when it did not say.
        retry_after: Duration,
    },
    /// There was no connection, or no token to be had: surely not sent.
    NotSent {
        /// What happened, in words.
        detail: String,
    },
    /// Surely not accepted, for reasons of our own that say nothing of the API or the job.
    NotTried {
        /// What happened, in words.
        detail: String,
    },
    /// Likewise, and another worker may send it at once: this one stops.
    HandedBack {
        /// What happened, in words.
        detail: String,
    },
    /// The API refuses the call: the job's fault or ours.
    Refused {
        /// What happened, in words.
        detail: String,
        /// Who was refused.
        refusal: Refusal,
    },
    /// The API will never accept this request.
    Rejected(Fault),
    /// It conflicts with something (409), and the answer names no id. If an earlier POST of the same
    /// job was begun, that is most likely what the API has.
    Conflicts(Fault),
    /// Likewise, and yet the answer names an id. After a POST of the same job whose fate is
    /// unknown, it is the id of that one (docs/contract.md, section 7).
    RejectedWithId {
        /// Why this POST was rejected.
        fault: Fault,
        /// The API's own id of what it has.
        whilter_request_id: String,
    },
    /// The request was sent and its fate is unknown: it may be billed.
    Unknown {
        /// What happened, in words.
        detail: String,
        /// How long ago the request began to be sent.
        sent_ago: Duration,
        /// Whether something in front of the API answered (502, 504 and the like).
        by_gateway: bool,
    },
    /// The API answered something that is not understood: it may be billed.
    NotUnderstood {
        /// What happened, in words.
        detail: String,
        /// How long ago the request began to be sent.
        sent_ago: Duration,
    },
}

/// Who was refused when the API refused a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// We, by the token call: all calls will be.
    Credentials,
    /// A fresh token (401 twice).
    Token,
    /// This call (403, a redirect, a page of something in front of the API).
    Call,
}

/// What an outcome tells of the API as a whole (docs/contract.md, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiSignal {
    /// It works, and lets us in.
    Alive,
    /// It lets us in, and has nothing good to say of this job.
    Answered,
    /// It refuses.
    Refused(Refusal),
    /// There is no way to it. That may be this process's own fault.
    Unreachable,
    /// It was sent something and did not answer. That may be this process's own fault.
    Silent,
    /// It does not work, and surely bought nothing: 500 and the like.
    Failing {
        /// Whether it says when to come again (503 with `Retry-After`).
        wants_to_wait: bool,
    },
    /// Something in front of it does not get an answer (502, 504): it may have bought.
    Gateway,
    /// It wants to be called less, and not before this time is over.
    Limited(Duration),
    /// It answers, but not as it is documented.
    Strange,
    /// Nothing.
    Nothing,
}

impl ApiSignal {
    /// Whether the call did not get as far as its job: no connection, no token, credentials that are
    /// refused. While others are well, that is most likely this process's own fault.
    #[must_use]
    pub fn is_callers(self) -> bool {
        let lets_in_nobody = matches!(self, Self::Refused(Refusal::Credentials | Refusal::Token));
        lets_in_nobody || self == Self::Unreachable
    }
}

/// What is asked of an outcome, whichever stage it is of.
pub trait Outcome {
    /// What it tells of the API as a whole.
    fn signal(&self) -> ApiSignal;

    /// What went wrong with the call, in words; `None`: the API said what it thinks of the job.
    fn fault(&self) -> Option<&str>;
}

impl Outcome for SubmitOutcome {
    fn signal(&self) -> ApiSignal {
        match self {
            Self::NotTried { .. } | Self::HandedBack { .. } => ApiSignal::Nothing,
            Self::Rejected(fault) if fault.code == ErrorCode::InvalidJob => ApiSignal::Nothing,
            Self::Accepted { .. }
            | Self::Rejected(_)
            | Self::Conflicts(_)
            | Self::RejectedWithId { .. } => ApiSignal::Alive,
            Self::RetryLater { retry_after, .. } => {
                ApiSignal::Failing { wants_to_wait: retry_after.is_some() }
            }
            Self::Limited { retry_after, .. } => ApiSignal::Limited(*retry_after),
            Self::NotSent { .. } => ApiSignal::Unreachable,
            Self::Unknown { by_gateway: true, .. } => ApiSignal::Gateway,
            Self::Unknown { by_gateway: false, .. } => ApiSignal::Silent,
            Self::Refused { refusal, .. } => ApiSignal::Refused(*refusal),
            Self::NotUnderstood { .. } => ApiSignal::Strange,
        }
    }

    fn fault(&self) -> Option<&str> {
        match self {
            Self::RetryLater { detail, .. }
            | Self::Limited { detail, .. }
            | Self::NotSent { detail }
            | Self::NotTried { detail }
            | Self::HandedBack { detail }
            | Self::Refused { detail, .. }
            | Self::Unknown { detail, .. }
            | Self::NotUnderstood { detail, .. } => Some(detail),
            Self::Accepted { .. }
            | Self::Rejected(_)
            | Self::Conflicts(_)
            | Self::RejectedWithId { .. } => None,
        }
    }
}

/// What a status check (`GET`) came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusOutcome {
    /// The video is ready.
    Ready {
        /// Where the video is.
        video_url: Option<String>,
        /// Where its image is.
        image_url: Option<String>,
    },
    /// An understood answer without a URL.
    NotYet,
    /// An error of the API, or of something in front of it: check again, backed off.
    RetryLater {
        /// What happened, in words.
        detail: String,
        /// The wait that the API asked for.
        retry_after: Option<Duration>,
    },
    /// The API wants to be called less (429).
    Limited {
        /// What happened, in words.
        detail: String,
        /// The wait that the API asked for; zero when it did not say.
        retry_after: Duration,
    },
    /// There was no connection, or no token to be had.
    NotSent {
        /// What happened, in words.
        detail: String,
    },
    /// No answer came.
    Unanswered {
        /// What happened, in words.
        detail: String,
    },
    /// For reasons of our own that say nothing of the API or the job: check again, backed off.
    NotTried {
        /// What happened, in words.
        detail: String,
    },
    /// The worker stops: another one may check at once.
    HandedBack {
        /// What happened, in words.
        detail: String,
    },
    /// An answer that is not understood: check again, backed off.
    NotUnderstood {
        /// What happened, in words.
        detail: String,
    },
    /// The API refuses the call.
    Refused {
        /// What happened, in words.
        detail: String,
        /// Who was refused.
        refusal: Refusal,
    },
    /// The API does not know the transaction (404, 410).
    NotFound {
        /// What happened, in words.
        detail: String,
    },
    /// The API finds fault with the check itself (400, 413, 422).
    BadRequest {
        /// What happened, in words.
        detail: String,
    },
    /// The API reports that the generation failed; it counts when the next check says so too.
    Failed(Fault),
}

impl Outcome for StatusOutcome {
    /// What is not understood costs nothing here, and closes nothing.
    fn signal(&self) -> ApiSignal {
        match self {
            Self::Ready { .. } | Self::NotYet | Self::Failed(_) => ApiSignal::Alive,
            Self::NotFound { .. } | Self::BadRequest { .. } => ApiSignal::Answered,
            Self::RetryLater { retry_after, .. } => {
                ApiSignal::Failing { wants_to_wait: retry_after.is_some() }
            }
            Self::Limited { retry_after, .. } => ApiSignal::Limited(*retry_after),
            Self::NotSent { .. } => ApiSignal::Unreachable,
            Self::Unanswered { .. } => ApiSignal::Silent,
            Self::NotTried { .. } | Self::HandedBack { .. } | Self::NotUnderstood { .. } => {
                ApiSignal::Nothing
            }
            Self::Refused { refusal, .. } => ApiSignal::Refused(*refusal),
        }
    }

    fn fault(&self) -> Option<&str> {
        match self {
            Self::RetryLater { detail, .. }
            | Self::Limited { detail, .. }
            | Self::NotSent { detail }
            | Self::Unanswered { detail }
            | Self::NotTried { detail }
            | Self::HandedBack { detail }
            | Self::NotUnderstood { detail }
            | Self::Refused { detail, .. }
            | Self::NotFound { detail }
            | Self::BadRequest { detail } => Some(detail),
            Self::Ready { .. } | Self::NotYet | Self::Failed(_) => None,
        }
    }
}
