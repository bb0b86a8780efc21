//! The client against small raw servers, and the meaning of answers row by row.
//!
//! A [`Server`] listens on a free loopback port, keeps what it was sent and answers as the test
//! says, byte by byte: no HTTP library stands between the test and the wire.

mod client;
mod endpoints;
mod faults;
mod lenient;
mod outcome;
mod property;
mod tls;
mod token;

use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzEncoder;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::{Began, Client};
use crate::config::{Api, Deliverable, Secret};
use crate::job::{JobId, Refusal, StatusOutcome, SubmitOutcome};

pub(super) const TOKEN: &str = include_str!("../../../tests/fixtures/api/token.http");
pub(super) const SUBMIT: &str = include_str!("../../../tests/fixtures/api/submit.http");
pub(super) const PENDING: &str = include_str!("../../../tests/fixtures/api/status_pending.http");
pub(super) const READY: &str = include_str!("../../../tests/fixtures/api/status_ready.http");
/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two bytes of [`Reply::Drip`].
const DRIP: Duration = Duration::from_millis(5);

/// A request as it came over the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) target: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    /// Which connection it came over, from 0.
    pub(super) connection: usize,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(it, _)| it == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    pub(super) fn is_token_call(&self) -> bool {
        self.target.starts_with("/getToken")
    }
}

/// What the server does after a request.
pub(super) enum Reply {
    /// Sends this and keeps the connection.
    Keep(String),
    /// Sends this and closes the connection.
    Close(String),
    /// Sends these bytes and closes the connection.
    Bytes(Vec<u8>),
    /// Sends this and resets the connection.
    Reset(String),
    /// Sends this byte by byte, and closes the connection.
    Drip(String),
    /// Sends this, then a body without end.
    Endless(String),
    /// Waits for the test, then sends this and keeps the connection.
    Held(Arc<Notify>, String),
    /// Never answers.
    Silence,
}

/// A server whose answers the test decides.
pub(super) struct Server {
    pub(super) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Answers each request as `answer` says; it is also given the number of earlier requests of
    /// the same kind (token call or not).
    pub(super) async fn start(
        answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (answer, kept) = (Arc::new(answer), Arc::clone(&seen));
        tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, kept) = (Arc::clone(&answer), Arc::clone(&kept));
                tokio::spawn(async move {
                    serve(stream, connection, |seen: Seen| {
                        let mut kept = kept.lock().unwrap();
                        let alike = |it: &&Seen| it.is_token_call() == seen.is_token_call();
                        let reply = answer(&seen, kept.iter().filter(alike).count());
                        kept.push(seen);
                        reply
                    })
                    .await
                });
            }
        });
        Self { port, seen }
    }

    /// Serves tokens as documented, and `answer` to everything else.
    pub(super) async fn with_token(
        answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(move |seen, earlier| {
            if seen.is_token_call() {
                Reply::Keep(exchange(TOKEN).1)
            } else {
                answer(seen, earlier)
            }
        })
        .await
    }

    pub(super) fn client(&self) -> Client {
        client(&api(self.port))
    }

    pub(super) fn token_calls(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|it| it.is_token_call()).cloned().collect()
    }

    pub(super) fn calls(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|it| !it.is_token_call()).cloned().collect()
    }
}

