//! A Redis of one's own: started on a free port of the loopback, empty, without persistence, and
//! ended with its owner. The demo and the tests use it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::job::QueueName;
use crate::queue::{ConnectOptions, Queue};

/// How long a server may take until it answers.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(20);
/// How long a process may take to end when it is asked to.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// A free port may be taken by somebody else before the server has it.
pub(super) const TRIES: usize = 5;

/// See the module.
#[derive(Debug)]
pub struct PrivateRedis {
    child: Child,
    port: u16,
    /// The server's working directory, removed with it.
    _directory: TempDir,
}

impl PrivateRedis {
    /// Starts a server by this command line (split at spaces), or by what is on the PATH:
    /// `redis-server`, else `valkey-server`.
    ///
    /// # Errors
    /// When there is none, or it does not answer in time; the text says what to install.
    pub async fn start(command_line: Option<&str>) -> anyhow::Result<Self> {
        let candidates = match command_line {
            Some(given) => vec![given],
            None => vec!["redis-server", "valkey-server"],
        };
        for candidate in &candidates {
            for _ in 0..TRIES {
                match Self::try_start(candidate).await {
                    Ok(Some(redis)) => return Ok(redis),
                    Ok(None) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => break,
                    Err(error) => return Err(error).context(format!("starting {candidate}")),
                }
            }
        }
        bail!(
            "no Redis server could be started ({}): install redis or valkey",
            candidates.join(", ")
        )
    }

    /// One try; `None`: the server ended or never answered.
    async fn try_start(command_line: &str) -> std::io::Result<Option<Self>> {
        let directory = tempfile::tempdir()?;
        let port = free_port().await?;
        let mut words = command_line.split_whitespace();
        let child = Command::new(words.next().unwrap_or("redis-server"))
            .args(words)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "no", "--maxmemory-policy", "noeviction"])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let mut redis = Self { child, port, _directory: directory };
        let deadline = Instant::now() + READY_WITHIN;
        let any = QueueName::new("any").expect("a valid name");
        while Instant::now() < deadline && redis.child.try_wait()?.is_none() {
            let options = ConnectOptions {
                connect_timeout: Duration::from_millis(500),
                ..ConnectOptions::new(redis.url())
            };
            if Queue::connect(options, &any).await.is_ok() {
                return Ok(Some(redis));
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(None)
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its process id, until it has ended.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Its port on the loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it and waits until it is gone.
    ///
    /// # Errors
    /// When the system cannot end it.
    pub async fn stop(mut self) -> std::io::Result<()> {
        end(&mut self.child).await
    }
}

/// Asks a process to end (SIGTERM), which lets a container's client take its container along, and
/// kills it when it has not ended in time.
///
/// # Errors
/// When the system cannot end it.
pub(super) async fn end(child: &mut Child) -> std::io::Result<()> {
    if let Some(id) = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
        kill_process(id, Signal::TERM)?;
    }
    match timeout(ENDS_WITHIN, child.wait()).await {
        Ok(ended) => ended.map(|_| ()),
        Err(_) => child.kill().await,
    }
}

/// A port of the loopback that nobody listens on now.
///
/// # Errors
/// When the loopback has none.
pub async fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port())
}
