//! The settings as the rules that the roles work by.

use super::stages::poll::PollPolicy;
use super::stages::submit::SubmitPolicy;
use crate::config::{OnUnconfirmed, Settings};
use crate::job::backoff::Backoff;
use crate::queue::{LongestWaits, Retention, SubmitRules, TrimAges};

/// How unanswered POSTs and overdue submits are judged.
pub(super) fn submit_rules(settings: &Settings) -> SubmitRules {
    let submit = &settings.submit;
    SubmitRules {
        max_age: submit.max_age,
        grace: submit.unconfirmed_grace,
        max_resends: match submit.on_unconfirmed {
            OnUnconfirmed::Resubmit => submit.max_unconfirmed,
            OnUnconfirmed::Hold => 0,
        },
    }
}

/// How long records are kept.
pub(crate) fn retention(settings: &Settings) -> Retention {
    Retention {
        completed: settings.queue.completed_retention,
        failed: settings.queue.failed_retention,
    }
}

/// When results and dead entries are let go.
pub(super) fn trim_ages(settings: &Settings) -> TrimAges {
    TrimAges {
        acknowledged_results: settings.queue.results_retention,
        any_results: settings.queue.results_max_age,
        dead: settings.queue.failed_retention,
    }
}

/// How long anything waits at most.
pub(super) fn longest_waits(settings: &Settings) -> LongestWaits {
    LongestWaits {
        lease: settings.queue.lease,
        submit: settings.submit.backoff_max,
        unconfirmed: settings.submit.unconfirmed_grace,
        poll: settings.poll.max.max(settings.poll.first),
    }
}

/// When a submit is repeated.
pub(super) fn submit_policy(settings: &Settings) -> SubmitPolicy {
    let submit = &settings.submit;
    SubmitPolicy {
        backoff: Backoff {
            initial: submit.backoff_initial,
            multiplier: submit.backoff_multiplier,
            max: submit.backoff_max,
            jitter: submit.jitter,
        },
        max_attempts: submit.max_attempts,
        first_check: checks(settings),
    }
}

/// When a check is repeated.
pub(super) fn poll_policy(settings: &Settings) -> PollPolicy {
    PollPolicy {
        backoff: checks(settings),
        deadline: settings.poll.deadline,
        abandon_after: settings.poll.abandon_after,
        not_found_grace: settings.poll.not_found_grace,
    }
}

fn checks(settings: &Settings) -> Backoff {
    let poll = &settings.poll;
    Backoff { initial: poll.first, multiplier: poll.multiplier, max: poll.max, jitter: poll.jitter }
}
