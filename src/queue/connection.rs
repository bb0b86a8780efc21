//! Connections to Redis: how they are opened, how a script is called, what is said in plain commands.
//!
//! Every time-out is explicit (the client's default of 500 ms is far too short for a busy
//! server, and the timed-out command still runs). A dropped connection is made again by the
//! client's manager; the call that noticed fails and its caller decides whether to repeat it. What
//! the client calls a connection is known in this file alone: every answer comes by it, so every
//! lost server and every missing right is noticed here.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo, Pipeline};
use redis::{ErrorKind, ProtocolVersion, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::error::{QueueError, is_missing_right};
use super::scripts::{Call, SCRIPTS};
use super::wire::command;

/// Where Redis is, and how patient to be with it.
#[derive(Clone)]
pub struct ConnectOptions {
    /// `redis://`, `rediss://` or `unix://`.
    pub url: String,
    /// ACL user; replaces one in the URL.
    pub username: Option<String>,
    /// Password; replaces one in the URL.
    pub password: Option<String>,
    /// Certificates for `rediss://`; without them the public authorities are trusted.
    pub tls: Option<redis::TlsCertificates>,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long an answer may take.
    pub response_timeout: Duration,
}

impl ConnectOptions {
    /// Options for a URL, with five seconds of patience.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            username: None,
            password: None,
            tls: None,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(5),
        }
    }

    fn manager_config(&self) -> ConnectionManagerConfig {
        ConnectionManagerConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.response_timeout))
            .set_number_of_retries(1)
    }

    fn client(&self) -> Result<Client, QueueError> {
        // The error of a malformed URL would repeat it, and with it a password.
        let refuse = |_| {
            let hint = "redis.url is no usable redis://, rediss:// or unix:// address";
            QueueError::Misconfigured(hint.to_owned())
        };
        let info = self.url.as_str().into_connection_info().map_err(refuse)?;
        // Whatever the address asks for: replies are read as that version gives them.
        let mut login = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        if let Some(username) = &self.username {
            login = login.set_username(username);
        }
        if let Some(password) = &self.password {
            login = login.set_password(password);
        }
        let tcp = TcpSettings::default().set_nodelay(true);
        let info = info.set_redis_settings(login).set_tcp_settings(tcp);
        match &self.tls {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
            None => Client::open(info),
        }
        .map_err(|error| QueueError::Misconfigured(format!("redis: {error}")))
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions").finish_non_exhaustive()
    }
}

/// A shared connection that is made again when it breaks, falls silent, or leads to a server that
/// is no master any more.
#[derive(Clone)]
pub struct Connection {
    manager: Arc<RwLock<ConnectionManager>>,
    client: Client,
    options: Arc<ConnectOptions>,
    /// Told when the server refused something for want of a right.
    right_refused: Arc<Notify>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects and loads the scripts.
    ///
    /// # Errors
    /// [`QueueError::Misconfigured`] for a bad address, else what the server answered.
    pub async fn open(options: ConnectOptions) -> Result<Self, QueueError> {
        // Fails when the application has chosen a provider itself, which then serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = options.client()?;
        let manager = client.get_connection_manager_with_config(options.manager_config()).await?;
        let manager = Arc::new(RwLock::new(manager));
        let options = Arc::new(options);
        let connection = Self { manager, client, options, right_refused: Arc::default() };
        // A single command says more clearly than ten what is wrong.
        connection.query::<()>(&command("PING")).await?;
        connection.load_scripts().await?;
        Ok(connection)
    }