async fn serve(stream: TcpStream, connection: usize, mut reply: impl FnMut(Seen) -> Reply) {
    let mut stream = BufReader::new(stream);
    while let Some(seen) = read_request(&mut stream, connection).await {
        match reply(seen) {
            Reply::Keep(bytes) => {
                if stream.write_all(bytes.as_bytes()).await.is_err() {
                    return;
                }
            }
            Reply::Close(bytes) => {
                // The client may be gone already, which is its right.
                let _ = stream.write_all(bytes.as_bytes()).await;
                return;
            }
            Reply::Bytes(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Reply::Reset(bytes) => {
                let _ = stream.write_all(bytes.as_bytes()).await;
                let _ = stream.get_ref().set_zero_linger();
                return;
            }
            Reply::Drip(bytes) => {
                for byte in bytes.as_bytes() {
                    if stream.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(DRIP).await;
                }
                return;
            }
            Reply::Endless(head) => {
                let chunk = "x".repeat(64 * 1024);
                let mut sent = stream.write_all(head.as_bytes()).await;
                while sent.is_ok() {
                    sent = stream.write_all(chunk.as_bytes()).await;
                }
                return;
            }
            Reply::Held(go, bytes) => {
                go.notified().await;
                if stream.write_all(bytes.as_bytes()).await.is_err() {
                    return;
                }
            }
            Reply::Silence => std::future::pending().await,
        }
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>, connection: usize) -> Option<Seen> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line.trim_end().is_empty() {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let mut seen = Seen { connection, ..request_of(&lines) };
    let length = seen.header("content-length").first().map_or(0, |it| it.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    seen.body = String::from_utf8(body).unwrap();
    Some(seen)
}

fn request_of(lines: &[impl AsRef<str>]) -> Seen {
    let mut words = lines[0].as_ref().split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let headers = lines[1..].iter().map(|line| {
        let (name, value) = line.as_ref().split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    });
    Seen { method, target, headers: headers.collect(), ..Seen::default() }
}

/// A documented exchange: its request, and its answer as bytes for the wire.
pub(super) fn exchange(fixture: &str) -> (Seen, String) {
    let (request, response) = fixture.split_once("\n\nHTTP/1.1 ").unwrap();
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let lines: Vec<&str> = head.lines().collect();
    let seen = Seen { body: body.to_owned(), ..request_of(&lines) };
    let (head, body) = response.split_once("\n\n").unwrap();
    let body = body.trim_end();
    let head = head.replace('\n', "\r\n");
    (seen, format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

/// An answer for the wire.
pub(super) fn answer(code: &str, body: &str) -> String {
    format!("HTTP/1.1 {code}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// These bytes as a gzip.
pub(super) fn zip(bytes: &[u8]) -> Vec<u8> {
    let mut zipped = Vec::new();
    GzEncoder::new(bytes, Compression::default()).read_to_end(&mut zipped).unwrap();
    zipped
}

/// The settings of the fixtures, for an API on that port.
pub(super) fn api(port: u16) -> Api {
    Api {
        base_url: format!("http://127.0.0.1:{port}").parse().unwrap(),
        client_id: "client-7".to_owned(),
        client_secret: Secret::Text("the-secret".into()),
        api_key: Secret::Text("the-key".into()),
        token_path: "/getToken".parse().unwrap(),
        submit_path: "/video/demo".parse().unwrap(),
        status_path: "/status/{id}".parse().unwrap(),
        connect_timeout: Duration::from_secs(5),
        request_timeout: PATIENCE,
        max_response_bytes: 64 * 1024,
    }
}

pub(super) fn client(api: &Api) -> Client {
    Client::new(api, 4, 4, Arc::new(|| Box::pin(std::future::ready(())))).unwrap()
}

pub(super) fn order() -> JobId {
    JobId::new("order-1").unwrap()
}

pub(super) async fn submit(client: &Client) -> SubmitOutcome {
    let body = Bytes::from(exchange(SUBMIT).0.body);
    let id = order();
    let began = Began::default();
    let call = client.submit(&id, body, Instant::now() + 2 * PATIENCE, &began);
    timeout(3 * PATIENCE, call).await.expect("a call ends")
}

pub(super) async fn status(client: &Client, whilter_request_id: &str) -> StatusOutcome {
    let id = order();
    let deadline = Instant::now() + 2 * PATIENCE;
    let call = client.status(&id, whilter_request_id, Deliverable::Video, deadline);
    timeout(3 * PATIENCE, call).await.expect("a call ends")
}

pub(super) fn accepted(id: &str) -> SubmitOutcome {
    SubmitOutcome::Accepted { whilter_request_id: id.to_owned() }
}
