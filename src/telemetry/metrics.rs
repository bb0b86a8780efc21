//! The metrics of a process: collecting them, and one small function for each thing to report.
//!
//! Every series whose labels can be known beforehand is there from the start, with zero, so that
//! an alert sees the first change.

use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::TelemetryError;
use super::metric::Metric;
use super::table::*;
use crate::job::{QueueName, Stage};

/// Bounds of the histograms' buckets, in seconds.
const SECONDS: [f64; 20] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0,
    120.0, 300.0, 600.0, 1800.0, 3600.0,
];

/// The metrics of this process.
#[derive(Clone, Debug)]
pub struct Metrics {
    collected: PrometheusHandle,
    process: metrics_process::Collector,
}

impl Metrics {
    /// The metrics in Prometheus's text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.process.collect();
        self.collected.run_upkeep();
        self.collected.render()
    }
}

/// Begins to collect metrics, labelled with the queue's name.
///
/// # Errors
/// [`TelemetryError::Setup`] when the process collects already.
pub fn install_metrics(queue: &QueueName) -> Result<Metrics, TelemetryError> {
    let refused =
        |error: metrics_exporter_prometheus::BuildError| TelemetryError::Setup(error.to_string());
    let collected = PrometheusBuilder::new()
        .add_global_label("queue", queue.as_str())
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(refused)?;
    METRICS.iter().for_each(Metric::begin);
    BUILD_INFO.gauge(&[VERSION]).set(1);
    let process = metrics_process::Collector::default();
    process.describe();
    Ok(Metrics { collected, process })
}

/// A call to the remote API has ended, in so many seconds.
pub(crate) fn api_request(endpoint: &'static str, outcome: &'static str, seconds: f64) {
    API_REQUESTS.counter(&[endpoint, outcome]).increment(1);
    API_REQUEST.histogram(&[endpoint]).record(seconds);
}

/// So many jobs have ended; `error` is their code or empty.
pub(crate) fn jobs_ended(status: &'static str, error: &'static str, count: u64) {
    JOBS_ENDED.counter(&[status, error]).increment(count);
}

/// So many videos' URLs were found, by what led to them.
pub(crate) fn urls_found(source: &'static str, count: u64) {
    URLS_FOUND.counter(&[source]).increment(count);
}

/// A push came, and this became of it.
pub(crate) fn push(outcome: &'static str) {
    PUSHES.counter(&[outcome]).increment(1);
}

/// The gateway has answered a request.
pub(crate) fn http_request(route: &'static str, code: &'static str) {
    HTTP_REQUESTS.counter(&[route, code]).increment(1);
}

/// An entry's POST begins, so long after its XADD.
pub(crate) fn pickup(waited: Duration) {
    PICKUP.histogram(&[]).record(waited);
}

/// A status check begins, so long after it was due.
pub(crate) fn poll_lateness(late_by: Duration) {
    POLL_LATENESS.histogram(&[]).record(late_by);
}

/// A video is there, so long after the API accepted its job.
pub(crate) fn accept_to_url(took: Duration) {
    ACCEPT_TO_URL.histogram(&[]).record(took);
}

/// A job has ended by a status check, so long after its admission.
pub(crate) fn enqueue_to_end(took: Duration) {
    ENQUEUE_TO_END.histogram(&[]).record(took);
}

/// A call to Redis failed.
pub(crate) fn redis_error(kind: &'static str) {
    REDIS_ERRORS.counter(&[kind]).increment(1);
}

/// Another body came under a known id.
pub(crate) fn conflict() {
    CONFLICTS.counter(&[]).increment(1);
}

/// So many members of places had no record, or had ended, and were taken out.
pub(crate) fn quarantined(count: u64) {
    QUARANTINED.counter(&[]).increment(count);
}

/// How long ago a loop turned.
pub(crate) fn loop_age(name: &'static str, age: Duration) {
    LOOP_AGE.gauge(&[name]).set(age);
}

/// Redis does not tell of the queue: a value from before would be taken for one of now.
pub(crate) fn queue_unknown() {
    OF_THE_QUEUE.iter().for_each(Metric::unknown);
}

/// So much is to be done now.
pub(crate) fn backlog(count: u64) {
    BACKLOG.gauge(&[]).set(exact(count));
}

/// So many entries are not admitted yet.
pub(crate) fn inbox(count: u64) {
    INBOX.gauge(&[]).set(exact(count));
}

/// So many unconfirmed jobs are held.
pub(crate) fn held(count: u64) {
    HELD.gauge(&[]).set(exact(count));
}

/// Redis uses so much memory, of so much that it may use; zero: there is no limit.
pub(crate) fn redis_memory(used_bytes: u64, limit_bytes: u64) {
    REDIS_MEMORY.gauge(&[]).set(exact(used_bytes));
    REDIS_MEMORY_LIMIT.gauge(&[]).set(exact(limit_bytes));
}

/// So many live jobs are in that state.
pub(crate) fn jobs(state: &'static str, count: u64) {
    JOBS.gauge(&[state]).set(exact(count));
}

/// So many jobs are unconfirmed.
pub(crate) fn unconfirmed(count: u64) {
    UNCONFIRMED.gauge(&[]).set(exact(count));
}

/// So many workers live.
pub(crate) fn workers(count: u64) {
    WORKERS.gauge(&[]).set(exact(count));
}

/// How late a stage's oldest due job is.
pub(crate) fn oldest_due(stage: Stage, late_by: Duration) {
    OLDEST_DUE_AGE.gauge(&[stage.as_str()]).set(late_by);
}

/// Whether a stage is held back in that way.
pub(crate) fn stage_closed(stage: Stage, state: &'static str, is_so: bool) {
    STAGE_CLOSED.gauge(&[stage.as_str(), state]).set(u8::from(is_so));
}

/// When a stage is tried again, in Unix time; zero: it is open, or tried now.
pub(crate) fn stage_next_probe(stage: Stage, at: Duration) {
    STAGE_NEXT_PROBE.gauge(&[stage.as_str()]).set(at);
}

/// How long a group of readers has left its oldest result unacknowledged.
pub(crate) fn results_group(group: &str, age: Duration) {
    RESULTS_GROUP_AGE.gauge_of(group).set(age);
}

/// There is no such group of readers any more, or nothing is known of it.
pub(crate) fn results_group_unknown(group: &str) {
    RESULTS_GROUP_AGE.gauge_of(group).set(f64::NAN);
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating point; 2^53 jobs are enough")]
fn exact(count: u64) -> f64 {
    count as f64
}
