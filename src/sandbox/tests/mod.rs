//! The sandbox from outside: everything here goes over a socket, by a client that knows HTTP and
//! nothing of the sandbox's own types.

mod exchanges;
mod faults;
mod odd;
mod pushes;
mod rules;
mod strictness;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Options, Sandbox, start};

/// Nothing here takes long; what does has hung.
const DEADLINE: Duration = Duration::from_secs(20);

/// A sandbox that makes no faults and is done at once.
fn quiet() -> Options {
    Options {
        listen: ([127, 0, 0, 1], 0).into(),
        ready_after: Duration::ZERO,
        latency: Duration::ZERO,
        error_rate: 0.0,
        seed: Some(7),
        ..Options::default()
    }
}

/// An answer as it came over the wire.
#[derive(Debug)]
struct Received {
    head: String,
    body: String,
}

impl Received {
    fn code(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn text(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap().to_owned()
    }
}

/// Makes one call on a connection of its own; what comes until that closes.
async fn bytes(addr: SocketAddr, line: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let length = body.len();
    let mut request = format!("{line} HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\n");
    request.extend(headers.iter().map(|header| format!("{header}\r\n")));
    request.push_str(&format!("Content-Length: {length}\r\n\r\n{body}"));
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut received = Vec::new();
        // A reset instead of an end is a closed connection as well.
        let _ = stream.read_to_end(&mut received).await;
        received
    };
    timeout(DEADLINE, exchange).await.unwrap()
}

/// Makes one call on a connection of its own; `None`: the connection closed without a byte.
async fn call(addr: SocketAddr, line: &str, headers: &[&str], body: &str) -> Option<Received> {
    let received = String::from_utf8(bytes(addr, line, headers, body).await).unwrap();
    let (head, body) = received.split_once("\r\n\r\n")?;
    Some(Received { head: head.to_owned(), body: body.to_owned() })
}

/// A caller with a token.
struct Caller {
    sandbox: Sandbox,
    key: String,
    bearer: String,
}

impl Caller {
    async fn start(options: Options) -> Self {
        let key = format!("x-api-key: {}", options.api_key);
        let sandbox = start(options).await.unwrap();
        let bearer = bearer(&sandbox).await;
        Self { sandbox, key, bearer }
    }

    async fn call(&self, line: &str, body: &str) -> Option<Received> {
        call(self.sandbox.addr(), line, &[&self.key, &self.bearer], body).await
    }

    async fn submit(&self, id: &str) -> Option<Received> {
        self.call("POST /video/demo", &body_of(id)).await
    }

    /// Submits, expecting success; returns the whilter-request-id.
    async fn accepted(&self, id: &str) -> String {
        let received = self.submit(id).await.unwrap();
        assert_eq!(received.text("client-request-id"), id);
        received.text("whilter-request-id")
    }

    async fn status(&self, id: &str) -> Option<Received> {
        self.call(&format!("GET /status/{id}"), "").await
    }
}

async fn token(sandbox: &Sandbox) -> Received {
    let line = "GET /getToken?clientId=sandbox-client&clientSecret=sandbox-secret";
    call(sandbox.addr(), line, &[], "").await.unwrap()
}

/// A new token as a header.
async fn bearer(sandbox: &Sandbox) -> String {
    format!("Authorization: Bearer {}", token(sandbox).await.text("access_token"))
}

fn body_of(id: &str) -> String {
    format!(
        r#"{{"client-request-id":"{id}","customer-id":"c","use-case-id":"u","user-id":"user-{id}"}}"#
    )
}
