//! The two stages of a job's life, and what there is once for each of them.

use std::fmt;

/// A stage of a job's life: calls to the remote API, of which each stage makes one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The job is sent.
    Submit,
    /// Its video is asked for.
    Poll,
}

impl Stage {
    /// Both, in the order of a job's life.
    pub const ALL: [Self; 2] = [Self::Submit, Self::Poll];

    /// Its name: of its place in Redis, on the wake channel, in settings, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Poll => "poll",
        }
    }

    /// The stage of this name; `None`: there is none.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == name)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One value for each stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PerStage<T> {
    /// That of the submit stage.
    pub submit: T,
    /// That of the poll stage.
    pub poll: T,
}

impl<T> PerStage<T> {
    /// The value of one stage.
    pub fn of(&self, stage: Stage) -> &T {
        match stage {
            Stage::Submit => &self.submit,
            Stage::Poll => &self.poll,
        }
    }

    /// The value of one stage, to be changed.
    pub fn of_mut(&mut self, stage: Stage) -> &mut T {
        match stage {
            Stage::Submit => &mut self.submit,
            Stage::Poll => &mut self.poll,
        }
    }

    /// Each stage with its value.
    pub fn iter(&self) -> impl Iterator<Item = (Stage, &T)> {
        Stage::ALL.into_iter().map(|stage| (stage, self.of(stage)))
    }
}
