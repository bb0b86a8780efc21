//! What stands between a worker and the sandbox: it answers calls itself, or passes them on. As a
//! proxy it is asked for whole URLs, of which it looks at the path alone.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What it says to a call of this path; `None`: it passes it on.
type Says = dyn Fn(&str) -> Option<(u16, String)> + Send + Sync;

/// See the module. Dropping it closes its port and its connections.
pub(super) struct Front {
    addr: SocketAddr,
    _tasks: JoinSet<()>,
}

struct Shared {
    sandbox: SocketAddr,
    client: reqwest::Client,
    says: Box<Says>,
}

impl Front {
    /// Begins to serve on this port (0: a free one).
    pub(super) async fn start(
        port: u16,
        sandbox: SocketAddr,
        says: impl Fn(&str) -> Option<(u16, String)> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let shared = Arc::new(Shared { sandbox, client, says: Box::new(says) });
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let shared = Arc::clone(&shared);
                let service = service_fn(move |request| answer(Arc::clone(&shared), request));
                let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                connections.spawn(served);
            }
        });
        Self { addr, _tasks: tasks }
    }

    /// One that passes everything on.
    pub(super) async fn transparent(port: u16, sandbox: SocketAddr) -> Self {
        Self::start(port, sandbox, |_| None).await
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (mut head, body) = request.into_parts();
    // A body that does not come to its end belongs to a caller who is gone.
    let body = body.collect().await.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
    let said = (shared.says)(head.uri.path());
    let (code, kind, text) = if let Some((code, text)) = said {
        let kind = if text.starts_with('{') { "application/json" } else { "text/html" };
        (code, kind, Bytes::from(text))
    } else {
        let path = head.uri.path_and_query().map_or("/", |it| it.as_str());
        let url = format!("http://{}{path}", shared.sandbox);
        head.headers.remove(HOST);
        let passed_on = shared.client.request(head.method, url).headers(head.headers).body(body);
        match passed_on.send().await {
            Ok(given) => {
                let code = given.status().as_u16();
                (code, "application/json", given.bytes().await.unwrap_or_default())
            }
            Err(_) => (502, "text/html", Bytes::new()),
        }
    };
    let response = Response::builder().status(code).header(CONTENT_TYPE, kind);
    Ok(response.body(Full::new(text)).unwrap())
}
