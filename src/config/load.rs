//! Makes settings from a file and the environment: finds the file, reads every key, checks what
//! only holds together (docs/contract.md, section 10).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::reader::{ConfigErrors, MASK, Reader, Shown};
use super::values::{log_filter, mask_url, optional_address, path, rate, status_path, usable};
use super::{
    Api, ApiKey, Deliverable, Gateway, Http, Log, LogFormat, OnUnconfirmed, Poll, Queue, Redis,
    Secret, Settings, Submit, Trust, Webhook, Worker,
};
use crate::job::{QueueName, UnknownFields};

/// What a lease must outlast the request time-out by.
const LEASE_OVER_REQUEST: Duration = Duration::from_secs(10);
/// What a stop's grace must outlast the request time-out by.
const SHUTDOWN_OVER_REQUEST: Duration = Duration::from_secs(5);

/// Settings and where they came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// Every setting with its origin, for showing.
    pub shown: Vec<Shown>,
    missing: Vec<String>,
}

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file's name and text.
    pub file: Option<(PathBuf, String)>,
    /// The environment.
    pub environment: Vec<(String, String)>,
}

impl Settings {
    /// Loads from `--config`, else `REELQ_CONFIG`, else `./config/reelq.toml`, else
    /// `/etc/reelq/reelq.toml`, else defaults; the environment goes before the file.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn load(explicit: Option<&Path>) -> Result<Loaded, ConfigErrors> {
        let named = explicit
            .map(|path| path.as_os_str().to_owned())
            .or_else(|| std::env::var_os("REELQ_CONFIG"))
            .filter(|path: &OsString| !path.is_empty());
        let path = match named {
            Some(path) => Some(PathBuf::from(path)),
            None => ["config/reelq.toml", "/etc/reelq/reelq.toml"]
                .into_iter()
                .map(PathBuf::from)
                .find(|path| path.exists()),
        };
        let file = match path {
            None => None,
            Some(path) => match std::fs::read_to_string(&path) {
                Ok(text) => Some((path, text)),
                Err(error) => {
                    return Err(ConfigErrors(vec![format!("{}: {error}", path.display())]));
                }
            },
        };
        let text = |it: OsString| it.into_string().ok();
        let environment =
            std::env::vars_os().filter_map(|(name, it)| Some((text(name)?, text(it)?)));
        Self::from_source(Source { file, environment: environment.collect() })
    }

    /// Loads from what is given and nothing else.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn from_source(source: Source) -> Result<Loaded, ConfigErrors> {
        let (file, text) = source.file.unzip();
        let name = file.as_ref().map_or("the file".to_owned(), |path| path.display().to_string());
        let mut read = Reader::new(&name, text.as_deref().unwrap_or(""), source.environment);
        if !read.errors.is_empty() {
            return Err(ConfigErrors(read.errors));
        }
        let mut missing = Vec::new();
        let settings = Self {
            redis: redis(&mut read),
            queue: queue(&mut read),
            api: api(&mut read, &mut missing),
            submit: submit(&mut read),
            poll: poll(&mut read),
            worker: Worker { shutdown_grace: read.duration("worker.shutdown_grace", "40s") },
            http: Http { listen: read.parsed("http.listen", "127.0.0.1:9464", optional_address) },
            gateway: gateway(&mut read),
            webhook: webhook(&mut read),
            log: Log {
                format: read.word(
                    "log.format",
                    &[
                        ("auto", LogFormat::Auto),
                        ("text", LogFormat::Text),
                        ("json", LogFormat::Json),
                    ],
                ),
                filter: read.parsed("log.filter", "info", log_filter),
            },
        };
        read.note_unknown();
        check_together(&settings, &mut read.errors);
        if read.errors.is_empty() {
            return Ok(Loaded { settings, file, shown: read.shown, missing });
        }
        read.errors.extend(missing);
        Err(ConfigErrors(read.errors))
    }
}

impl Loaded {
    /// The settings of the API, which only those need that call it.
    ///
    /// # Errors
    /// Every setting that is missing, and every secret that cannot be read.
    pub fn api(&self) -> Result<&Api, ConfigErrors> {
        match &self.settings.api {
            Some(api) if self.missing.is_empty() => Ok(api),
            _ => {
                let mut mistakes = self.missing.clone();
                if self.file.is_none() {
                    mistakes.push("(no configuration file was found; see --config)".to_owned());
                }
                Err(ConfigErrors(mistakes))
            }
        }
    }
}

impl Secret {
    /// The secret; a file is read anew each time.
    ///
    /// # Errors
    /// Names the file and why it could not be read; never what is in it.
    pub fn read(&self) -> Result<SecretString, std::io::Error> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(SecretString::from(text.trim_end_matches(['\r', '\n']).to_owned())),
                Err(error) => {
                    let text = format!("{}: {error}", path.display());
                    Err(std::io::Error::new(error.kind(), text))
                }
            },
        }
    }
}