    /// One more connection of the same kind, for traffic that must not wait behind this one's.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn another(&self) -> Result<Self, QueueError> {
        let opened = Self::open((*self.options).clone()).await?;
        Ok(Self { right_refused: Arc::clone(&self.right_refused), ..opened })
    }

    /// Returns when the server has refused something for want of a right, here or on a connection
    /// that was made from this one, since the last time.
    pub async fn right_refused(&self) {
        self.right_refused.notified().await;
    }

    /// A connection for blocking reads. It is never reused after an error or a time-out: a
    /// blocked read that outlives its caller swallows the next message.
    pub(super) async fn blocking(&self, block: Duration) -> Result<Blocking, QueueError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.connect_timeout))
            .set_response_timeout(Some(self.options.response_timeout + block));
        let opened = self.client.get_multiplexed_async_connection_with_config(&config).await;
        Ok(Blocking { opened: self.heeded(opened)?, connection: self.clone() })
    }

    /// What is published on a channel from now on, until the connection is lost. A message that is
    /// no text is empty.
    pub(super) async fn messages(
        &self,
        channel: &str,
    ) -> Result<impl Stream<Item = String> + use<>, QueueError> {
        let opening = self.client.get_async_pubsub();
        let mut subscription = match timeout(self.options.connect_timeout, opening).await {
            Ok(opened) => opened?,
            Err(_) => return Err(QueueError::io(std::io::ErrorKind::TimedOut)),
        };
        subscription.subscribe(channel).await?;
        let text = |message: redis::Msg| message.get_payload().unwrap_or_default();
        Ok(subscription.into_on_message().map(text))
    }

    /// Calls one script.
    ///
    /// # Errors
    /// What the server answered; a lost reply is an error although the script may have run, and
    /// the call may be repeated.
    pub(super) async fn call<T: FromRedisValue>(&self, call: &Call) -> Result<T, QueueError> {
        match self.query(call.command()).await {
            Err(QueueError::Unavailable(error)) if is_no_script(&error) => {
                self.load_scripts().await?;
                self.query(call.command()).await
            }
            answer => answer,
        }
    }

    /// Calls several scripts in one round trip; the pipeline holds their commands.
    ///
    /// # Errors
    /// The first error of any of them; all of them may be repeated.
    pub(super) async fn call_all(&self, calls: &mut Pipeline) -> Result<Vec<Value>, QueueError> {
        match self.try_all(calls).await {
            Err(QueueError::Unavailable(error)) if is_no_script(&error) => {
                self.load_scripts().await?;
                self.try_all(calls).await
            }
            answer => answer,
        }
    }

    /// As a failure of the whole pipeline, an error would not tell its kind.
    async fn try_all(&self, calls: &mut Pipeline) -> Result<Vec<Value>, QueueError> {
        let replies: Vec<RedisResult<Value>> = self.pipeline(calls.ignore_errors()).await?;
        replies.into_iter().map(|reply| self.noted(reply)).collect()
    }

    /// Sends plain commands in one round trip.
    pub(super) async fn pipeline<T: FromRedisValue>(
        &self,
        pipeline: &Pipeline,
    ) -> Result<T, QueueError> {
        self.noted(pipeline.query_async(&mut self.manager()).await)
    }

    /// Sends one plain command.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, QueueError> {
        self.noted(command.query_async(&mut self.manager()).await)
    }

    fn manager(&self) -> ConnectionManager {
        self.manager.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The answer to something that was sent on another connection of this server.
    fn heeded<T>(&self, answer: RedisResult<T>) -> Result<T, QueueError> {
        if answer.as_ref().is_err_and(is_missing_right) {
            self.right_refused.notify_one();
        }
        Ok(answer?)
    }

    /// The manager makes its connection again when it breaks, but not when nothing comes back
    /// any more or the server has become a replica: then another one takes its place, which
    /// resolves the server's name anew.
    fn noted<T>(&self, answer: RedisResult<T>) -> Result<T, QueueError> {
        let error = match answer {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let read_only = ErrorKind::Server(ServerErrorKind::ReadOnly);
        if error.is_timeout() || error.kind() == read_only {
            let config = self.options.manager_config();
            if let Ok(another) =
                ConnectionManager::new_lazy_with_config(self.client.clone(), config)
            {
                *self.manager.write().unwrap_or_else(PoisonError::into_inner) = another;
            }
        }
        self.heeded(Err(error))
    }

    async fn load_scripts(&self) -> Result<(), QueueError> {
        let mut pipeline = redis::pipe();
        for script in &*SCRIPTS {
            let mut load = command("SCRIPT");
            load.arg("LOAD").arg(&script.source);
            pipeline.add_command(load).ignore();
        }
        self.pipeline(&pipeline).await
    }
}

/// A connection for the blocking reads of one reader.
pub(super) struct Blocking {
    opened: MultiplexedConnection,
    connection: Connection,
}

impl fmt::Debug for Blocking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").finish_non_exhaustive()
    }
}

impl Blocking {
    /// Sends a plain command that may block for as long as the connection was opened for.
    pub(super) async fn query<T: FromRedisValue>(
        &mut self,
        command: &Cmd,
    ) -> Result<T, QueueError> {
        self.connection.heeded(command.query_async(&mut self.opened).await)
    }
}

fn is_no_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
