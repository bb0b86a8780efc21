//! What the values of single settings must look like; each says in words why it refuses one.

use std::net::SocketAddr;

use reqwest::Url;
use tracing_subscriber::EnvFilter;

use super::Rate;
use super::reader::MASK;

pub(super) fn usable(base_url: &str, allow_plain_http: bool) -> Result<Url, String> {
    let url: Url = base_url.parse().map_err(|_| "must be a URL like https://host".to_owned())?;
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => return Err("must name a host".to_owned()),
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback || allow_plain_http => Ok(url),
        _ => Err("must be https:// (or the host loopback, or api.allow_plain_http = true)".into()),
    }
}

pub(super) fn path(text: &str) -> Result<String, String> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("must begin with /".to_owned()) }
}

pub(super) fn status_path(text: &str) -> Result<String, String> {
    if text.contains("{id}") { path(text) } else { Err("must contain {id}".to_owned()) }
}

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

/// A URL without the password it may hold.
pub(super) fn mask_url(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut parsed) if parsed.password().is_some() => {
            // Fails only for URLs that cannot have a password.
            let _ = parsed.set_password(Some(MASK));
            parsed.to_string()
        }
        Ok(_) => url.to_owned(),
        Err(_) => MASK.to_owned(),
    }
}
