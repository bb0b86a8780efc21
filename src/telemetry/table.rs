//! What each metric is called, how it is to be read and what it tells.
//!
//! The descriptions on `/metrics`, the series that are there from the start and the table of
//! docs/contract.md, section 11, all follow from `METRICS`; tests/tidy holds the last to it.

use super::metric::{Metric, MetricKind, Product};
use crate::job::lifecycle::State;
use crate::job::{ErrorCode, Stage};

/// Of a metric without labels: its only series.
const ONE: &[Product] = &[&[]];
/// Of a metric whose labels only time tells.
const NONE: &[Product] = &[];

const STAGES: &[&str] = &[Stage::Submit.as_str(), Stage::Poll.as_str()];
/// A job in hand is counted as leased, whether it is being submitted or checked.
const LIVE: &[&str] =
    &[State::Waiting.as_str(), State::Unconfirmed.as_str(), State::Polling.as_str(), "leased"];
const ENDPOINTS: &[&str] = &["token", "submit", "status"];
const API_OUTCOMES: &[&str] =
    &["2xx", "3xx", "401", "429", "4xx", "5xx", "other", "no-answer", "not-sent"];
const FAILURES: &[&str] = &[
    ErrorCode::BadRequest.as_str(),
    ErrorCode::ApiRejected.as_str(),
    ErrorCode::ApiRefused.as_str(),
    ErrorCode::GenerationFailed.as_str(),
    ErrorCode::StatusRefused.as_str(),
    ErrorCode::UnknownTransaction.as_str(),
    ErrorCode::SubmitUnconfirmed.as_str(),
    ErrorCode::TooManyAttempts.as_str(),
    ErrorCode::CrashLoop.as_str(),
    ErrorCode::InvalidJob.as_str(),
];
const EXPIRIES: &[&str] = &[ErrorCode::SubmitDeadline.as_str(), ErrorCode::PollDeadline.as_str()];

/// The gateway's routes.
pub(crate) const HTTP_ROUTES: &[&str] =
    &["/v1/jobs", "/v1/jobs/{id}", "/v1/results", "/video-push-endpoint", "/openapi.json"];
/// The codes with which they answer.
pub(crate) const HTTP_CODES: &[&str] =
    &["200", "202", "400", "401", "403", "404", "405", "408", "409", "413", "500", "503"];
/// Any other route, or code.
pub(crate) const HTTP_OTHER: &str = "other";

