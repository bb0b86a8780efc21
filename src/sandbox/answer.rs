//! What a call gets: an HTTP answer, mostly with a JSON body, or a closed connection.

use std::convert::Infallible;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// Header lines of an answer that has many.
const MANY_HEADERS: usize = 300;
/// So many bytes are announced and never sent.
const MISSING_BYTES: u64 = 9;

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
    pub(super) odd: Option<Odd>,
    body: Vec<u8>,
    header: Option<(HeaderName, HeaderValue)>,
}

/// A way to write an answer that a browser would read all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Odd {
    /// A byte order mark before the body.
    Bom,
    /// A message in Latin-1, which is no UTF-8.
    Latin1,
    /// A key given twice, the last one right.
    Twice,
    /// A line among the header lines that is none (`Outbound` of `server` writes it).
    PhpWarning,
    /// Several hundred header lines.
    Headers,
    /// Compressed, although nobody asked for it.
    Gzip,
    /// The connection ends after the object, before the announced end.
    Unended,
    /// Something after the object.
    Trailing,
}

impl Odd {
    pub(super) const ALL: [Self; 8] = [
        Self::Bom,
        Self::Latin1,
        Self::Twice,
        Self::PhpWarning,
        Self::Headers,
        Self::Gzip,
        Self::Unended,
        Self::Trailing,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Bom => "bom",
            Self::Latin1 => "latin1",
            Self::Twice => "twice",
            Self::PhpWarning => "php-warning",
            Self::Headers => "headers",
            Self::Gzip => "gzip",
            Self::Unended => "unended",
            Self::Trailing => "trailing",
        }
    }
}

impl Reply {
    fn new(status: StatusCode, body: Vec<u8>) -> Self {
        Self { status, odd: None, body, header: None }
    }

    pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("structs and maps with text keys are JSON");
        Self::new(status, body)
    }

    pub(super) fn error(status: StatusCode, message: &str) -> Self {
        #[derive(Serialize)]
        struct Error<'a> {
            status: &'static str,
            message: &'a str,
        }
        Self::json(status, &Error { status: "ERROR", message })
    }

    /// A page of something in front of the API.
    pub(super) fn page(status: StatusCode) -> Self {
        let html = HeaderValue::from_static("text/html");
        Self::new(status, "<html><body>Welcome</body></html>".into()).with(CONTENT_TYPE, html)
    }

    pub(super) fn empty(status: StatusCode) -> Self {
        Self::new(status, Vec::new())
    }

    pub(super) fn not_found() -> Self {
        Self::error(StatusCode::NOT_FOUND, "Endpoint not found, check the URL")
    }

    pub(super) fn wrong_method(allowed: &'static str) -> Self {
        Self::error(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
            .with(hyper::header::ALLOW, HeaderValue::from_static(allowed))
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    /// The same in another form, if it is good news.
    pub(super) fn oddly(mut self, odd: Odd) -> Self {
        if self.status == StatusCode::OK {
            self.odd = Some(odd);
        }
        self
    }

    pub(super) fn into_response(self) -> Response<Sent> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some((name, value)) = self.header {
            headers.insert(name, value);
        }
        let (mut body, mut missing) = (self.body, 0);
        match self.odd {
            None => {}
            Some(Odd::Bom) => body = ["\u{feff}".as_bytes(), &body].concat(),
            Some(Odd::Latin1) => {
                body.pop();
                body.extend(b",\"message\":\"f\xfcr Sie\"}");
            }
            Some(Odd::Twice) => {
                let wrong = b"{\"status\":\"FAILED\",\"access_token\":\"wrong\",";
                body = [&wrong[..], body.get(1..).unwrap_or_default()].concat();
            }
            Some(Odd::PhpWarning) => {
                headers.insert(HeaderName::from_static(PHP_WARNING), HeaderValue::from_static("x"));
            }
            Some(Odd::Headers) => headers.extend((0..MANY_HEADERS).filter_map(|number| {
                let name = HeaderName::try_from(format!("x-sandbox-{number}")).ok()?;
                Some((name, HeaderValue::from(number)))
            })),
            Some(Odd::Gzip) => {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                let mut zipped = GzEncoder::new(Vec::new(), Compression::default());
                body = zipped.write_all(&body).and_then(|()| zipped.finish()).unwrap_or(body);
            }
            Some(Odd::Unended) => missing = MISSING_BYTES,
            Some(Odd::Trailing) => body.extend(b"\n<!-- 12 ms -->"),
        }
        let mut response = Response::new(Sent { body: body.into(), missing, is_out: false });
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response
    }
}

/// The name of a header that leaves as the line that is none.
pub(super) const PHP_WARNING: &str = "php-warning";

/// A body on its way, of which some bytes may be announced and never sent: then the connection is
/// closed after it.
pub(super) struct Sent {
    body: Bytes,
    missing: u64,
    is_out: bool,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let body = std::mem::take(&mut self.body);
        if body.is_empty() && self.missing > 0 && !self.is_out {
            // What was written leaves before the connection is closed.
            self.is_out = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready((!body.is_empty()).then(|| Ok(Frame::data(body))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_empty() && self.missing == 0
    }

    fn size_hint(&self) -> SizeHint {
        // A usize always fits; the fallback would only be a chunked body.
        let length = u64::try_from(self.body.len());
        length.map_or_else(|_| SizeHint::new(), |it| SizeHint::with_exact(it + self.missing))
    }
}
