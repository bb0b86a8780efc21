//! Names and numbers that must not be mixed up: job ids, queue names, claims and times.
//!
//! Every constructor refuses what the contract refuses, with one sentence that says why.

use std::fmt;

/// The longest queue name, in bytes (docs/contract.md, section 2).
const QUEUE_NAME_MAX_BYTES: usize = 64;

/// A client-request-id: the identity of a job, 1 to 128 visible ASCII characters, not `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(String);

impl JobId {
    /// The longest, in bytes (docs/contract.md, section 3).
    pub const MAX_BYTES: usize = 128;

    /// Takes an id as a producer wrote it.
    ///
    /// # Errors
    /// One sentence that says what is wrong with it.
    pub fn new(id: impl Into<String>) -> Result<Self, &'static str> {
        let id = id.into();
        if id.is_empty() || id.len() > Self::MAX_BYTES {
            return Err("must be 1 to 128 characters long");
        }
        if !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must consist of visible ASCII characters without spaces");
        }
        if id == "." || id == ".." {
            return Err("must not be \".\" or \"..\"");
        }
        Ok(Self(id))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A queue's name: 1 to 64 characters of `[A-Za-z0-9._-]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueName(String);

impl QueueName {
    /// Takes a name as it was configured.
    ///
    /// # Errors
    /// One sentence that says what is wrong with it.
    pub fn new(name: impl Into<String>) -> Result<Self, &'static str> {
        let name = name.into();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > QUEUE_NAME_MAX_BYTES || !name.bytes().all(fits) {
            return Err("must be 1 to 64 characters of A-Z, a-z, 0-9, \".\", \"_\" and \"-\"");
        }
        Ok(Self(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A claim number: raised each time a worker takes a job, so that a late answer under an old
/// claim is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim(pub u64);

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A moment by the Redis server's clock, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

impl Millis {
    /// Milliseconds from `earlier` to this moment; zero if it lies before.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// When a stream entry was added: the server puts its time into the entry's id. `None` when
    /// this is no id.
    #[must_use]
    pub fn of_entry(entry_id: &str) -> Option<Self> {
        entry_id.split('-').next()?.parse().ok().map(Self)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_id_is_visible_ascii_of_limited_length() {
        let longest = "x".repeat(JobId::MAX_BYTES);
        for good in ["a", "order/7?x=1&y#z", "..a", "...", longest.as_str()] {
            assert_eq!(JobId::new(good).unwrap().as_str(), good);
        }
        let too_long = "x".repeat(JobId::MAX_BYTES + 1);
        for bad in ["", ".", "..", "a b", "a\n", "é", "\u{7f}", too_long.as_str()] {
            assert!(JobId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_queue_name_cannot_break_out_of_its_keys() {
        for good in ["video", "A.b_c-9"] {
            assert!(QueueName::new(good).is_ok());
        }
        let too_long = "x".repeat(QUEUE_NAME_MAX_BYTES + 1);
        for bad in ["", "a:b", "{a}", "a b", "ä", too_long.as_str()] {
            assert!(QueueName::new(bad).is_err(), "{bad:?}");
        }
    }
}
