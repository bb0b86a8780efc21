//! A proxy in front of Redis that has scripts run with a table in place of `redis` which counts the
//! calls, and refuses the one that it is told to refuse, as a server would that takes a right away.
//!
//! It knows the scripts by having seen them loaded. What is to be refused, and what was called, is
//! in keys of the server that are no queue's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::TestQueue;
use crate::support::proxy::{address, frame};

/// Stands behind the engine line of each script.
const SHADOW: &str = "
local redis = (function(server)
  local at = tonumber(server.call('GET', 'cut:at') or 0)
  local refused = server.call('GET', 'cut:command')
  local calls = 0
  local function refuses(name)
    calls = calls + 1
    server.call('RPUSH', 'cut:called', name)
    return calls == at or name == refused
  end
  local refusal = { err = 'NOPERM cut off by a test' }
  return setmetatable({
    call = function(name, ...)
      if refuses(name) then error(refusal) end
      return server.call(name, ...)
    end,
    pcall = function(name, ...)
      if refuses(name) then return refusal end
      return server.pcall(name, ...)
    end,
  }, { __index = server })
end)(redis)
";

/// What is refused in each call of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Nothing: what is called is only noted.
    Nowhere,
    /// The n-th command, counted from 1.
    At(usize),
    /// Every use of a command.
    Command(String),
}

/// See the module. Dropping it ends every connection.
pub(crate) struct Scissors {
    port: u16,
    open: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Shared {
    open: Arc<AtomicBool>,
    sources: Arc<Mutex<HashMap<String, String>>>,
}

impl Scissors {
    pub(crate) async fn start(redis_url: &str) -> Self {
        let redis = address(redis_url);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::<AtomicBool>::default();
        let shared = Shared { open: Arc::clone(&open), sources: Arc::default() };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(&redis).await.unwrap();
                connections.spawn(carry(client, server, shared.clone()));
            }
        });
        Self { port, open, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on every script is cut there.
    pub(crate) async fn cut(&self, queue: &TestQueue, cut: &Cut) {
        let (at, command) = match cut {
            Cut::Nowhere => ("0".to_owned(), String::new()),
            Cut::At(at) => (at.to_string(), String::new()),
            Cut::Command(command) => ("0".to_owned(), command.clone()),
        };
        let _: () = queue.command(&["MSET", "cut:at", &at, "cut:command", &command]).await;
        let _: u64 = queue.command(&["DEL", "cut:called"]).await;
        self.open.store(true, Ordering::SeqCst);
    }

    /// From now on scripts run as they are. Returns the commands that were called meanwhile.
    pub(crate) async fn close(&self, queue: &TestQueue) -> Vec<String> {
        self.open.store(false, Ordering::SeqCst);
        queue.command(&["LRANGE", "cut:called", "0", "-1"]).await
    }
}

async fn carry(client: TcpStream, server: TcpStream, shared: Shared) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = requests(from_client, to_server, shared) => {}
        () = replies(from_server, to_client) => {}
    }
}

async fn replies(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    // Ends when either side does.
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: Shared) {
    let mut buffer = Vec::new();
    while from.read_buf(&mut buffer).await.is_ok_and(|length| length > 0) {
        while let Some(length) = frame(&buffer) {
            let request: Vec<u8> = buffer.drain(..length).collect();
            let sent = shared.rewritten(words(&request)).unwrap_or(request);
            if to.write_all(&sent).await.is_err() {
                return;
            }
        }
    }
}

impl Shared {
    /// The request by which a script is run with the table in place; `None`: as it is.
    fn rewritten(&self, mut words: Vec<Vec<u8>>) -> Option<Vec<u8>> {
        let command = String::from_utf8_lossy(words.first()?).into_owned();
        let mut sources = self.sources.lock().unwrap();
        if command == "SCRIPT" {
            let source = String::from_utf8(words.pop()?).unwrap();
            sources.insert(sha1_smol::Sha1::from(&source).digest().to_string(), source);
            return None;
        }
        if command != "EVALSHA" || !self.open.load(Ordering::SeqCst) {
            return None;
        }
        let source = &sources[&String::from_utf8_lossy(&words[1]).into_owned()];
        let (engine, body) = source.split_once('\n').unwrap();
        words[0] = b"EVAL".to_vec();
        words[1] = format!("{engine}\n{SHADOW}{body}").into_bytes();
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend(format!("${}\r\n", word.len()).bytes());
            request.extend(word);
            request.extend(b"\r\n");
        }
        Some(request)
    }
}

/// The words of a request, an array of bulk strings.
fn words(request: &[u8]) -> Vec<Vec<u8>> {
    let line_end = |from: usize| from + request[from..].iter().position(|it| *it == b'\r').unwrap();
    let mut at = line_end(0) + 2;
    let mut words = Vec::new();
    while at < request.len() {
        let end = line_end(at);
        let length: usize = std::str::from_utf8(&request[at + 1..end]).unwrap().parse().unwrap();
        words.push(request[end + 2..end + 2 + length].to_vec());
        at = end + 2 + length + 2;
    }
    words
}
