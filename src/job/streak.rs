//! A run of bad answers to one job's status checks, as its record keeps it.
//!
//! Some answers end a job only when they come again and again (docs/contract.md, section 7). The
//! run is kept in the record's `streak` as `<kind> <count> <age of the job at its begin, ms>`, and
//! the age since which no answer at all was understood, if that is another. An understood answer
//! removes it, a fault of the connection leaves it alone or begins one.

use std::fmt;
use std::time::Duration;

/// This many 4xx answers in a row end a job.
const STATUS_REFUSED_AFTER: u32 = 5;
/// At least this many 404 or 410 answers in a row end a job.
const UNKNOWN_AFTER: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    NotFound,
    BadRequest,
    Unanswered,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streak {
    kind: Kind,
    count: u32,
    began: Duration,
    not_understood_since: Duration,
}

impl Streak {
    /// Reads a record's field; `None` for anything that is no streak.
    #[must_use]
    pub fn parse(field: &str) -> Option<Self> {
        let mut words = field.split(' ');
        let kind = match words.next()? {
            "not-found" => Kind::NotFound,
            "bad-request" => Kind::BadRequest,
            "unanswered" => Kind::Unanswered,
            _ => return None,
        };
        let count = words.next()?.parse().ok()?;
        let age = |word: &str| word.parse().ok().map(Duration::from_millis);
        let began = age(words.next()?)?;
        let not_understood_since = words.next().and_then(age).unwrap_or(began);
        Some(Self { kind, count, began, not_understood_since })
    }

    /// One more 404 or 410, at this age of the job since its acceptance.
    #[must_use]
    pub fn not_found(so_far: Option<Self>, age: Duration) -> Self {
        Self::more(so_far, Kind::NotFound, age)
    }

    /// One more 4xx of another kind.
    #[must_use]
    pub fn bad_request(so_far: Option<Self>, age: Duration) -> Self {
        Self::more(so_far, Kind::BadRequest, age)
    }

    /// A check that came to nothing that says anything of the job.
    #[must_use]
    pub fn unanswered(so_far: Option<Self>, age: Duration) -> Self {
        so_far.unwrap_or_else(|| Self::more(None, Kind::Unanswered, age))
    }

    /// For how long, at this age of the job, no answer to its checks has been understood.
    #[must_use]
    pub fn lasts(&self, age: Duration) -> Duration {
        age.saturating_sub(self.not_understood_since)
    }

    fn more(so_far: Option<Self>, kind: Kind, age: Duration) -> Self {
        match so_far {
            Some(streak) if streak.kind == kind => {
                Self { count: streak.count.saturating_add(1), ..streak }
            }
            other => {
                let not_understood_since = other.map_or(age, |it| it.not_understood_since);
                Self { kind, count: 1, began: age, not_understood_since }
            }
        }
    }

    /// Whether the API, at this age of the job, has not known it often and long enough.
    #[must_use]
    pub fn is_unknown_transaction(&self, age: Duration, grace: Duration) -> bool {
        self.kind == Kind::NotFound
            && self.count >= UNKNOWN_AFTER
            && age.saturating_sub(self.began) >= grace
    }

    /// Whether the API has found fault with the checks often enough.
    #[must_use]
    pub fn is_status_refused(&self) -> bool {
        self.kind == Kind::BadRequest && self.count >= STATUS_REFUSED_AFTER
    }
}

impl fmt::Display for Streak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::NotFound => "not-found",
            Kind::BadRequest => "bad-request",
            Kind::Unanswered => "unanswered",
        };
        write!(f, "{kind} {} {}", self.count, self.began.as_millis())?;
        if self.not_understood_since == self.began {
            return Ok(());
        }
        write!(f, " {}", self.not_understood_since.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn three_not_found_over_the_grace_make_a_transaction_unknown() {
        let one = Streak::not_found(None, SECOND);
        let two = Streak::not_found(Some(one), 30 * SECOND);
        assert!(!two.is_unknown_transaction(90 * SECOND, 60 * SECOND), "only two");
        let three = Streak::not_found(Some(two), 50 * SECOND);
        assert!(!three.is_unknown_transaction(50 * SECOND, 60 * SECOND), "too soon");
        assert!(three.is_unknown_transaction(61 * SECOND, 60 * SECOND));
        assert!(!three.is_status_refused());
    }

    #[test]
    fn another_kind_of_answer_begins_a_new_run() {
        let mut streak = None;
        for _ in 0..4 {
            streak = Some(Streak::bad_request(streak, SECOND));
        }
        assert!(!streak.unwrap().is_status_refused());
        assert!(Streak::bad_request(streak, SECOND).is_status_refused());
        let broken = Streak::not_found(streak, SECOND);
        assert_eq!(Streak::bad_request(Some(broken), SECOND).to_string(), "bad-request 1 1000");
    }

    #[test]
    fn how_long_nothing_was_understood_outlasts_a_change_of_kind() {
        let silent = Streak::unanswered(None, SECOND);
        assert_eq!(Streak::unanswered(Some(silent), 9 * SECOND), silent);
        let unknown = Streak::not_found(Some(silent), 5 * SECOND);
        assert_eq!(unknown.to_string(), "not-found 1 5000 1000");
        assert_eq!(Streak::unanswered(Some(unknown), 9 * SECOND), unknown, "left alone");
        let refused = Streak::bad_request(Some(unknown), 9 * SECOND);
        assert_eq!(refused.lasts(10 * SECOND), 9 * SECOND);
    }

    #[test]
    fn the_field_is_read_as_it_was_written() {
        let streak = Streak::not_found(Some(Streak::not_found(None, SECOND)), SECOND);
        let changed = Streak::bad_request(Some(streak), 2 * SECOND);
        for streak in [streak, changed, Streak::unanswered(None, SECOND)] {
            assert_eq!(Streak::parse(&streak.to_string()), Some(streak));
        }
        for bad in ["", "not-found", "not-found x 1", "other 1 1", "not-found 1"] {
            assert_eq!(Streak::parse(bad), None, "{bad:?}");
        }
    }
}