fn redis(read: &mut Reader) -> Redis {
    let url = read.masked("redis.url", "redis://127.0.0.1:6379", mask_url);
    let scheme = url.split("://").next().unwrap_or_default();
    if scheme.ends_with("+sentinel") || scheme.ends_with("+cluster") {
        read.errors.push(format!("redis.url: {scheme}:// is reserved and not supported yet"));
    } else if !["redis", "rediss", "unix"].contains(&scheme) {
        read.errors.push("redis.url: must begin with redis://, rediss:// or unix://".to_owned());
    }
    let redis = Redis {
        url: url.into(),
        username: read.optional("redis.username"),
        password: read.secret("redis.password"),
        ca_file: read.path("redis.ca_file"),
        cert_file: read.path("redis.cert_file"),
        key_file: read.path("redis.key_file"),
        connect_timeout: read.duration("redis.connect_timeout", "5s"),
        response_timeout: read.duration("redis.response_timeout", "5s"),
    };
    if redis.cert_file.is_some() != redis.key_file.is_some() {
        read.errors
            .push("redis.cert_file: needs redis.key_file, and the other way round".to_owned());
    }
    redis
}

fn queue(read: &mut Reader) -> Queue {
    Queue {
        name: read.parsed("queue.name", "video", |it| QueueName::new(it).map_err(str::to_owned)),
        completed_retention: read.duration("queue.completed_retention", "48h"),
        failed_retention: read.duration("queue.failed_retention", "14d"),
        results_retention: read.duration("queue.results_retention", "48h"),
        results_max_age: read.duration("queue.results_max_age", "14d"),
        lease: read.duration("queue.lease", "60s"),
        unknown_fields: read.word(
            "queue.unknown_fields",
            &[("reject", UnknownFields::Reject), ("pass", UnknownFields::Pass)],
        ),
    }
}

fn api(read: &mut Reader, missing: &mut Vec<String>) -> Option<Api> {
    let base_url = read.optional("api.base_url");
    let client_id = read.optional("api.client_id");
    let client_secret = read.secret("api.client_secret");
    let api_key = read.secret("api.api_key");
    let token_path = read.parsed("api.token_path", "/getToken", path);
    let submit_path = read.parsed("api.submit_path", "/video/demo", path);
    let status_path = read.parsed("api.status_path", "/status/{id}", status_path);
    let connect_timeout = read.duration("api.connect_timeout", "5s");
    let request_timeout = read.duration("api.request_timeout", "30s");
    let max_response_bytes = read.positive("api.max_response_bytes", "1048576");
    let allow_plain_http = read.number("api.allow_plain_http", "false", "true or false");
    for (name, given) in [
        ("base_url", base_url.is_some()),
        ("client_id", client_id.is_some()),
        ("client_secret", client_secret.is_some()),
        ("api_key", api_key.is_some()),
    ] {
        if !given {
            missing.push(format!("api.{name}: missing; a worker needs it"));
        }
    }
    for (name, secret) in [("client_secret", &client_secret), ("api_key", &api_key)] {
        if let Some(Err(error)) = secret.as_ref().map(Secret::read) {
            missing.push(format!("api.{name}_file: {error}"));
        }
    }
    let base_url = match usable(&base_url?, allow_plain_http) {
        Ok(url) => url,
        Err(why) => {
            read.errors.push(format!("api.base_url: {why}"));
            return None;
        }
    };
    Some(Api {
        base_url,
        client_id: client_id?,
        client_secret: client_secret?,
        api_key: api_key?,
        token_path,
        submit_path,
        status_path,
        connect_timeout,
        request_timeout,
        max_response_bytes,
        allow_plain_http,
    })
}

fn submit(read: &mut Reader) -> Submit {
    Submit {
        concurrency: read.positive("submit.concurrency", "32"),
        rate: read.parsed("submit.rate", "", rate),
        backoff_initial: read.duration("submit.backoff_initial", "1s"),
        backoff_multiplier: read.between("submit.backoff_multiplier", "2.0", 1.0, 100.0),
        backoff_max: read.duration("submit.backoff_max", "60s"),
        jitter: read.between("submit.jitter", "0.5", 0.0, 1.0),
        max_attempts: read.number("submit.max_attempts", "20", "a whole number"),
        max_age: read.duration("submit.max_age", "24h"),
        on_unconfirmed: read.word(
            "submit.on_unconfirmed",
            &[("resubmit", OnUnconfirmed::Resubmit), ("hold", OnUnconfirmed::Hold)],
        ),
        unconfirmed_grace: read.duration("submit.unconfirmed_grace", "30s"),
        max_unconfirmed: read.number("submit.max_unconfirmed", "2", "a whole number"),
    }
}

