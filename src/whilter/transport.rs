//! One HTTP exchange: bounded in time and in bytes, and honest about whether it was begun.
//!
//! `client` and `token` call it; one transport for POSTs, one for GETs. Invariants: at most one
//! request per exchange is ever written (no redirect, no retry; what hyper repeats is a request
//! that a dying keep-alive connection handed back untouched), and `NotSent` is never said of a
//! POST whose body a connection took.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use reqwest::{ClientBuilder, Method, Request, Response, Url};
use tokio::time::{Instant, timeout_at};

use super::answer::{Answer, Given, retry_after};
use super::body::Body;
use crate::config::Api;
use crate::telemetry;

/// The most header lines of an answer.
pub(super) const MOST_HEADERS: usize = 500;

/// A pool of connections and the bounds of what goes through it.
pub(super) struct Transport {
    client: reqwest::Client,
    request_timeout: Duration,
    max_response_bytes: usize,
}

/// A request that is ready to go.
pub(super) struct Outgoing {
    /// Headers may be added.
    pub(super) request: Request,
    /// Guards the body of a POST.
    gate: Option<Gate>,
}

impl Transport {
    /// A pool that keeps up to `idle` connections, each for `idle_timeout` after its last use.
    pub(super) fn new(
        api: &Api,
        idle: usize,
        idle_timeout: Duration,
    ) -> Result<Self, reqwest::Error> {
        Self::of(api, builder(api, idle, idle_timeout))
    }

    /// What `builder` builds, with the bounds of the settings.
    pub(super) fn of(api: &Api, builder: ClientBuilder) -> Result<Self, reqwest::Error> {
        Ok(Self {
            client: builder.build().map_err(reqwest::Error::without_url)?,
            request_timeout: api.request_timeout,
            max_response_bytes: api.max_response_bytes,
        })
    }

    /// When a call that begins now must be over: after `api.request_timeout`, but not past the
    /// deadline. `None`: too little of it is left. A POST that is cut off may be paid twice, so
    /// half of the usual time must be there; a GET is no use either when it is cut off.
    pub(super) fn end_of_call(&self, deadline: Instant) -> Option<Instant> {
        let now = Instant::now();
        let enough = now + self.request_timeout / 2 <= deadline;
        enough.then(|| deadline.min(now + self.request_timeout))
    }

    /// Sends the request and reads the answer, until `until` at the latest.
    pub(super) async fn exchange(
        &self,
        endpoint: &'static str,
        outgoing: Outgoing,
        until: Instant,
    ) -> Answer {
        let began = Instant::now();
        let answer = self.send(outgoing, until).await;
        telemetry::api_request(endpoint, label(&answer), began.elapsed().as_secs_f64());
        answer
    }

    async fn send(&self, Outgoing { request, gate }: Outgoing, until: Instant) -> Answer {
        let (connecting, why) = match timeout_at(until, self.client.execute(request)).await {
            Ok(Ok(response)) => return Answer::Given(self.read(response, until).await),
            Ok(Err(error)) => (error.is_connect(), root_cause(error)),
            Err(_) => (false, "no answer in time".to_owned()),
        };
        let unsent = gate.map_or(connecting, |gate| gate.shut());
        if unsent { Answer::NotSent(why) } else { Answer::MaybeSent(why) }
    }

    async fn read(&self, mut response: Response, until: Instant) -> Given {
        let mut so_far = Vec::new();
        let read = timeout_at(until, self.read_body(&mut response, &mut so_far)).await;
        let broken_off = match read {
            Ok(Ok(())) => None,
            Ok(Err(_)) => Some("the connection was lost in its midst"),
            Err(_) => Some("it did not end in time"),
        };
        let body = Body::of(Bytes::from(so_far), broken_off, self.max_response_bytes);
        let retry_after = retry_after(response.headers());
        Given { code: response.status().as_u16(), retry_after, body }
    }

    /// Reads to the end, or to the chunk that makes it too long. What came by then is in `so_far`.
    async fn read_body(
        &self,
        response: &mut Response,
        so_far: &mut Vec<u8>,
    ) -> Result<(), reqwest::Error> {
        while so_far.len() <= self.max_response_bytes
            && let Some(chunk) = response.chunk().await?
        {
            so_far.extend_from_slice(&chunk);
        }
        Ok(())
    }
}

