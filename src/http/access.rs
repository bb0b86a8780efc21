//! Who may do what: the keys of `/v1`, and what shows that a push is the API's own.
//!
//! Secrets are compared as digests and in constant time. Files are read anew, at most once a second.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use ipnet::IpNet;
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::failure::Failure;
use crate::config::{ApiKeys, Secret};

/// A file's secrets are read again after so long.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// When a file cannot be read, those that it held before count for so long: it may be in the middle
/// of being changed, but what was taken away must not open anything for ever.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// The digest of a secret: equal ones are equal, and of the same length whatever the secrets are.
type Digest = [u8; 20];

fn digest(secret: &str) -> Digest {
    sha1_smol::Sha1::from(secret).digest().bytes()
}

/// Names and digests of secrets.
#[derive(Debug, Default)]
struct Known {
    secrets: Arc<Vec<(String, Digest)>>,
    /// When reading them was last tried, and when it last succeeded.
    tried: Option<Instant>,
    read: Option<Instant>,
}

/// Secrets by name, of which a caller must show one.
#[derive(Debug)]
struct Secrets {
    known: Mutex<Known>,
}

impl Secrets {
    fn new() -> Self {
        Self { known: Mutex::default() }
    }

    /// Whose secret this is. A file that cannot be read leaves those that it held before for a while.
    fn find(
        &self,
        shown: &str,
        read: impl Fn() -> io::Result<Vec<(String, Digest)>>,
    ) -> Option<String> {
        let shown = digest(shown);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.tried.is_none_or(|at| at.elapsed() >= FRESH_FOR) {
            known.tried = Some(Instant::now());
            match read() {
                Ok(secrets) => {
                    (known.secrets, known.read) = (Arc::new(secrets), known.tried);
                }
                Err(error) => {
                    tracing::error!(%error, "secrets cannot be read: those before count for a minute");
                    if known.read.is_none_or(|at| at.elapsed() >= KEPT_FOR) {
                        known.secrets = Arc::default();
                    }
                }
            }
        }
        let secrets = Arc::clone(&known.secrets);
        drop(known);
        // All are compared, so that the time tells nothing.
        secrets.iter().fold(None, |found, (name, secret)| {
            if bool::from(secret.ct_eq(&shown)) { Some(name.clone()) } else { found }
        })
    }
}

/// Who may use `/v1`.
#[derive(Debug)]
pub(super) enum Access {
    /// Whoever reaches it: it is served on the loopback alone.
    Open,
    /// Nobody: without keys it would stand open to all.
    Closed,
    /// Who has a key.
    Keys(Keys),
}

/// The keys of `/v1`.
#[derive(Debug)]
pub(super) struct Keys {
    keys: ApiKeys,
    secrets: Secrets,
}

impl Access {
    pub(super) fn new(keys: Option<ApiKeys>, listen: IpAddr) -> Self {
        match keys {
            Some(keys) => Self::Keys(Keys { keys, secrets: Secrets::new() }),
            None if listen.is_loopback() => Self::Open,
            None => Self::Closed,
        }
    }

    pub(super) fn admit(&self, authorization: Option<&str>) -> Result<Caller, Failure> {
        let Keys { keys, secrets } = match self {
            Self::Open => return Ok(Caller(None)),
            Self::Closed => {
                let message = "/v1 is not served: set gateway.api_keys";
                return Err(Failure::new(StatusCode::NOT_FOUND, "not-served", message));
            }
            Self::Keys(keys) => keys,
        };
        let read = || {
            let keys = keys.read()?.into_iter();
            Ok(keys.map(|it| (it.name, digest(it.key.expose_secret()))).collect())
        };
        let shown = authorization.and_then(|it| it.split_once(' '));
        let shown = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let name = shown.and_then(|(_, key)| secrets.find(key.trim(), read));
        let Some(name) = name else {
            let message = "needs Authorization: Bearer <one of gateway.api_keys>";
            return Err(Failure::new(StatusCode::UNAUTHORIZED, "unauthorized", message));
        };
        Ok(Caller(Some(name)))
    }
}

/// The name of the key that a request showed; none where none is needed.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub(super) Option<String>);

/// What a push must show to be the API's own.
#[derive(Debug)]
pub(super) struct PushAccess {
    secret: Option<Secret>,
    secrets: Secrets,
    allowed_ips: Vec<IpNet>,
}

impl PushAccess {
    pub(super) fn new(secret: Option<Secret>, allowed_ips: Vec<IpNet>) -> Self {
        Self { secret, secrets: Secrets::new(), allowed_ips }
    }

    /// Whether anything is asked for, so that what is let in is the API's own.
    pub(super) fn is_guarded(&self) -> bool {
        self.secret.is_some() || !self.allowed_ips.is_empty()
    }

    pub(super) fn admit(&self, peer: IpAddr, token: Option<&str>) -> Result<(), Failure> {
        let peer = peer.to_canonical();
        if !self.allowed_ips.is_empty() && !self.allowed_ips.iter().any(|it| it.contains(&peer)) {
            let message = "pushes come from webhook.allowed_ips only";
            return Err(Failure::new(StatusCode::FORBIDDEN, "forbidden", message));
        }
        let Some(secret) = &self.secret else { return Ok(()) };
        // Two values while the secret is rotated, one a line.
        let read = || {
            let text = secret.read()?;
            let lines = text.expose_secret().lines().map(str::trim).filter(|it| !it.is_empty());
            let secrets: Vec<_> = lines.map(|line| (String::new(), digest(line))).collect();
            let nothing = || io::Error::new(io::ErrorKind::InvalidData, "holds nothing");
            if secrets.is_empty() { Err(nothing()) } else { Ok(secrets) }
        };
        if token.is_none_or(|token| self.secrets.find(token, read).is_none()) {
            let message = "needs webhook.secret as ?token= or x-webhook-token";
            return Err(Failure::new(StatusCode::UNAUTHORIZED, "unauthorized", message));
        }
        Ok(())
    }
}
