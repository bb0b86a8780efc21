//! Logs and metrics: the one place that knows their names.
//!
//! Everyone reports through the small functions of `metrics.rs`; without an installed recorder
//! they do nothing. What a metric is called and what it tells stands in `table.rs`, what one is in `metric.rs`.

mod metric;
mod metrics;
mod table;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

pub use self::metric::{Metric, MetricKind};
pub(crate) use self::metrics::*;
pub use self::metrics::{Metrics, install_metrics};
pub use self::table::METRICS;
pub(crate) use self::table::{HTTP_CODES, HTTP_OTHER, HTTP_ROUTES};

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
