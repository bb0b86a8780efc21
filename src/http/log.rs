//! One log line and one count for each request. Query strings are never logged: a push may have its
//! secret there.

use std::sync::{Arc, OnceLock};

use axum::extract::{MatchedPath, Request};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;

use super::server::Peer;
use crate::telemetry::{self, HTTP_OTHER, HTTP_ROUTES};

/// By which key a request came, told by whoever checks it.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyShown(Arc<OnceLock<String>>);

impl KeyShown {
    pub(super) fn set(&self, name: Option<String>) {
        if let Some(name) = name {
            // Told once a request.
            let _ = self.0.set(name);
        }
    }
}

/// Serves a request, logs and counts it. What went well is a detail.
pub(super) async fn log(mut request: Request, next: Next) -> Response {
    let (began, shown) = (Instant::now(), KeyShown::default());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.and_then(|path| HTTP_ROUTES.iter().find(|it| **it == path.as_str()));
    request.extensions_mut().insert(shown.clone());
    let response = next.run(request).await;
    let status = response.status();
    telemetry::http_request(route.unwrap_or(&HTTP_OTHER), code(status));
    let (code, ms, key) = (status.as_u16(), began.elapsed().as_millis(), shown.0.get());
    let peer = peer.map(tracing::field::display);
    if status.is_client_error() || status.is_server_error() {
        tracing::info!(%method, path, code, ms, peer, key, "request");
    } else {
        tracing::debug!(%method, path, code, ms, peer, key, "request");
    }
    response
}

/// A status as a metric's label.
fn code(status: StatusCode) -> &'static str {
    telemetry::HTTP_CODES
        .iter()
        .find(|code| status.as_str() == **code)
        .unwrap_or(&telemetry::HTTP_OTHER)
}
