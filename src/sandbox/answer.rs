//! What a call gets: an HTTP answer with a JSON body, or a closed connection.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// What a call to the API gets.
pub(super) enum Answer {
    /// This.
    Reply(Reply),
    /// Nothing: its connection is closed.
    Lost,
}

/// An HTTP answer.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    body: Vec<u8>,
    header: Option<(HeaderName, &'static str)>,
}

impl Reply {
    pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("structs and maps with text keys are JSON");
        Self { status, body, header: None }
    }

    pub(super) fn error(status: StatusCode, message: &str) -> Self {
        #[derive(Serialize)]
        struct Error<'a> {
            status: &'static str,
            message: &'a str,
        }
        Self::json(status, &Error { status: "ERROR", message })
    }

    pub(super) fn html(page: &'static str) -> Self {
        Self { status: StatusCode::OK, body: page.into(), header: None }
            .with(CONTENT_TYPE, "text/html")
    }

    pub(super) fn not_found() -> Self {
        Self::error(StatusCode::NOT_FOUND, "Endpoint not found, check the URL")
    }

    pub(super) fn wrong_method(allowed: &'static str) -> Self {
        Self::error(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
            .with(hyper::header::ALLOW, allowed)
    }

    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body.into()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some((name, value)) = self.header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
