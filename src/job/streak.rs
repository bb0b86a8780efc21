//! A run of bad answers to one job's status checks, as its record keeps it.
//!
//! Some answers end a job only when they come again and again, and while the checks of others are
//! understood: else the fault is hardly the job's (docs/contract.md, section 7). The run is kept in
//! the record's `streak` as six words: the kind of answer, how many of it came in a row, how many of
//! these came after others were understood, and three times in ms: the age of the job at the run's
//! begin, the age at the last bad answer, and for how long nothing was understood while others were.
//! An understood answer removes it; a fault of the connection leaves the kind and its counts alone.

use std::fmt;
use std::time::Duration;

/// This many 400, 413 or 422 answers in a row end a job, at least.
const STATUS_REFUSED_AFTER: u32 = 5;
/// This many 404 or 410 answers in a row end a job, at least.
const UNKNOWN_AFTER: u32 = 3;
/// So many of them must have come after others were understood: one may have crossed with the repair
/// of a fault that all had.
const WHILE_OTHERS_ARE_WELL: u32 = 2;
/// This many answers with a failure word in a row end a job.
const FAILED_AFTER: u32 = 2;

/// What a bad answer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAnswer {
    /// The API does not know the transaction (404, 410).
    NotFound,
    /// It finds fault with the check (400, 413, 422).
    BadRequest,
    /// It says that the generation failed.
    Failed,
    /// Nothing that says anything of the job.
    Unanswered,
}

impl BadAnswer {
    const ALL: [Self; 4] = [Self::NotFound, Self::BadRequest, Self::Failed, Self::Unanswered];

    const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::BadRequest => "bad-request",
            Self::Failed => "failed",
            Self::Unanswered => "unanswered",
        }
    }
}

/// When a check of a job was answered, and how others fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedAt {
    /// The job's age since its acceptance.
    pub age: Duration,
    /// How long ago a check of another job was last understood; `None`: not lately.
    pub others_understood_ago: Option<Duration>,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streak {
    kind: BadAnswer,
    count: u32,
    while_others_well: u32,
    began: Duration,
    last: Duration,
    silent: Duration,
}

impl Streak {
    /// Reads a record's field; `None` for anything that is no streak.
    #[must_use]
    pub fn parse(field: &str) -> Option<Self> {
        let mut words = field.split(' ');
        let kind = words.next()?;
        let kind = BadAnswer::ALL.into_iter().find(|it| it.as_str() == kind)?;
        let numbers: Option<Vec<u64>> = words.map(|word| word.parse().ok()).collect();
        let [count, while_others_well, began, last, silent] = numbers?.try_into().ok()?;
        let [count, while_others_well] =
            [count, while_others_well].map(|it| u32::try_from(it).unwrap_or(u32::MAX));
        let [began, last, silent] = [began, last, silent].map(Duration::from_millis);
        Some(Self { kind, count, while_others_well, began, last, silent })
    }

    /// One more bad answer.
    #[must_use]
    pub fn more(so_far: Option<Self>, answer: BadAnswer, at: CheckedAt) -> Self {
        let CheckedAt { age, others_understood_ago } = at;
        let Some(before) = so_far else {
            let (count, while_others_well, silent) = (1, 0, Duration::ZERO);
            return Self { kind: answer, count, while_others_well, began: age, last: age, silent };
        };
        let since_last = age.saturating_sub(before.last);
        let others_are_well = others_understood_ago.is_some_and(|ago| ago < since_last);
        let silent = before.silent + if others_are_well { since_last } else { Duration::ZERO };
        let more = Self { last: age, silent, ..before };
        if answer == BadAnswer::Unanswered {
            return more;
        }
        if answer != before.kind {
            return Self { kind: answer, count: 1, while_others_well: 0, began: age, ..more };
        }
        let while_others_well = more.while_others_well.saturating_add(u32::from(others_are_well));
        Self { count: more.count.saturating_add(1), while_others_well, ..more }
    }

    /// For how long nothing was understood of this job while others were.
    #[must_use]
    pub fn silent(&self) -> Duration {
        self.silent
    }