/// The settings of a pool, but for the bounds that [`Transport`] holds itself.
pub(super) fn builder(api: &Api, idle: usize, idle_timeout: Duration) -> ClientBuilder {
    // The one provider of the whole tree. An error says that somebody installed it earlier.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("reelq/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        // A paid answer is not thrown away over a line among its headers.
        .http1_ignore_invalid_headers_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_max_headers(MOST_HEADERS)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .tcp_nodelay(true)
        .connect_timeout(api.connect_timeout)
        .pool_max_idle_per_host(idle)
        .pool_idle_timeout(idle_timeout);
    // The proxy of the environment is an enterprise's way out; this machine needs none.
    if api.base_url.is_loopback() { builder.no_proxy() } else { builder }
}

impl Outgoing {
    /// A GET.
    pub(super) fn get(url: Url) -> Self {
        Self { request: Request::new(Method::GET, url), gate: None }
    }

    /// A POST of that body.
    pub(super) fn post(url: Url, body: Bytes) -> Self {
        let gate = Gate::new(&body);
        let mut request = Request::new(Method::POST, url);
        *request.body_mut() = Some(reqwest::Body::wrap(Gated { body, gate: gate.clone() }));
        Self { request, gate: Some(gate) }
    }
}

/// Decides, once and for both sides, whether a body was sent: the connection that takes it and
/// the caller who gives up pass the same gate, and only the first one gets through. So a POST that
/// timed out while it was still waiting for a connection is surely not sent, also when the
/// connection comes up in that very moment.
#[derive(Clone)]
struct Gate(Arc<AtomicBool>);

impl Gate {
    fn new(body: &Bytes) -> Self {
        // Nobody asks for an empty body: it counts as taken.
        Self(Arc::new(AtomicBool::new(body.is_empty())))
    }

    /// Whether the gate was still open. It is shut from now on.
    fn shut(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// A body behind its gate.
struct Gated {
    body: Bytes,
    gate: Gate,
}

impl http_body::Body for Gated {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.body.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(if self.gate.shut() {
            Ok(Frame::data(std::mem::take(&mut self.body)))
        } else {
            Err(io::Error::other("given up before it was sent"))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        // A usize always fits; the fallback would only be a chunked body.
        u64::try_from(self.body.len()).map_or_else(|_| SizeHint::new(), SizeHint::with_exact)
    }
}

/// The innermost cause: the outer layers only say that sending failed. Without the URL, which
/// holds the client secret in the token call.
fn root_cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The `outcome` label of a metric.
fn label(answer: &Answer) -> &'static str {
    match answer {
        Answer::NotSent(_) => "not-sent",
        Answer::MaybeSent(_) => "no-answer",
        Answer::Given(given) => match given.code {
            200..=299 => "2xx",
            300..=399 => "3xx",
            401 => "401",
            429 => "429",
            400..=499 => "4xx",
            500..=599 => "5xx",
            _ => "other",
        },
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http_body::Body as _;

    use super::*;

    async fn take(body: &mut Gated) -> Option<Result<Bytes, io::Error>> {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
        Some(frame.map(|frame| frame.into_data().expect("a data frame")))
    }

    #[tokio::test]
    async fn a_body_is_either_taken_or_given_up_never_both() {
        let bytes = Bytes::from("body");
        let gate = Gate::new(&bytes);
        let mut taken = Gated { body: bytes.clone(), gate: gate.clone() };
        assert_eq!(taken.size_hint().exact(), Some(4));
        assert_eq!(take(&mut taken).await.unwrap().unwrap(), bytes);
        assert!(take(&mut taken).await.is_none() && taken.is_end_stream());
        assert!(!gate.shut(), "it is on its way");

        let gate = Gate::new(&bytes);
        let mut given_up = Gated { body: bytes, gate: gate.clone() };
        assert!(gate.shut(), "it was not sent");
        assert!(take(&mut given_up).await.unwrap().is_err(), "nor ever will be");

        assert!(!Gate::new(&Bytes::new()).shut(), "nobody asks for an empty body");
    }
}
