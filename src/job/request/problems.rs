//! The faults of a request: listed for whoever wrote it, bounded whatever was written.

use std::fmt;

/// The most faults that are listed one by one; the rest is counted.
const MAX_LISTED: usize = 20;
/// The most characters of a field's name that are shown.
const MAX_NAME_CHARS: usize = 60;

/// One fault of a request: the field and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, as the producer wrote it; long names are cut, control characters escaped.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

/// Every fault of a request: the first 20 one by one, the rest as a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    listed: Vec<Problem>,
    unlisted: usize,
}

impl Problems {
    /// The faults that are listed, in the order they were found.
    #[must_use]
    pub fn listed(&self) -> &[Problem] {
        &self.listed
    }

    /// How many more there are.
    #[must_use]
    pub fn unlisted(&self) -> usize {
        self.unlisted
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Adds a fault. The texts are only made while there is room for them, so a body that is
    /// nothing but faults costs little.
    pub(super) fn add(&mut self, field: impl fmt::Display, problem: impl fmt::Display) {
        if self.listed.len() == MAX_LISTED {
            self.unlisted += 1;
            return;
        }
        let problem = problem.to_string();
        self.listed.push(Problem {
            field: shown(&field.to_string()),
            problem,
        });
    }

    /// Adds the faults that another reader found.
    pub(super) fn append(&mut self, mut others: Self) {
        self.listed.append(&mut others.listed);
        self.unlisted += self.listed.len().saturating_sub(MAX_LISTED) + others.unlisted;
        self.listed.truncate(MAX_LISTED);
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.listed.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        match self.unlisted {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for Problems {}

/// A name that anybody may have written, made fit for a terminal, a log and a page.
fn shown(name: &str) -> String {
    if name.is_empty() {
        return "\"\"".to_owned();
    }
    let mut shown: String = name
        .chars()
        .take(MAX_NAME_CHARS)
        .flat_map(char::escape_debug)
        .collect();
    if name.chars().nth(MAX_NAME_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
