//! `/video-push-endpoint`: the remote API announces a finished video (docs/contract.md, sections 1 and 8).
//!
//! Pushes are unsigned. What one is worth depends on what it shows and on `webhook.trust`; what a
//! job makes of it is `queue/lua/push.lua`'s.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{query, read};
use super::failure::{BodyFailures, Failure, Failures, in_time};
use super::schemas::{ClientRequestId, MediaUrl};
use super::server::Peer;
use super::shared::Gateway;
use crate::config::Trust;
use crate::job::{JobId, is_media_url};
use crate::queue::{Push, PushOutcome, PushTrust, Source};
use crate::telemetry;

/// The header that may carry `webhook.secret`.
const TOKEN_HEADER: &str = "x-webhook-token";

/// What the API sends; what else it may send is ignored.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Pushed {
    #[schema(value_type = ClientRequestId)]
    client_request_id: String,
    user_id: String,
    #[schema(value_type = MediaUrl)]
    video_url: String,
}

/// What it is answered, as its documentation suggests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Taken {
    client_request_id: String,
    /// `202`, as text
    status: &'static str,
}

/// What may show that it is the API's own.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Token {
    /// `webhook.secret`, unless the header shows it
    #[param(nullable = false)]
    token: Option<String>,
}

/// Whether it is there
#[utoipa::path(
    get, path = "/video-push-endpoint", tag = "push", security(()),
    responses((status = 200, description = "It is"))
)]
pub(super) async fn is_there() -> StatusCode {
    StatusCode::OK
}

/// Whether it is there
#[utoipa::path(
    head, path = "/video-push-endpoint", tag = "push", security(()),
    responses((status = 200, description = "It is"))
)]
pub(super) async fn is_there_by_head() -> StatusCode {
    StatusCode::OK
}

/// The remote API announces a finished video
#[utoipa::path(
    post, path = "/video-push-endpoint", tag = "push", security(()), request_body = Pushed,
    params(Token, ("x-webhook-token" = inline(Option<String>), Header, description = "`webhook.secret`")),
    responses(
        (status = 202, description = "Taken, whatever it is worth", body = Taken),
        (status = 403, description = "It does not come from webhook.allowed_ips", body = Failure),
        Failures, BodyFailures,
    )
)]
pub(super) async fn push(
    State(gateway): State<Arc<Gateway>>,
    Extension(Peer(peer)): Extension<Peer>,
    asked: Result<Query<Token>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Taken>), Failure> {
    let (outcome, answer) = take(&gateway, peer.ip(), asked, &headers, body).await;
    telemetry::push(outcome);
    answer
}

/// Takes a push; what became of it as a metric's label, and what is answered.
async fn take(
    gateway: &Gateway,
    peer: std::net::IpAddr,
    asked: Result<Query<Token>, QueryRejection>,
    headers: &HeaderMap,
    body: Body,
) -> (&'static str, Result<(StatusCode, Json<Taken>), Failure>) {
    let token = match query(asked) {
        Ok(Token { token }) => token,
        Err(failure) => return ("malformed", Err(failure)),
    };
    let header = headers.get(TOKEN_HEADER).and_then(|it| it.to_str().ok());
    if let Err(failure) = gateway.push_access.admit(peer, header.or(token.as_deref())) {
        return ("refused", Err(failure));
    }
    let push = match read(body).await.and_then(|body| parse(&body)) {
        Ok(push) => push,
        Err(failure) => return ("malformed", Err(failure)),
    };
    let outcome = match in_time(gateway.queue.push(&push, gateway.push_trust())).await {
        Ok(outcome) => outcome,
        Err(failure) => return ("unavailable", Err(failure)),
    };
    tracing::debug!(job.id = %push.id, outcome = outcome.as_str(), "a push");
    if outcome == PushOutcome::Completed {
        telemetry::jobs_ended("completed", "", 1);
        telemetry::urls_found(Source::Webhook.as_str(), 1);
    }
    if outcome == PushOutcome::Foreign {
        tracing::warn!(job.id = %push.id, "a push with another user-id than the job's");
    }
    let client_request_id = push.id.to_string();
    if outcome == PushOutcome::Unknown && gateway.push_access.is_guarded() {
        return (outcome.as_str(), Err(Failure::unknown_job()));
    }
    (outcome.as_str(), Ok((StatusCode::ACCEPTED, Json(Taken { client_request_id, status: "202" }))))
}

fn parse(body: &[u8]) -> Result<Push, Failure> {
    let Pushed { client_request_id, user_id, video_url } = serde_json::from_slice(body)
        .map_err(|error| Failure::malformed(format!("no push: {error}")))?;
    let id = JobId::new(client_request_id)
        .map_err(|why| Failure::malformed(why.to_string()).of_field("client-request-id"))?;
    if !is_media_url(&video_url) {
        let message = "must be an http or https URL of at most 4 KiB";
        return Err(Failure::malformed(message).of_field("video-url"));
    }
    Ok(Push { id, user_id, video_url })
}

impl Gateway {
    /// How far a push is believed that was let in.
    fn push_trust(&self) -> PushTrust {
        match (self.push_access.is_guarded(), self.trust) {
            (false, _) => PushTrust::Anybody,
            (true, Trust::Verify) => PushTrust::Authenticated,
            (true, Trust::Accept) => PushTrust::Accept,
        }
    }
}
