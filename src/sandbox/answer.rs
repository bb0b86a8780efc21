//! What a call gets: an HTTP answer, mostly with a JSON body, or a closed connection.

use hyper::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::odd::{self, Odd, Sent};

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
    headers: Box<HeaderMap>,
    body: Vec<u8>,
    odd: Option<Odd>,
}

impl Answer {
    /// The same, written oddly if it is a good one.
    pub(super) fn oddly(self, odd: Odd) -> Self {
        match self {
            Self::Reply(reply) if reply.status == StatusCode::OK => {
                Self::Reply(Reply { odd: Some(odd), ..reply })
            }
            Self::Reply(_) | Self::Lost => self,
        }
    }
}

impl Reply {
    pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("structs and maps with text keys are JSON");
        Self { body, ..Self::empty(status) }
            .with(CONTENT_TYPE, HeaderValue::from_static("application/json"))
    }

    pub(super) fn error(status: StatusCode, message: &str) -> Self {
        #[derive(Serialize)]
        struct Error<'a> {
            status: &'static str,
            message: &'a str,
        }
        Self::json(status, &Error { status: "ERROR", message })
    }

    /// A page, as of something in front of the API.
    pub(super) fn page(status: StatusCode) -> Self {
        let body = "<html><body>Welcome</body></html>".into();
        Self { body, ..Self::empty(status) }
            .with(CONTENT_TYPE, HeaderValue::from_static("text/html"))
    }

    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Box::default(), body: Vec::new(), odd: None }
    }

    pub(super) fn not_found() -> Self {
        Self::error(StatusCode::NOT_FOUND, "Endpoint not found, check the URL")
    }

    pub(super) fn wrong_method(allowed: &'static str) -> Self {
        Self::error(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
            .with(ALLOW, HeaderValue::from_static(allowed))
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn into_response(mut self) -> Response<Sent> {
        let body = match self.odd {
            Some(odd) => odd.write(&mut self.headers, self.body),
            None => odd::whole(self.body),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = *self.headers;
        response
    }
}