pub(super) const BACKLOG: Metric = Metric {
    name: "reelq_backlog",
    kind: MetricKind::Gauge,
    labels: &[],
    help: "inbox entries, and jobs due now in submit and poll: scale on this",
    known: ONE,
};
pub(super) const INBOX: Metric = Metric {
    name: "reelq_inbox",
    kind: MetricKind::Gauge,
    labels: &[],
    help: "inbox entries that no worker has admitted yet",
    known: ONE,
};
pub(super) const JOBS: Metric = Metric {
    name: "reelq_jobs",
    kind: MetricKind::Gauge,
    labels: &["state"],
    help: "live jobs: waiting, unconfirmed, polling, or leased to a worker",
    known: &[&[LIVE]],
};
pub(super) const OLDEST_DUE_AGE: Metric = Metric {
    name: "reelq_oldest_due_age_seconds",
    kind: MetricKind::Gauge,
    labels: &["stage"],
    help: "how late the oldest due job is",
    known: &[&[STAGES]],
};
pub(super) const UNCONFIRMED: Metric = Metric {
    name: "reelq_unconfirmed",
    kind: MetricKind::Gauge,
    labels: &[],
    help: "jobs that are unconfirmed: they may be billed, and nobody knows",
    known: ONE,
};
pub(super) const HELD: Metric = Metric {
    name: "reelq_held",
    kind: MetricKind::Gauge,
    labels: &[],
    help: "unconfirmed jobs that are held: they are not sent again, and wait for a person",
    known: ONE,
};
pub(super) const WORKERS: Metric = Metric {
    name: "reelq_workers",
    kind: MetricKind::Gauge,
    labels: &[],
    help: "workers that have beaten lately",
    known: ONE,
};
pub(super) const RESULTS_GROUP_AGE: Metric = Metric {
    name: "reelq_results_group_age_seconds",
    kind: MetricKind::Gauge,
    labels: &["group"],
    help: "age of the oldest result that a group of readers has not acknowledged",
    known: NONE,
};
pub(super) const JOBS_ENDED: Metric = Metric {
    name: "reelq_jobs_ended_total",
    kind: MetricKind::Counter,
    labels: &["status", "error"],
    help: "jobs that this worker has ended, by error code; a completed job has none",
    known: &[&[&["completed"], &[""]], &[&["failed"], FAILURES], &[&["expired"], EXPIRIES]],
};
pub(super) const URLS_FOUND: Metric = Metric {
    name: "reelq_urls_found_total",
    kind: MetricKind::Counter,
    labels: &["source"],
    help: "videos whose URL this process has found, by what led to it first: a poll or a push",
    known: &[&[&["poll", "webhook"]]],
};
pub(super) const CONFLICTS: Metric = Metric {
    name: "reelq_conflicts_total",
    kind: MetricKind::Counter,
    labels: &[],
    help: "entries that came under the id of another body",
    known: ONE,
};
pub(super) const API_REQUESTS: Metric = Metric {
    name: "reelq_api_requests_total",
    kind: MetricKind::Counter,
    labels: &["endpoint", "outcome"],
    help: "calls of the remote API that have ended",
    known: &[&[ENDPOINTS, API_OUTCOMES]],
};
pub(super) const API_REQUEST: Metric = Metric {
    name: "reelq_api_request_seconds",
    kind: MetricKind::Histogram,
    labels: &["endpoint"],
    help: "how long calls of the remote API took",
    known: &[&[ENDPOINTS]],
};
pub(super) const PICKUP: Metric = Metric {
    name: "reelq_pickup_seconds",
    kind: MetricKind::Histogram,
    labels: &[],
    help: "from an entry's XADD to a worker's hands",
    known: ONE,
};
pub(super) const POLL_LATENESS: Metric = Metric {
    name: "reelq_poll_lateness_seconds",
    kind: MetricKind::Histogram,
    labels: &[],
    help: "from when a status check was due to its begin",
    known: ONE,
};
pub(super) const ACCEPT_TO_URL: Metric = Metric {
    name: "reelq_accept_to_url_seconds",
    kind: MetricKind::Histogram,
    labels: &[],
    help: "from the API's acceptance of a job to its URL",
    known: ONE,
};
pub(super) const ENQUEUE_TO_END: Metric = Metric {
    name: "reelq_enqueue_to_end_seconds",
    kind: MetricKind::Histogram,
    labels: &[],
    help: "from a job's admission, or its retry, to the end that a status check brought",
    known: ONE,
};
pub(super) const LOOP_AGE: Metric = Metric {
    name: "reelq_loop_age_seconds",
    kind: MetricKind::Gauge,
    labels: &["loop"],
    help: "since a loop of this worker last turned",
    known: NONE,
};
pub(super) const REDIS_ERRORS: Metric = Metric {
    name: "reelq_redis_errors_total",
    kind: MetricKind::Counter,
    labels: &["kind"],
    help: "calls of Redis that failed",
    known: &[&[&["misconfigured", "unavailable", "login", "refused", "unexpected"]]],
};
pub(super) const REDIS_MEMORY: Metric = Metric {
    name: "reelq_redis_memory_bytes",
    kind: MetricKind::Gauge,
    labels: &[],
    help: "memory that Redis uses; 0 where it does not say",
    known: ONE,
};
pub(super) const REDIS_MEMORY_LIMIT: Metric = Metric {
    name: "reelq_redis_memory_limit_bytes",
    kind: MetricKind::Gauge,
    labels: &[],
    help: "memory that Redis may use (maxmemory); 0 where there is no limit, or it does not say",
    known: ONE,
};
pub(super) const QUARANTINED: Metric = Metric {
    name: "reelq_quarantined_total",
    kind: MetricKind::Counter,
    labels: &[],
    help: "members of a place that had no record, or had ended, and were taken out",
    known: ONE,
};
pub(super) const PUSHES: Metric = Metric {
    name: "reelq_pushes_total",
    kind: MetricKind::Counter,
    labels: &["outcome"],
    help: "pushes of the remote API, or in its name, by what became of them",
    known: &[&[&[
        "completed",
        "checked",
        "soon",
        "kept",
        "recorded",
        "known",
        "unsent",
        "foreign",
        "unknown",
        "refused",
        "malformed",
        "unavailable",
    ]]],
};
pub(super) const HTTP_REQUESTS: Metric = Metric {
    name: "reelq_http_requests_total",
    kind: MetricKind::Counter,
    labels: &["route", "code"],
    help: "requests that the gateway has answered",
    known: &[
        &[HTTP_ROUTES, HTTP_CODES],
        &[HTTP_ROUTES, &[HTTP_OTHER]],
        &[&[HTTP_OTHER], HTTP_CODES],
        &[&[HTTP_OTHER], &[HTTP_OTHER]],
    ],
};
pub(super) const STAGE_CLOSED: Metric = Metric {
    name: "reelq_stage_closed",
    kind: MetricKind::Gauge,
    labels: &["stage", "state"],
    help: "1 while the stage is held back in that way (halted, broken, limited, paused), else 0",
    known: &[&[STAGES, &["halted", "broken", "limited", "paused"]]],
};
pub(super) const STAGE_NEXT_PROBE: Metric = Metric {
    name: "reelq_stage_next_probe_timestamp_seconds",
    kind: MetricKind::Gauge,
    labels: &["stage"],
    help: "Unix time when a closed stage is tried again; 0 when it is open, or tried now",
    known: &[&[STAGES]],
};