    /// Whether bad answers of this kind came often enough, over at least `grace`, to end the job.
    #[must_use]
    pub fn ends_the_job(&self, grace: Duration) -> bool {
        let often_enough = |least| {
            self.count >= least
                && self.while_others_well >= WHILE_OTHERS_ARE_WELL
                && self.last.saturating_sub(self.began) >= grace
        };
        match self.kind {
            BadAnswer::NotFound => often_enough(UNKNOWN_AFTER),
            BadAnswer::BadRequest => often_enough(STATUS_REFUSED_AFTER),
            BadAnswer::Failed => self.count >= FAILED_AFTER,
            BadAnswer::Unanswered => false,
        }
    }
}

impl fmt::Display for Streak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, count, while_others_well, began, last, silent } = self;
        let [began, last, silent] = [began, last, silent].map(Duration::as_millis);
        write!(f, "{} {count} {while_others_well} {began} {last} {silent}", kind.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const GRACE: Duration = Duration::from_secs(60);

    /// A run of one kind, each at an age in seconds, and whether others were understood just before.
    fn run(answers: &[(BadAnswer, u32, bool)]) -> Streak {
        let mut streak = None;
        for (answer, age, others_are_well) in answers {
            let others_understood_ago = others_are_well.then_some(SECOND / 10);
            let at = CheckedAt { age: *age * SECOND, others_understood_ago };
            streak = Some(Streak::more(streak, *answer, at));
        }
        streak.unwrap()
    }

    #[test]
    fn not_found_ends_a_job_after_three_over_the_grace_while_others_are_well() {
        let not_found = |ages: &[(u32, bool)]| {
            let answers: Vec<_> =
                ages.iter().map(|(age, well)| (BadAnswer::NotFound, *age, *well)).collect();
            run(&answers).ends_the_job(GRACE)
        };
        assert!(not_found(&[(1, true), (30, true), (61, true)]));
        assert!(!not_found(&[(1, true), (30, true), (60, true)]), "not over the grace");
        assert!(!not_found(&[(1, true), (61, true)]), "only two");
        assert!(!not_found(&[(1, false), (30, false), (99, false), (200, true)]), "all had it");
        assert!(not_found(&[(1, false), (30, false), (99, true), (200, false), (300, true)]));
    }

    #[test]
    fn a_check_that_the_api_refuses_ends_a_job_after_five() {
        let bad_request = |age| (BadAnswer::BadRequest, age, true);
        let four = [1, 30, 60, 90].map(bad_request);
        assert!(!run(&four).ends_the_job(GRACE));
        assert!(run(&[1, 30, 60, 90, 91].map(bad_request)).ends_the_job(GRACE));
        assert!(!run(&[1, 2, 3, 4, 5].map(bad_request)).ends_the_job(GRACE), "of the moment");
    }

    #[test]
    fn a_failure_word_counts_when_a_second_check_says_so_too() {
        let failed = |age| (BadAnswer::Failed, age, false);
        assert!(!run(&[failed(1)]).ends_the_job(GRACE));
        assert!(run(&[1, 2].map(failed)).ends_the_job(GRACE));
        let between = [failed(1), (BadAnswer::NotFound, 2, true), failed(3)];
        assert!(!run(&between).ends_the_job(GRACE), "not in a row");
        assert!(run(&[failed(1), (BadAnswer::Unanswered, 2, true), failed(3)]).ends_the_job(GRACE));
    }

    #[test]
    fn time_without_an_understood_answer_counts_only_while_others_are_understood() {
        let kinds = [BadAnswer::NotFound, BadAnswer::Unanswered, BadAnswer::BadRequest];
        for kind in kinds {
            let answers = [(kind, 1, true), (BadAnswer::Unanswered, 11, true), (kind, 111, false)];
            assert_eq!(run(&answers).silent(), 10 * SECOND, "{kind:?}");
        }
        assert!(!run(&[(BadAnswer::Unanswered, 1, true); 9]).ends_the_job(Duration::ZERO));
    }

    #[test]
    fn the_field_is_read_as_it_was_written() {
        for kind in BadAnswer::ALL {
            let streak = run(&[(kind, 1, true), (kind, 5, true), (BadAnswer::Unanswered, 7, true)]);
            assert_eq!(Streak::parse(&streak.to_string()), Some(streak));
        }
        for bad in
            ["", "not-found", "not-found 1 2 3 4", "not-found 1 2 3 4 5 6", "other 1 1 1 1 1"]
        {
            assert_eq!(Streak::parse(bad), None, "{bad:?}");
        }
    }
}
