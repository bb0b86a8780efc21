//! Reads what a request brings: bounded in size and time, JSON whatever its Content-Type says.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use serde::Deserialize;
use tokio::time::timeout;
use utoipa::IntoParams;

use super::failure::Failure;
use crate::config::duration_or_zero;

/// The most bytes of a body.
const BODY_MAX_BYTES: usize = 1 << 20;
/// How long a body may take to come.
const BODY_WITHIN: Duration = Duration::from_secs(20);
/// The longest `?wait=`.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// What some tools write before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The whole body, without a byte order mark and the white space around it.
pub(super) async fn read(body: Body) -> Result<Bytes, Failure> {
    let too_large = || {
        let message = format!("a body may have at most {BODY_MAX_BYTES} bytes");
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
    };
    // What says so itself need not come.
    if body.size_hint().lower() > BODY_MAX_BYTES as u64 {
        return Err(too_large());
    }
    let collected = timeout(BODY_WITHIN, Limited::new(body, BODY_MAX_BYTES).collect()).await;
    let bytes = match collected {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
        Ok(Err(_)) => return Err(Failure::malformed("the body did not come whole")),
        Err(_) => {
            let message = format!("the body did not come within {} s", BODY_WITHIN.as_secs());
            return Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "too-slow", message));
        }
    };
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes).trim_ascii();
    Ok(bytes.slice_ref(text))
}

/// The parameters of a query.
pub(super) fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Failure> {
    query.map(|Query(it)| it).map_err(|error| Failure::malformed(error.body_text()))
}

/// How long to wait.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wait {
    /// Answer when it is there, or after this time: `250ms`, `30s` or `1m`, and never longer than `60s`
    #[param(nullable = false, pattern = r"^[0-9]{1,6}(ms|s|m|h|d)$")]
    wait: Option<String>,
}

impl Wait {
    /// How long a caller wants to wait, cut at a minute.
    pub(super) fn time(&self) -> Result<Option<Duration>, Failure> {
        let wait = self.wait.as_deref().map(duration_or_zero).transpose();
        let wait = wait.map_err(|why| Failure::malformed(why).of_field("wait"))?;
        Ok(wait.map(|wait| wait.min(LONGEST_WAIT)))
    }
}
