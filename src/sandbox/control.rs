//! What the real API does not have: a look at the counts, and faults that change while it runs.
//!
//! `GET /sandbox/stats` (`?ids=1`: with every client-request-id) and `PUT /sandbox/faults`, which
//! takes any of the members of [`Faults`] and answers with all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::answer::Reply;
use super::ledger::Posted;
use super::options::{Mode, Options, is_rate};
use super::rules::FaultRule;
use super::state::Shared;
use super::stats::Stats;

/// The options that may change while the sandbox runs; `None`: left as it is.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Faults {
    mode: Option<Mode>,
    ready_after_ms: Option<u64>,
    latency_ms: Option<u64>,
    error_rate: Option<f64>,
    status_error_rate: Option<f64>,
    drop_rate: Option<f64>,
    fail_rate: Option<f64>,
    token_ttl_ms: Option<u64>,
    single_token: Option<bool>,
    /// Calls a second; 0: no limit.
    limit: Option<f64>,
    push_late_ms: Option<u64>,
    push_reversed_ms: Option<u64>,
    push_twice: Option<bool>,
    push_forged: Option<bool>,
    push_early: Option<bool>,
    push_lost_rate: Option<f64>,
    /// All rules: they take the place of those there were.
    rules: Option<Vec<FaultRule>>,
}

/// One client-request-id in the counts.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct IdStats {
    posts: u64,
    accepted: u64,
    checks: u64,
}

#[derive(Serialize)]
struct StatsPage {
    #[serde(flatten)]
    stats: Stats,
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<BTreeMap<String, IdStats>>,
}

/// Answers a call to a path under `/sandbox/`; `None` is a body that was too large.
pub(super) fn answer(shared: &Shared, head: &Parts, body: Option<&[u8]>) -> Reply {
    match (head.uri.path(), &head.method) {
        ("/sandbox/stats", &Method::GET) => {
            let ids = (head.uri.query() == Some("ids=1")).then(|| ids(shared));
            Reply::json(StatusCode::OK, &StatsPage { stats: shared.stats(), ids })
        }
        ("/sandbox/faults", &Method::PUT) => match change(shared, body.unwrap_or_default()) {
            Ok(faults) => Reply::json(StatusCode::OK, &faults),
            Err(message) => Reply::error(StatusCode::BAD_REQUEST, &message),
        },
        ("/sandbox/stats", _) => Reply::wrong_method("GET"),
        ("/sandbox/faults", _) => Reply::wrong_method("PUT"),
        _ => Reply::not_found(),
    }
}

fn ids(shared: &Shared) -> BTreeMap<String, IdStats> {
    let state = shared.lock();
    let requests = state.ledger.requests();
    requests
        .map(|(id, &Posted { posts, accepted, checks, .. })| {
            (id.to_owned(), IdStats { posts, accepted, checks })
        })
        .collect()
}

fn change(shared: &Shared, body: &[u8]) -> Result<Faults, String> {
    let faults: Faults = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    faults.check()?;
    let mut state = shared.lock();
    state.change(|options| faults.apply(options));
    Ok(Faults::of(&state.options))
}

impl Faults {
    fn check(&self) -> Result<(), String> {
        for (name, rate) in [
            ("error-rate", self.error_rate),
            ("status-error-rate", self.status_error_rate),
            ("drop-rate", self.drop_rate),
            ("fail-rate", self.fail_rate),
            ("push-lost-rate", self.push_lost_rate),
        ] {
            if rate.is_some_and(|rate| !is_rate(rate)) {
                return Err(format!("{name}: must be from 0 to 1"));
            }
        }
        if self.limit.is_some_and(|limit| limit < 0.0) {
            return Err("limit: must not be negative".to_owned());
        }
        Ok(())
    }

    fn apply(&self, options: &mut Options) {
        fn set<T>(option: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *option = value;
            }
        }
        set(&mut options.mode, self.mode);
        set(&mut options.ready_after, self.ready_after_ms.map(Duration::from_millis));
        set(&mut options.latency, self.latency_ms.map(Duration::from_millis));
        set(&mut options.error_rate, self.error_rate);
        set(&mut options.status_error_rate, self.status_error_rate);
        set(&mut options.drop_rate, self.drop_rate);
        set(&mut options.fail_rate, self.fail_rate);
        set(&mut options.token_ttl, self.token_ttl_ms.map(Duration::from_millis));
        set(&mut options.single_token, self.single_token);
        set(&mut options.limit, self.limit.map(Some));
        set(&mut options.push.late, self.push_late_ms.map(Duration::from_millis));
        set(&mut options.push.reversed, self.push_reversed_ms.map(Duration::from_millis));
        set(&mut options.push.twice, self.push_twice);
        set(&mut options.push.forged, self.push_forged);
        set(&mut options.push.early, self.push_early);
        set(&mut options.push.lost_rate, self.push_lost_rate);
        set(&mut options.faults, self.rules.clone());
    }

    fn of(options: &Options) -> Self {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).ok();
        Self {
            mode: Some(options.mode),
            ready_after_ms: milliseconds(options.ready_after),
            latency_ms: milliseconds(options.latency),
            error_rate: Some(options.error_rate),
            status_error_rate: Some(options.status_error_rate),
            drop_rate: Some(options.drop_rate),
            fail_rate: Some(options.fail_rate),
            token_ttl_ms: milliseconds(options.token_ttl),
            single_token: Some(options.single_token),
            limit: Some(options.limit.unwrap_or(0.0)),
            push_late_ms: milliseconds(options.push.late),
            push_reversed_ms: milliseconds(options.push.reversed),
            push_twice: Some(options.push.twice),
            push_forged: Some(options.push.forged),
            push_early: Some(options.push.early),
            push_lost_rate: Some(options.push.lost_rate),
            rules: Some(options.faults.clone()),
        }
    }
}
