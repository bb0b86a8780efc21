//! The settings as types, one for each section; whoever holds one need not check it again.
//!
//! `sections` makes them, `super::load` puts them together; everybody else only reads them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

use super::address::{ApiPath, BaseUrl, StatusPath};
use super::api_keys::ApiKeys;
use super::secret::Secret;
use crate::job::{QueueName, UnknownFields};

/// What is kept of a lease for writing the outcome: a call is over so long before its lease ends.
pub const LEASE_RESERVE: Duration = Duration::from_secs(10);

/// Every setting, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[redis]`
    pub redis: Redis,
    /// `[queue]`
    pub queue: Queue,
    /// `[api]`; `None` while the settings without a default are missing.
    pub api: Option<Api>,
    /// `[submit]`
    pub submit: Submit,
    /// `[poll]`
    pub poll: Poll,
    /// `[worker]`
    pub worker: Worker,
    /// `[http]`
    pub http: Http,
    /// `[gateway]`
    pub gateway: Gateway,
    /// `[webhook]`
    pub webhook: Webhook,
    /// `[log]`
    pub log: Log,
}

/// `[redis]`
#[derive(Clone, Debug)]
pub struct Redis {
    /// Where Redis is: `redis://`, `rediss://` or `unix://`. May hold a password: never shown.
    pub url: SecretString,
    /// ACL user.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// PEM file of the authority that signed the server's certificate.
    pub ca_file: Option<PathBuf>,
    /// PEM file of our own certificate.
    pub cert_file: Option<PathBuf>,
    /// PEM file of its key.
    pub key_file: Option<PathBuf>,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long an answer may take.
    pub response_timeout: Duration,
}

/// `[queue]`
#[derive(Clone, Debug)]
pub struct Queue {
    /// The queue's name.
    pub name: QueueName,
    /// How long the record of a completed job is kept.
    pub completed_retention: Duration,
    /// How long the record of any other ended job is kept.
    pub failed_retention: Duration,
    /// How long results that every group acknowledged are kept.
    pub results_retention: Duration,
    /// How long unacknowledged results are kept.
    pub results_max_age: Duration,
    /// How long a worker may hold a job.
    pub lease: Duration,
    /// What to do with request fields that the API does not document.
    pub unknown_fields: UnknownFields,
}

/// `[api]`
#[derive(Clone, Debug)]
pub struct Api {
    /// Where the API is.
    pub base_url: BaseUrl,
    /// Who we are.
    pub client_id: String,
    /// Proof of it.
    pub client_secret: Secret,
    /// Sent as `x-api-key`.
    pub api_key: Secret,
    /// Path of the token call.
    pub token_path: ApiPath,
    /// Path of the submit call.
    pub submit_path: ApiPath,
    /// Path of the status call.
    pub status_path: StatusPath,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a call may take, connection included.
    pub request_timeout: Duration,
    /// The largest answer that is read.
    pub max_response_bytes: usize,
}

/// `[submit]`
#[derive(Clone, Debug)]
pub struct Submit {
    /// Submits in flight in this process.
    pub concurrency: usize,
    /// Submits a second for the whole fleet.
    pub rate: Option<Rate>,
    /// The first wait after a fault.
    pub backoff_initial: Duration,
    /// What each further wait is multiplied with.
    pub backoff_multiplier: f64,
    /// The longest wait.
    pub backoff_max: Duration,
    /// The part of a wait that is random, 0 to 1.
    pub jitter: f64,
    /// Faults that count before a job fails.
    pub max_attempts: u32,
    /// How long a job may wait for its submit.
    pub max_age: Duration,
    /// What to do after a POST whose answer never came.
    pub on_unconfirmed: OnUnconfirmed,
    /// How long to wait before such a POST is sent again.
    pub unconfirmed_grace: Duration,
    /// How often such a POST is sent again.
    pub max_unconfirmed: u32,
    /// For how long the API may refuse a job while it accepts others.
    pub refused_grace: Duration,
}

/// `[poll]`
#[derive(Clone, Debug)]
pub struct Poll {
    /// Status checks in flight in this process.
    pub concurrency: usize,
    /// Status checks a second for the whole fleet.
    pub rate: Option<Rate>,
    /// The wait before the first check.
    pub first: Duration,
    /// What each further wait is multiplied with.
    pub multiplier: f64,
    /// The longest wait.
    pub max: Duration,
    /// The part of a wait that is random, 0 to 1.
    pub jitter: f64,
    /// How long after its acceptance a video may take.
    pub deadline: Duration,
    /// When to give up although no answer was understood.
    pub abandon_after: Duration,
    /// How long the API may not know a transaction it accepted.
    pub not_found_grace: Duration,
    /// Which URL ends a job.
    pub deliverable: Deliverable,
}

/// `[worker]`
#[derive(Clone, Debug)]
pub struct Worker {
    /// How long a stop may take.
    pub shutdown_grace: Duration,
}

/// `[http]`
#[derive(Clone, Debug)]
pub struct Http {
    /// Where health and metrics are served; `None`: nowhere.
    pub listen: Option<SocketAddr>,
}

/// `[gateway]`
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Where the gateway is served.
    pub listen: SocketAddr,
    /// Who may use `/v1`; `None`: whoever reaches a loopback address, elsewhere nobody.
    pub api_keys: Option<ApiKeys>,
}

/// `[webhook]`
#[derive(Clone, Debug)]
pub struct Webhook {
    /// What an unsigned push is worth.
    pub trust: Trust,
    /// What a push must show: one of its lines.
    pub secret: Option<Secret>,
    /// Where a push must come from; empty: from anywhere.
    pub allowed_ips: Vec<IpNet>,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// What is logged, in `tracing` filter syntax.
    pub filter: String,
}

/// What to do after a POST whose answer never came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnconfirmed {
    /// Send it again after the grace.
    Resubmit,
    /// Hold it for a push or an operator.
    Hold,
}

/// Which URL ends a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deliverable {
    /// The video.
    Video,
    /// The image.
    Image,
    /// Whichever is there first.
    Any,
}

/// What an unsigned push is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// A push makes the next check happen now.
    Verify,
    /// A push is believed.
    Accept,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Readable lines.
    Text,
    /// One JSON object a line.
    Json,
}

/// Calls a second for the whole fleet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(pub f64);