/// The label of BUILD_INFO.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
pub(super) const BUILD_INFO: Metric = Metric {
    name: "reelq_build_info",
    kind: MetricKind::Gauge,
    labels: &["version"],
    help: "1, for the version of this process",
    known: &[&[&[VERSION]]],
};

/// Every metric, in the order of the contract.
pub const METRICS: &[Metric] = &[
    BACKLOG,
    INBOX,
    JOBS,
    OLDEST_DUE_AGE,
    UNCONFIRMED,
    HELD,
    WORKERS,
    RESULTS_GROUP_AGE,
    JOBS_ENDED,
    URLS_FOUND,
    CONFLICTS,
    API_REQUESTS,
    API_REQUEST,
    PICKUP,
    POLL_LATENESS,
    ACCEPT_TO_URL,
    ENQUEUE_TO_END,
    LOOP_AGE,
    REDIS_ERRORS,
    REDIS_MEMORY,
    REDIS_MEMORY_LIMIT,
    QUARANTINED,
    PUSHES,
    HTTP_REQUESTS,
    STAGE_CLOSED,
    STAGE_NEXT_PROBE,
    BUILD_INFO,
];

/// The gauges of the whole queue whose series are known, as far as Redis tells of it.
pub(super) const OF_THE_QUEUE: &[Metric] = &[
    BACKLOG,
    INBOX,
    JOBS,
    OLDEST_DUE_AGE,
    UNCONFIRMED,
    HELD,
    WORKERS,
    REDIS_MEMORY,
    REDIS_MEMORY_LIMIT,
    STAGE_CLOSED,
    STAGE_NEXT_PROBE,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A new error code must be an end of some status, or nobody would see it counted.
    #[test]
    fn every_error_code_of_a_worker_is_counted_under_one_status() {
        for code in ErrorCode::ALL {
            let statuses =
                ["completed", "failed", "expired"].map(|it| JOBS_ENDED.knows(&[it, code.as_str()]));
            // An operator's command, not a worker, ends jobs by it.
            let expected = usize::from(code != ErrorCode::CancelledByOperator);
            assert_eq!(statuses.into_iter().filter(|it| *it).count(), expected, "{code}");
        }
        assert!(JOBS_ENDED.knows(&["completed", ""]) && !JOBS_ENDED.knows(&["failed", ""]));
    }
}
