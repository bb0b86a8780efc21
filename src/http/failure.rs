//! What is answered when something cannot be done: `{"error":{"code","message","field"?}}`.

use std::borrow::Borrow;
use std::time::Duration;

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::{IntoResponses, ToSchema};

use crate::job::Problems;
use crate::queue::QueueError;
use crate::telemetry;

/// How long Redis may take: who asks would rather ask again.
pub(super) const REDIS_WITHIN: Duration = Duration::from_millis(900);

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Failure {
    error: Detail,
    #[serde(skip)]
    status: u16,
}

/// Why, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
struct Detail {
    /// A word for programs.
    code: &'static str,
    /// A sentence for people.
    message: String,
    /// The field that is at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<String>,
}

/// How any path may fail that uses the queue, for the description.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "described only")]
pub(super) enum Failures {
    /// The request cannot be understood, or is no valid one
    #[response(status = 400)]
    Malformed(Failure),
    /// It does not show one of gateway.api_keys, or webhook.secret
    #[response(status = 401, headers(("www-authenticate" = String, description = "`Bearer`")))]
    Unauthorized(Failure),
    /// There is no record of the job, or `/v1` is not served here
    #[response(status = 404)]
    NotFound(Failure),
    /// The queue holds something unexpected
    #[response(status = 500)]
    Unexpected(Failure),
    /// Redis is away or full
    #[response(status = 503, headers(("retry-after" = u32, description = "Try again after so many seconds")))]
    Unavailable(Failure),
}

/// How reading a body may fail, for the description.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "described only")]
pub(super) enum BodyFailures {
    /// The body did not come within 20 s
    #[response(status = 408)]
    TooSlow(Failure),
    /// The body has over 1 MiB
    #[response(status = 413)]
    TooLarge(Failure),
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let error = Detail { code, message: message.into(), field: None };
        Self { error, status: status.as_u16() }
    }

    pub(super) fn of_field(self, field: impl Into<String>) -> Self {
        Self { error: Detail { field: Some(field.into()), ..self.error }, ..self }
    }

    /// A request that cannot be understood.
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", message)
    }

    /// A job that is no valid request.
    pub(super) fn invalid_job(problems: &Problems) -> Self {
        let failure = Self::new(StatusCode::BAD_REQUEST, "invalid-job", problems.to_string());
        match problems.listed().first() {
            Some(first) => failure.of_field(&first.field),
            None => failure,
        }
    }

    pub(super) fn unknown_job() -> Self {
        let message =
            "no record of this job: never accepted, or ended so long ago that it has expired";
        Self::new(StatusCode::NOT_FOUND, "unknown-job", message)
    }

    /// Redis did not do it. It may have, if the answer was lost; asking again is safe.
    pub(super) fn of_queue(error: &QueueError) -> Self {
        telemetry::redis_error(error.kind());
        tracing::warn!(%error, "a request could not be served");
        if matches!(error, QueueError::Unexpected(_)) {
            let message = "the queue holds something unexpected: see the gateway's log";
            return Self::new(StatusCode::INTERNAL_SERVER_ERROR, "unexpected", message);
        }
        if error.is_out_of_memory() {
            return Self::unavailable("out-of-memory", "Redis is full: try again later");
        }
        Self::unavailable(
            "unavailable",
            "Redis does not answer, or does not let us: try again later",
        )
    }

    /// Redis gives no answer.
    pub(super) fn of_absent_redis() -> Self {
        Self::unavailable("unavailable", "Redis does not answer: try again later")
    }

    fn unavailable(code: &'static str, message: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
    }
}

/// What Redis answers, in time.
pub(super) async fn in_time<T, E: Borrow<QueueError>>(
    asked: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    match timeout(REDIS_WITHIN, asked).await {
        Ok(answer) => answer.map_err(|error| Failure::of_queue(error.borrow())),
        Err(_) => Err(Failure::of_absent_redis()),
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
