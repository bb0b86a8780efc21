//! Reads the settings section by section: each key with its default and what it must look like.

use std::io;
use std::str::FromStr;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::address::{ApiPath, BaseUrl, StatusPath};
use super::api_keys::ApiKeys;
use super::mask::{mask_path, mask_url};
use super::reader::Reader;
use super::secret::Secret;
use super::settings::{
    Api, Deliverable, Gateway, Http, Log, LogFormat, OnUnconfirmed, Poll, Queue, Redis, Submit,
    Trust, Webhook, Worker,
};
use super::values::{addresses, log_filter, optional_address, rate, redis_url};
use crate::job::{QueueName, UnknownFields};

pub(super) fn redis(read: &mut Reader) -> Redis {
    let url = read.masked("redis.url", "redis://127.0.0.1:6379", redis_url, mask_url);
    let is_tls = url.expose_secret().starts_with("rediss://");
    let redis = Redis {
        url,
        username: read.text("redis.username"),
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
    if (redis.ca_file.is_some() || redis.cert_file.is_some()) && !is_tls {
        let needs = "redis.ca_file, redis.cert_file: need a redis.url that begins with rediss://";
        read.errors.push(needs.to_owned());
    }
    redis
}

pub(super) fn queue(read: &mut Reader) -> Queue {
    Queue {
        name: read.parsed("queue.name", "video", |it| QueueName::new(it)),
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

/// `[api]` as far as it was found.
pub(super) struct FoundApi {
    /// All of it, if nothing is missing.
    pub(super) api: Option<Api>,
    pub(super) request_timeout: Duration,
    /// What is wrong for those only that call the API.
    pub(super) missing: Vec<String>,
}

pub(super) fn api(read: &mut Reader) -> FoundApi {
    let base_url = read.optional("api.base_url", BaseUrl::from_str, mask_url);
    let client_id = read.text("api.client_id");
    let client_secret = read.secret("api.client_secret");
    let api_key = read.secret("api.api_key");
    let token_path = read.masked("api.token_path", "/getToken", ApiPath::from_str, mask_path);
    let submit_path = read.masked("api.submit_path", "/video/demo", ApiPath::from_str, mask_path);
    let status_path =
        read.masked("api.status_path", "/status/{id}", StatusPath::from_str, mask_path);
    let connect_timeout = read.duration("api.connect_timeout", "5s");
    let request_timeout = read.duration("api.request_timeout", "30s");
    let max_response_bytes = read.positive("api.max_response_bytes", "1048576");
    let allow_plain_http: bool = read.number("api.allow_plain_http", "false", "true or false");
    let mut missing = Vec::new();
    for (key, is_missing) in [
        ("api.base_url", matches!(base_url, Ok(None))),
        ("api.client_id", client_id.is_none()),
        ("api.client_secret", client_secret.is_none()),
        ("api.api_key", api_key.is_none()),
    ] {
        if is_missing {
            missing.push(format!("{key}: missing; a worker needs it"));
        }
    }
    missing.extend(unreadable("api.client_secret", client_secret.as_ref(), Secret::read));
    missing.extend(unreadable("api.api_key", api_key.as_ref(), Secret::read_header));
    let base_url = base_url.ok().flatten();
    if base_url.as_ref().is_some_and(|it| !allow_plain_http && it.is_open_http()) {
        let must = "must be https:// (or the host loopback, or api.allow_plain_http = true)";
        read.errors.push(format!("api.base_url: {must}"));
    }
    let api = || {
        Some(Api {
            base_url: base_url?,
            client_id: client_id?,
            client_secret: client_secret?,
            api_key: api_key?,
            token_path,
            submit_path,
            status_path,
            connect_timeout,
            request_timeout,
            max_response_bytes,
        })
    };
    FoundApi { api: api(), request_timeout, missing }
}

/// What is wrong with a secret that cannot be read now.
fn unreadable<T>(
    key: &str,
    secret: Option<&Secret>,
    read: impl Fn(&Secret) -> io::Result<T>,
) -> Option<String> {
    let secret = secret?;
    read(secret).err().map(|error| format!("{}: {error}", secret.setting(key)))
}

pub(super) fn submit(read: &mut Reader) -> Submit {
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
        refused_grace: read.duration("submit.refused_grace", "15m"),
    }
}

pub(super) fn poll(read: &mut Reader) -> Poll {
    Poll {
        concurrency: read.positive("poll.concurrency", "64"),
        rate: read.parsed("poll.rate", "", rate),
        first: read.duration("poll.first", "1s"),
        multiplier: read.between("poll.multiplier", "1.6", 1.0, 100.0),
        max: read.duration("poll.max", "30s"),
        jitter: read.between("poll.jitter", "0.2", 0.0, 1.0),
        deadline: read.duration("poll.deadline", "30m"),
        abandon_after: read.duration("poll.abandon_after", "24h"),
        not_found_grace: read.duration("poll.not_found_grace", "10m"),
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

pub(super) fn worker(read: &mut Reader) -> Worker {
    Worker { shutdown_grace: read.duration("worker.shutdown_grace", "40s") }
}

pub(super) fn http(read: &mut Reader) -> Http {
    Http { listen: read.parsed("http.listen", "127.0.0.1:9464", optional_address) }
}

pub(super) fn gateway(read: &mut Reader) -> Gateway {
    let what = "an address like 127.0.0.1:8787";
    let listen = read.number("gateway.listen", "127.0.0.1:8787", what);
    let api_keys = read.secret("gateway.api_keys").map(ApiKeys);
    // A file is read when it is needed.
    let given_here = api_keys.as_ref().filter(|it| matches!(it, ApiKeys(Secret::Text(_))));
    if let Some(Err(error)) = given_here.map(ApiKeys::read) {
        read.errors.push(format!("gateway.api_keys: {error}"));
    }
    Gateway { listen, api_keys }
}

pub(super) fn webhook(read: &mut Reader) -> Webhook {
    Webhook {
        trust: read.word("webhook.trust", &[("verify", Trust::Verify), ("accept", Trust::Accept)]),
        secret: read.secret("webhook.secret"),
        allowed_ips: read.parsed("webhook.allowed_ips", "", addresses),
    }
}

pub(super) fn log(read: &mut Reader) -> Log {
    let formats = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
    Log {
        format: read.word("log.format", &formats),
        filter: read.parsed("log.filter", "info", log_filter),
    }
}
