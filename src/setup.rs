//! What the settings mean for the queue: where Redis is, and the rules by which jobs are judged.

use crate::config::{ConfigErrors, OnUnconfirmed, Settings};
use crate::queue::{ConnectOptions, Rules};

/// How Redis is reached. Its password and certificates are read now.
///
/// # Errors
/// A file of `[redis]` cannot be read, or holds nothing.
pub fn connect_options(settings: &Settings) -> Result<ConnectOptions, ConfigErrors> {
    let found = settings.redis.connect_options()?;
    let client_tls = found
        .certificate
        .zip(found.key)
        .map(|(client_cert, client_key)| redis::ClientTlsConfig { client_cert, client_key });
    let tls = (found.ca.is_some() || client_tls.is_some())
        .then_some(redis::TlsCertificates { client_tls, root_cert: found.ca });
    Ok(ConnectOptions {
        url: found.url,
        username: settings.redis.username.clone(),
        password: found.password,
        tls,
        connect_timeout: settings.redis.connect_timeout,
        response_timeout: settings.redis.response_timeout,
    })
}

/// The rules by which jobs are judged.
#[must_use]
pub fn rules(settings: &Settings) -> Rules {
    let Settings { queue, submit, poll, .. } = settings;
    Rules {
        lease: queue.lease,
        completed_retention: queue.completed_retention,
        failed_retention: queue.failed_retention,
        results_retention: queue.results_retention,
        results_max_age: queue.results_max_age,
        max_age: submit.max_age,
        unconfirmed_grace: submit.unconfirmed_grace,
        max_unconfirmed: match submit.on_unconfirmed {
            OnUnconfirmed::Resubmit => submit.max_unconfirmed,
            OnUnconfirmed::Hold => 0,
        },
        refused_grace: submit.refused_grace,
        backoff_max: submit.backoff_max,
        poll_max: poll.max,
    }
}
