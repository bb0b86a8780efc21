//! Accepts connections and serves them, so that no caller can hold up the others: heads and bodies must
//! come in time, and no more connections are open than the process can hold.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::Service;

/// How long a request's head may take to come, and a connection may stay idle.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How long a stop waits for the answers in hand.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// When the system gives no more connections, it is asked again after this.
const AGAIN_IN: Duration = Duration::from_millis(100);
/// The most connections of a server, whatever the system allows.
const MOST: u64 = 10_000;
/// Open files for everything else.
const OTHER_FILES: u64 = 200;

/// Who has opened the connection that a request came by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Lets this process open as many files as it may, and says how many connections that is good for.
pub(crate) fn connections_allowed() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Without it there are fewer connections, and nothing else is worse.
    let files = setrlimit(Resource::Nofile, raised).map_or(limit.current, |()| limit.maximum);
    let files = files.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(OTHER_FILES).clamp(1, MOST)).unwrap_or(1)
}

/// Serves until `stopping` turns true, and then until the answers in hand are given.
pub(crate) async fn serve(
    listener: TcpListener,
    routes: Router,
    most: usize,
    mut stopping: watch::Receiver<bool>,
) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    tokio::select! {
        never = accept(&listener, routes, most, &graceful, &mut connections) => match never {},
        _ = stopping.wait_for(|it| *it) => {}
    }
    drop(listener);
    // What takes longer ends with its task.
    let _ = timeout(ANSWERS_WITHIN, graceful.shutdown()).await;
}

/// Serves until it is dropped, and with it what it serves.
pub(crate) async fn serve_meanwhile(listener: &TcpListener, routes: Router) -> Infallible {
    let (graceful, mut connections) = (GracefulShutdown::new(), JoinSet::new());
    accept(listener, routes, connections_allowed(), &graceful, &mut connections).await
}

/// Accepts connections, `most` of them at a time, and has each served by a task.
async fn accept(
    listener: &TcpListener,
    routes: Router,
    most: usize,
    graceful: &GracefulShutdown,
    connections: &mut JoinSet<()>,
) -> Infallible {
    let slots = Arc::new(Semaphore::new(most));
    let mut in_vain = false;
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await;
        let slot = slot.expect("the semaphore is never closed");
        let accepted = listener.accept().await;
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Once, and not for as long as it lasts.
                if !std::mem::replace(&mut in_vain, true) {
                    tracing::warn!(%error, "a connection could not be accepted");
                }
                sleep(AGAIN_IN).await;
                continue;
            }
        };
        in_vain = false;
        let connection = graceful.watch(connection(stream, peer, routes.clone()));
        connections.spawn(async move {
            // A caller that has gone, or that took too long, is no trouble of ours.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
            drop(slot);
        });
    }
}

fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    routes: Router,
) -> http1::Connection<
    TokioIo<TcpStream>,
    impl hyper::service::HttpService<
        Incoming,
        ResBody = Body,
        Error: Into<axum::BoxError>,
        Future: Send,
    >,
> {
    // Small answers are to leave at once.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let mut routes = routes.clone();
        async move {
            let response: Result<_, Infallible> = routes.call(request).await;
            response
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
}