fn poll(read: &mut Reader) -> Poll {
    Poll {
        concurrency: read.positive("poll.concurrency", "64"),
        rate: read.parsed("poll.rate", "", rate),
        first: read.duration("poll.first", "1s"),
        multiplier: read.between("poll.multiplier", "1.6", 1.0, 100.0),
        max: read.duration("poll.max", "30s"),
        jitter: read.between("poll.jitter", "0.2", 0.0, 1.0),
        deadline: read.duration("poll.deadline", "30m"),
        abandon_after: read.duration("poll.abandon_after", "24h"),
        not_found_grace: read.duration("poll.not_found_grace", "60s"),
        deliverable: read.word(
            "poll.deliverable",
            &[
                ("video", Deliverable::Video),
                ("image", Deliverable::Image),
                ("any", Deliverable::Any),
            ],
        ),
    }
}

fn gateway(read: &mut Reader) -> Gateway {
    let listen = read.number("gateway.listen", "127.0.0.1:8787", "an address like 127.0.0.1:8787");
    let mask = |text: &str| if text.is_empty() { String::new() } else { MASK.to_owned() };
    let mut api_keys = Vec::new();
    for named in read.masked("gateway.api_keys", "", mask).split(',').filter(|it| !it.is_empty()) {
        match named.trim().split_once(':') {
            Some((name, key)) if !name.is_empty() && !key.is_empty() => {
                api_keys.push(ApiKey { name: name.to_owned(), key: SecretString::from(key) });
            }
            _ => read.errors.push("gateway.api_keys: each must be name:key".to_owned()),
        }
    }
    Gateway { listen, api_keys }
}

fn webhook(read: &mut Reader) -> Webhook {
    Webhook {
        trust: read.word("webhook.trust", &[("verify", Trust::Verify), ("accept", Trust::Accept)]),
        secret: read.secret("webhook.secret"),
        allowed_ips: read.parsed("webhook.allowed_ips", "", |text| {
            let addresses = text.split(',').map(str::trim).filter(|it| !it.is_empty());
            let addresses: Result<_, _> = addresses.map(str::parse).collect();
            addresses.map_err(|_| "must be IP addresses".to_owned())
        }),
    }
}

fn check_together(settings: &Settings, errors: &mut Vec<String>) {
    let request = settings.api.as_ref().map_or(Duration::ZERO, |api| api.request_timeout);
    let mut at_least = |key: &str, value: Duration, least: Duration, why: &str| {
        if value < least {
            errors.push(format!("{key}: must be at least {} s ({why})", least.as_secs_f64()));
        }
    };
    at_least(
        "queue.lease",
        settings.queue.lease,
        request + LEASE_OVER_REQUEST,
        "api.request_timeout + 10 s",
    );
    let grace = settings.worker.shutdown_grace;
    at_least(
        "worker.shutdown_grace",
        grace,
        request + SHUTDOWN_OVER_REQUEST,
        "api.request_timeout + 5 s",
    );
    let grace = settings.submit.unconfirmed_grace;
    at_least("submit.unconfirmed_grace", grace, request, "api.request_timeout");
    let webhook = &settings.webhook;
    if webhook.trust == Trust::Accept && webhook.secret.is_none() && webhook.allowed_ips.is_empty()
    {
        let needs = "webhook.trust: \"accept\" needs webhook.secret or webhook.allowed_ips";
        errors.push(needs.to_owned());
    }
    let gateway = &settings.gateway;
    if !gateway.listen.ip().is_loopback() && gateway.api_keys.is_empty() {
        errors
            .push("gateway.listen: an address others can reach needs gateway.api_keys".to_owned());
    }
}

impl Redis {
    /// Where Redis is, without a password.
    #[must_use]
    pub fn shown(&self) -> String {
        mask_url(self.url.expose_secret())
    }

    /// How to connect, for the queue.
    ///
    /// # Errors
    /// A file that cannot be read, by its setting's name.
    pub fn connect_options(&self) -> Result<crate::config::RedisConnection, ConfigErrors> {
        let read = |key: &str, path: &Option<PathBuf>| {
            let content = path.as_ref().map(std::fs::read).transpose();
            content.map_err(|error| ConfigErrors(vec![format!("redis.{key}: {error}")]))
        };
        let password = self.password.as_ref().map(Secret::read).transpose();
        let password = password
            .map_err(|error| ConfigErrors(vec![format!("redis.password_file: {error}")]))?;
        Ok(crate::config::RedisConnection {
            url: self.url.expose_secret().to_owned(),
            password: password.map(|it| it.expose_secret().to_owned()),
            ca: read("ca_file", &self.ca_file)?,
            certificate: read("cert_file", &self.cert_file)?,
            key: read("key_file", &self.key_file)?,
        })
    }
}
