//! The error codes a record and a result may carry (docs/contract.md, section 5).

use std::fmt;

/// Why a job ended without a video, or an entry was no job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// The API found fault with the request (400, 413, 422 and the like).
    BadRequest,
    /// The API answered a submit with a failure word.
    ApiRejected,
    /// The API refused this job while it accepted others.
    ApiRefused,
    /// The API reported that the generation failed.
    GenerationFailed,
    /// The API found fault with the status request, again and again.
    StatusRefused,
    /// The API does not know the transaction it once accepted.
    UnknownTransaction,
    /// The job could not be submitted in time.
    SubmitDeadline,
    /// A POST was sent and its fate never became known.
    SubmitUnconfirmed,
    /// The video was not ready in time.
    PollDeadline,
    /// Too many submits ended in a fault that counts.
    TooManyAttempts,
    /// Submitting this job ended the worker process again and again.
    CrashLoop,
    /// The entry was no valid request.
    InvalidJob,
    /// An operator cancelled the job.
    CancelledByOperator,
}

impl ErrorCode {
    /// Every code, in the order of the contract.
    pub const ALL: [Self; 13] = [
        Self::BadRequest,
        Self::ApiRejected,
        Self::ApiRefused,
        Self::GenerationFailed,
        Self::StatusRefused,
        Self::UnknownTransaction,
        Self::SubmitDeadline,
        Self::SubmitUnconfirmed,
        Self::PollDeadline,
        Self::TooManyAttempts,
        Self::CrashLoop,
        Self::InvalidJob,
        Self::CancelledByOperator,
    ];

    /// The code as it stands before the `: ` of an `error` field.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::ApiRejected => "api-rejected",
            Self::ApiRefused => "api-refused",
            Self::GenerationFailed => "generation-failed",
            Self::StatusRefused => "status-refused",
            Self::UnknownTransaction => "unknown-transaction",
            Self::SubmitDeadline => "submit-deadline",
            Self::SubmitUnconfirmed => "submit-unconfirmed",
            Self::PollDeadline => "poll-deadline",
            Self::TooManyAttempts => "too-many-attempts",
            Self::CrashLoop => "crash-loop",
            Self::InvalidJob => "invalid-job",
            Self::CancelledByOperator => "cancelled-by-operator",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A code with its detail: what an `error` field says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind of fault.
    pub code: ErrorCode,
    /// What happened, in words; already cut and stripped of control characters.
    pub detail: String,
}

impl Fault {
    /// The longest `error` field, in bytes.
    const MAX_BYTES: usize = 500;

    /// A fault with its detail.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// The text of an `error` field: `code: detail`, at most 500 bytes, cut between characters.
    #[must_use]
    pub fn to_field(&self) -> String {
        let mut text = format!("{}: {}", self.code, self.detail);
        text.truncate(text.floor_char_boundary(Self::MAX_BYTES));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_field_is_cut_between_characters() {
        let field = Fault::new(ErrorCode::BadRequest, "ä".repeat(400)).to_field();
        assert!(field.len() <= Fault::MAX_BYTES && field.len() > Fault::MAX_BYTES - 2);
        assert!(field.starts_with("bad-request: ä") && field.ends_with('ä'));
    }
}
