//! The sandbox on the wire: connections, request bodies, latency, and answers that never come.
//!
//! It stands on hyper itself rather than on axum: a hyper service that returns an error closes
//! the connection without an answer, which is the fault that matters most here.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::answer::Answer;
use super::odd::{Outbound, Sent};
use super::state::Shared;
use super::submission::MAX_BODY_BYTES;
use super::{api, control};

/// After a failed accept (no file handles left, say), the wait before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The connection closes without an answer.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error("a fault was asked for")]
    OnPurpose,
    #[error("the request's body did not arrive")]
    Body(#[from] hyper::Error),
}

/// Serves connections until it is dropped, and all of them with it.
pub(super) async fn run(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&shared)));
                }
                Err(error) => {
                    tracing::warn!(%error, "the sandbox could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    // Without it, an answer may wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::trace!(%error, "no TCP_NODELAY");
    }
    let service = service_fn(|request| exchange(&shared, request));
    let served =
        http1::Builder::new().serve_connection(TokioIo::new(Outbound(stream)), service).await;
    if let Err(error) = served {
        tracing::trace!(%error, "a connection ended early");
    }
}

async fn exchange(shared: &Shared, request: Request<Incoming>) -> Result<Response<Sent>, Closed> {
    let (head, body) = request.into_parts();
    let body = read(body).await?;
    let body = body.as_deref();
    if head.uri.path().starts_with("/sandbox/") {
        return Ok(control::answer(shared, &head, body).into_response());
    }
    let _in_hand = shared.enter();
    let due = api::answer(shared, &head, body);
    if let Some(pushed) = due.pushed {
        // Nothing is ever sent: it ends when the other end is dropped.
        let _ = pushed.await;
    }
    if !due.latency.is_zero() {
        tokio::time::sleep(due.latency).await;
    }
    match due.answer {
        Answer::Reply(reply) => Ok(reply.into_response()),
        Answer::Lost => Err(Closed::OnPurpose),
    }
}

/// Reads a body; `None`: it was too large. Even then it is read to its end, so that the caller
/// sees the answer and not a broken pipe.
async fn read(mut body: Incoming) -> Result<Option<Vec<u8>>, hyper::Error> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut read = Vec::with_capacity(announced.min(MAX_BODY_BYTES));
    let mut fits = true;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        fits = fits && read.len() + data.len() <= MAX_BODY_BYTES;
        if fits {
            read.extend_from_slice(&data);
        }
    }
    Ok(fits.then_some(read))
}
