//! Logs and metrics: the one place that knows their names.
//!
//! Everyone reports through the small functions here; without an installed recorder they do
//! nothing. Names and labels are those of docs/contract.md, section 11, held by a test.

use std::io::IsTerminal;
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};
use crate::job::QueueName;

/// Bounds of the histograms' buckets, in seconds.
const SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 600.0,
    3600.0,
];

/// Why logs or metrics could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// `log.filter` is no filter.
    #[error("log.filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The process has logs or metrics already, or the recorder refuses.
    #[error("setting up logs and metrics: {0}")]
    Setup(String),
}

/// Begins to log to standard error; `verbosity` raises what this crate says.
///
/// # Errors
/// [`TelemetryError`].
pub fn init(log: &Log, verbosity: u8) -> Result<(), TelemetryError> {
    let filter = match verbosity {
        0 => log.filter.clone(),
        1 => format!("{},reelq=debug", log.filter),
        _ => format!("{},reelq=trace", log.filter),
    };
    let logs = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        // Its complaint about a line that cannot be written would panic in whoever logs it.
        .log_internal_errors(false)
        .with_env_filter(EnvFilter::try_new(filter)?);
    let text = match log.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let logs = logs.with_ansi(std::io::stderr().is_terminal());
    let begun = if text { logs.try_init() } else { logs.json().try_init() };
    begun.map_err(|error| TelemetryError::Setup(error.to_string()))
}

/// The metrics of this process.
#[derive(Clone, Debug)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// The metrics in Prometheus's text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }
}

/// Begins to collect metrics, labelled with the queue's name.
///
/// # Errors
/// [`TelemetryError::Setup`] when the process collects already.
pub fn install_metrics(queue: &QueueName) -> Result<Metrics, TelemetryError> {
    let refused =
        |error: metrics_exporter_prometheus::BuildError| TelemetryError::Setup(error.to_string());
    let metrics = PrometheusBuilder::new()
        .add_global_label("queue", queue.as_str())
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .map(Metrics)
        .map_err(refused)?;
    // An alert on it needs the series before it first happens.
    quarantined(0);
    Ok(metrics)
}

/// A call to the remote API has ended, in so many seconds.
pub(crate) fn api_request(endpoint: &'static str, outcome: &'static str, seconds: f64) {
    counter!("reelq_api_requests_total", "endpoint" => endpoint, "outcome" => outcome).increment(1);
    histogram!("reelq_api_request_seconds", "endpoint" => endpoint).record(seconds);
}

/// So many jobs have ended; `error` is their code or empty.
pub(crate) fn jobs_ended(status: &'static str, error: &'static str, count: u64) {
    if count > 0 {
        counter!("reelq_jobs_ended_total", "status" => status, "error" => error).increment(count);
    }
}

/// An entry's POST begins, so long after its XADD.
pub(crate) fn pickup(waited: Duration) {
    histogram!("reelq_pickup_seconds").record(waited);
}

/// A status check begins, so long after it was due.
pub(crate) fn poll_lateness(late_by: Duration) {
    histogram!("reelq_poll_lateness_seconds").record(late_by);
}

/// A video is there, so long after the API accepted its job.
pub(crate) fn accept_to_url(took: Duration) {
    histogram!("reelq_accept_to_url_seconds").record(took);
}

/// A call to Redis failed.
pub(crate) fn redis_error(kind: &'static str) {
    counter!("reelq_redis_errors_total", "kind" => kind).increment(1);
}

/// Another body came under a known id.
pub(crate) fn conflict() {
    counter!("reelq_conflicts_total").increment(1);
}

/// So many members of places had no record, or had ended, and were taken out.
pub(crate) fn quarantined(count: u64) {
    counter!("reelq_quarantined_total").increment(count);
}

/// How long ago a loop turned.
pub(crate) fn loop_age(name: &'static str, age: Duration) {
    gauge!("reelq_loop_age_seconds", "loop" => name).set(age);
}
