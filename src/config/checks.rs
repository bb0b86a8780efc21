//! What holds only between settings: each mistake names the setting to change.

use std::time::Duration;

use super::settings::{LEASE_RESERVE, Settings, Trust};

/// What a stop's grace must outlast `api.request_timeout` by.
const SHUTDOWN_OVER_REQUEST: Duration = Duration::from_secs(5);

/// What must not be shorter than a call to the API may take; means nothing to those that call none.
pub(super) fn times(settings: &Settings, request_timeout: Duration) -> Vec<String> {
    let Settings { queue, worker, submit, .. } = settings;
    [
        ("queue.lease", queue.lease, LEASE_RESERVE),
        ("worker.shutdown_grace", worker.shutdown_grace, SHUTDOWN_OVER_REQUEST),
        ("submit.unconfirmed_grace", submit.unconfirmed_grace, Duration::ZERO),
    ]
    .into_iter()
    .filter_map(|(key, value, more)| {
        let least = request_timeout.saturating_add(more);
        let more = match more.as_secs() {
            0 => String::new(),
            seconds => format!(" + {seconds} s"),
        };
        let least_s = least.as_secs_f64();
        (value < least)
            .then(|| format!("{key}: must be at least {least_s} s (api.request_timeout{more})"))
    })
    .collect()
}

/// Doors that would stand open to anybody.
pub(super) fn access(settings: &Settings) -> Vec<String> {
    let mut mistakes = Vec::new();
    let webhook = &settings.webhook;
    if webhook.trust == Trust::Accept && webhook.secret.is_none() && webhook.allowed_ips.is_empty()
    {
        let needs = "webhook.trust: \"accept\" needs webhook.secret or webhook.allowed_ips";
        mistakes.push(needs.to_owned());
    }
    mistakes
}
