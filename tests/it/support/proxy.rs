//! A proxy in front of Redis that loses replies: the command is carried out, its reply never
//! arrives, and the connection is cut, as when a network breaks at that moment.
//!
//! What counts are the commands that concern one job: those whose request or reply mentions its
//! id. The n-th of them is told by its place in that order, over all connections.
//!
//! It can also leave connections open and silent, and lead new ones to another Redis.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// See the module. Dropping it ends every connection.
pub(crate) struct Proxy {
    port: u16,
    losses: Arc<Mutex<Losses>>,
    redis: Arc<Mutex<String>>,
    /// Sent to when the connections that are open then fall silent.
    silence: watch::Sender<()>,
    _tasks: JoinSet<()>,
}

/// Whose replies are lost.
#[derive(Debug, Default)]
struct Losses {
    /// The job's id as it stands in requests and replies.
    id: Vec<u8>,
    /// Which of its replies, counted from 1.
    lost: BTreeSet<usize>,
    seen: usize,
}

impl Losses {
    /// Whether this reply is to be lost.
    fn take(&mut self, concerned: bool) -> bool {
        if !concerned {
            return false;
        }
        self.seen += 1;
        self.lost.contains(&self.seen)
    }

    fn is_mentioned_in(&self, bytes: &[u8]) -> bool {
        !self.id.is_empty() && bytes.windows(self.id.len()).any(|window| window == self.id)
    }
}

impl Proxy {
    /// A proxy in front of the Redis at this address.
    pub(crate) async fn start(redis_url: &str) -> Self {
        let redis = Arc::new(Mutex::new(address(redis_url)));
        let (silence, _) = watch::channel(());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let losses = Arc::<Mutex<Losses>>::default();
        let mut tasks = JoinSet::new();
        let shared = (Arc::clone(&losses), Arc::clone(&redis), silence.clone());
        tasks.spawn(async move {
            let (losses, redis, silence) = shared;
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let redis = redis.lock().unwrap().clone();
                // Without a server the client's connection ends.
                let Ok(server) = TcpStream::connect(redis).await else { continue };
                let carried = carry(client, server, Arc::clone(&losses));
                connections.spawn(until_silent(carried, silence.subscribe()));
            }
        });
        Self { port, losses, redis, silence, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on loses these replies to commands that concern this job.
    pub(crate) fn lose(&self, id: &str, lost: impl IntoIterator<Item = usize>) {
        let (id, lost) = (id.as_bytes().to_vec(), lost.into_iter().collect());
        *self.losses.lock().unwrap() = Losses { id, lost, seen: 0 };
    }

    /// From now on nothing comes through the connections that are open, and they stay open.
    pub(crate) fn fall_silent(&self) {
        self.silence.send_replace(());
    }

    /// From now on new connections lead to the Redis at this address.
    pub(crate) fn lead_to(&self, redis_url: &str) {
        *self.redis.lock().unwrap() = address(redis_url);
    }

    /// From now on there is no server for anybody.
    pub(crate) fn lead_nowhere(&self) {
        self.lead_to("redis://127.0.0.1:1");
        self.fall_silent();
    }

    /// How many commands have concerned the job so far.
    pub(crate) fn seen(&self) -> usize {
        self.losses.lock().unwrap().seen
    }
}

pub(crate) fn address(redis_url: &str) -> String {
    redis_url.trim_start_matches("redis://").to_owned()
}

/// Carries a connection until it ends, or is to be left open and silent.
async fn until_silent(carried: impl Future<Output = ()>, mut silence: watch::Receiver<()>) {
    let mut carried = std::pin::pin!(carried);
    tokio::select! {
        () = &mut carried => return,
        _ = silence.changed() => {}
    }
    std::future::pending::<()>().await;
}

/// Requests whose replies are to come, by whether they mention the job.
type Awaited = Arc<Mutex<VecDeque<bool>>>;

/// Carries one connection until either side ends it or a reply is lost.
async fn carry(client: TcpStream, server: TcpStream, losses: Arc<Mutex<Losses>>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let awaited = Awaited::default();
    tokio::select! {
        () = requests(from_client, to_server, Arc::clone(&awaited), Arc::clone(&losses)) => {}
        () = replies(from_server, to_client, awaited, losses) => {}
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    awaited: Awaited,
    losses: Arc<Mutex<Losses>>,
) {
    let mut buffer = Vec::new();
    while from.read_buf(&mut buffer).await.is_ok_and(|length| length > 0) {
        while let Some(length) = frame(&buffer) {
            let request: Vec<u8> = buffer.drain(..length).collect();
            let mentioned = losses.lock().unwrap().is_mentioned_in(&request);
            awaited.lock().unwrap().push_back(mentioned);
            if to.write_all(&request).await.is_err() {
                return;
            }
        }
    }
}

async fn replies(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    awaited: Awaited,
    losses: Arc<Mutex<Losses>>,
) {
    let mut buffer = Vec::new();
    while from.read_buf(&mut buffer).await.is_ok_and(|length| length > 0) {
        while let Some(length) = frame(&buffer) {
            let reply: Vec<u8> = buffer.drain(..length).collect();
            // Messages of a subscription have no request.
            let asked = awaited.lock().unwrap().pop_front().unwrap_or(false);
            let lost = {
                let mut losses = losses.lock().unwrap();
                let concerned = asked || losses.is_mentioned_in(&reply);
                losses.take(concerned)
            };
            if lost || to.write_all(&reply).await.is_err() {
                return;
            }
        }
    }
}

/// The length of the first whole value in Redis's protocol (RESP2); `None`: there is none yet.
pub(crate) fn frame(bytes: &[u8]) -> Option<usize> {
    let line_end = bytes.windows(2).position(|window| window == b"\r\n")? + 2;
    let number = || std::str::from_utf8(&bytes[1..line_end - 2]).unwrap().parse::<i64>().unwrap();
    let whole = match bytes[0] {
        b'$' => line_end + usize::try_from(number()).map_or(0, |length| length + 2),
        b'*' => {
            let mut end = line_end;
            for _ in 0..number() {
                end += frame(bytes.get(end..)?)?;
            }
            end
        }
        _ => line_end,
    };
    (whole <= bytes.len()).then_some(whole)
}

#[test]
fn frames_are_whole_values() {
    for whole in ["+OK\r\n", ":12\r\n", "$3\r\na\r\n\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n"] {
        assert_eq!(frame(whole.as_bytes()), Some(whole.len()), "{whole:?}");
        assert_eq!(frame(format!("{whole}+more").as_bytes()), Some(whole.len()), "{whole:?}");
    }
    let nested = "*2\r\n*1\r\n$2\r\nab\r\n:7\r\n";
    assert_eq!(frame(nested.as_bytes()), Some(nested.len()));
    for part in (0..nested.len()).map(|length| &nested[..length]) {
        assert_eq!(frame(part.as_bytes()), None, "{part:?}");
    }
}
