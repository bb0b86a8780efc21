//! The rules by which a queue's jobs are judged, each named as the setting that it comes from.
//!
//! They are given once, to [`Queue::with_rules`](super::Queue::with_rules); scripts get those that
//! they need with each call.

use std::time::Duration;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// `queue.lease`: how long a worker may hold a job.
    pub lease: Duration,
    /// `queue.completed_retention`: how long the records of completed jobs are kept.
    pub completed_retention: Duration,
    /// `queue.failed_retention`: how long the records of jobs that ended otherwise are kept, and
    /// the entries of the dead list.
    pub failed_retention: Duration,
    /// `queue.results_retention`: how long results are kept that every group has acknowledged.
    pub results_retention: Duration,
    /// `queue.results_max_age`: how long results are kept that some group has not acknowledged, or
    /// that no group reads.
    pub results_max_age: Duration,
    /// `submit.max_age`: how long a job may wait to be accepted.
    pub max_age: Duration,
    /// `submit.unconfirmed_grace`: how long after its begin an unanswered POST is sent again.
    pub unconfirmed_grace: Duration,
    /// `submit.max_unconfirmed`: how often an unanswered POST is sent again; 0 for
    /// `submit.on_unconfirmed = "hold"`.
    pub max_unconfirmed: u32,
    /// `submit.refused_grace`: for how long the API may refuse a job while it accepts others.
    pub refused_grace: Duration,
    /// `submit.backoff_max`: the longest wait before a submit, or a probe of that stage, that is
    /// not asked for by the API.
    pub backoff_max: Duration,
    /// `poll.max`: the longest wait before a check, or a probe of that stage, likewise.
    pub poll_max: Duration,
}
