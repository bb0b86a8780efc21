//! What can go wrong with the queue, by what the caller can do about it.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// An error of the queue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The settings cannot work: correct them.
    #[error("{0}")]
    Misconfigured(String),
    /// Redis cannot be reached or cannot answer now: try again later.
    #[error("Redis is not available: {0}")]
    Unavailable(RedisError),
    /// Redis wants another user or password: correct them, or Redis.
    #[error("Redis refused the login: check redis.username and redis.password ({0})")]
    LoginRefused(RedisError),
    /// Redis refused the call for good: its text says what to change (an ACL, memory, a type).
    #[error("Redis refused the call: {0}")]
    Refused(RedisError),
    /// Redis holds something that this version did not write.
    #[error("unexpected content in Redis: {0}")]
    Unexpected(String),
}

impl QueueError {
    /// A connection that was lost without a word from Redis.
    pub(crate) fn io(kind: std::io::ErrorKind) -> Self {
        Self::Unavailable(std::io::Error::from(kind).into())
    }

    /// Whether the user has no right to do what was asked.
    #[must_use]
    pub fn is_missing_right(&self) -> bool {
        matches!(self, Self::Refused(error) if is_missing_right(error))
    }

    /// Whether Redis is full, so that it did not even begin.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Refused(error) if error.code() == Some("OOM"))
    }

    /// Whether it may be the fault of one job among several, by what somebody has written in its
    /// place: then the others can be dealt with one by one.
    #[must_use]
    pub fn is_of_content(&self) -> bool {
        match self {
            Self::Refused(error) => {
                matches!(error.code(), Some("WRONGTYPE" | "ERR")) && !is_missing_right(error)
            }
            Self::Unexpected(_) => true,
            Self::Misconfigured(_) | Self::Unavailable(_) | Self::LoginRefused(_) => false,
        }
    }

    /// A short word for a metric's label.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Misconfigured(_) => "misconfigured",
            Self::Unavailable(_) => "unavailable",
            Self::LoginRefused(_) => "login",
            Self::Refused(_) => "refused",
            Self::Unexpected(_) => "unexpected",
        }
    }
}

/// Of a command inside a script, Redis says so in one way and Valkey in another.
pub(super) fn is_missing_right(error: &RedisError) -> bool {
    let said = error.to_string();
    let in_script = ["The user executing the script can't", "ACL failure in script"];
    error.code() == Some("NOPERM") || in_script.iter().any(|words| said.contains(words))
}

impl From<RedisError> for QueueError {
    fn from(error: RedisError) -> Self {
        if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() {
            return Self::Unavailable(error);
        }
        if error.kind() == ErrorKind::AuthenticationFailed
            || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
        {
            return Self::LoginRefused(error);
        }
        // Matching by the few kinds that pass by themselves; whatever else Redis says is final.
        if matches!(
            error.kind(),
            ErrorKind::ClusterConnectionNotFound
                | ErrorKind::Server(
                    ServerErrorKind::BusyLoading
                        | ServerErrorKind::TryAgain
                        | ServerErrorKind::ClusterDown
                        | ServerErrorKind::MasterDown
                        | ServerErrorKind::ReadOnly
                        | ServerErrorKind::NoScript
                )
        ) {
            return Self::Unavailable(error);
        }
        if error.kind() == ErrorKind::UnexpectedReturnType || error.kind() == ErrorKind::Parse {
            return Self::Unexpected(error.to_string());
        }
        Self::Refused(error)
    }
}
