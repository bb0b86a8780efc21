//! What the values of single settings must look like; each says in words why it refuses one.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use jiff::{Span, SpanRelativeTo};
use redis::IntoConnectionInfo;
use secrecy::SecretString;
use tracing_subscriber::EnvFilter;

use super::settings::Rate;

/// Ways to Redis that may come.
const RESERVED_SCHEMES: [&str; 4] =
    ["redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"];

/// Where Redis is. What is said of a wrong one does not repeat it, for it may hold a password.
pub(super) fn redis_url(text: &str) -> Result<SecretString, String> {
    let scheme = text.split("://").next().unwrap_or_default();
    if RESERVED_SCHEMES.contains(&scheme) {
        return Err(format!("{scheme}:// is reserved and not supported yet"));
    }
    if !["redis", "rediss", "unix"].contains(&scheme) {
        return Err("must begin with redis://, rediss:// or unix://".to_owned());
    }
    match text.into_connection_info() {
        Ok(_) => Ok(text.into()),
        Err(_) => Err("must be an address like redis://host:6379/0".to_owned()),
    }
}

/// A duration with its unit, as in `250ms`, `30s`, `1h`, `14d`; a day has 24 hours.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match duration_or_zero(text)? {
        Duration::ZERO => Err(NO_DURATION.to_owned()),
        length => Ok(length),
    }
}

/// The same, and `0s`.
pub(crate) fn duration_or_zero(text: &str) -> Result<Duration, String> {
    let refuse = || "must be a duration like 250ms, 30s, 1h or 14d".to_owned();
    let span: Span = text.parse().map_err(|_| refuse())?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| refuse())?;
    Duration::try_from(length).map_err(|_| NO_DURATION.to_owned())
}

const NO_DURATION: &str = "must be longer than nothing";

pub(super) fn log_filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("must be a filter like info or warn,reelq=debug".to_owned()),
    }
}

pub(super) fn rate(text: &str) -> Result<Option<Rate>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.strip_suffix("/s").and_then(|it| it.parse::<f64>().ok());
    match number {
        Some(number) if number > 0.0 && number.is_finite() => Ok(Some(Rate(number))),
        _ => Err("must be calls a second, like 20/s, or empty".to_owned()),
    }
}

pub(super) fn optional_address(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| "must be an address like 127.0.0.1:9464, or empty".into())
}

/// An IPv4-mapped network, such as `::ffff:10.0.0.0/104`, as the IPv4 network that it is.
fn without_mapping(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    let (address, length) = (mapped.addr().to_ipv4_mapped(), mapped.prefix_len().checked_sub(96));
    let unmapped = address
        .zip(length)
        .and_then(|(address, length)| IpNet::new(IpAddr::V4(address), length).ok());
    unmapped.unwrap_or(network)
}

/// Networks, or single addresses.
pub(super) fn addresses(text: &str) -> Result<Vec<IpNet>, &'static str> {
    let addresses = text.split(',').map(str::trim).filter(|it| !it.is_empty());
    let network = |it: &str| it.parse().or_else(|_| it.parse::<IpAddr>().map(IpNet::from));
    let network = |it: &str| network(it).map(without_mapping);
    addresses.map(|it| network(it).map_err(|_| "must be IP addresses or networks")).collect()
}
