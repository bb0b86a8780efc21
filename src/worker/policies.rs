//! The settings as the policies by which calls are repeated.

use super::stages::poll::PollPolicy;
use super::stages::submit::SubmitPolicy;
use crate::config::Settings;
use crate::job::backoff::Backoff;

/// When a submit is repeated, how often, and when the first check follows.
pub(super) fn submit_policy(settings: &Settings) -> SubmitPolicy {
    SubmitPolicy {
        backoff: submits(settings),
        max_attempts: settings.submit.max_attempts,
        first_check: checks(settings),
    }
}

/// When a check is repeated, and when it is not.
pub(super) fn poll_policy(settings: &Settings) -> PollPolicy {
    PollPolicy {
        backoff: checks(settings),
        deadline: settings.poll.deadline,
        abandon_after: settings.poll.abandon_after,
        not_found_grace: settings.poll.not_found_grace,
    }
}

/// The waits before submits; a stage's first probe waits as the first of them, no probe longer than
/// the longest.
pub(super) fn submits(settings: &Settings) -> Backoff {
    let submit = &settings.submit;
    Backoff {
        initial: submit.backoff_initial,
        multiplier: submit.backoff_multiplier,
        max: submit.backoff_max,
        jitter: submit.jitter,
    }
}

/// The waits before checks, and likewise before probes of that stage.
pub(super) fn checks(settings: &Settings) -> Backoff {
    let poll = &settings.poll;
    Backoff { initial: poll.first, multiplier: poll.multiplier, max: poll.max, jitter: poll.jitter }
}
