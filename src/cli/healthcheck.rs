//! `reelq healthcheck`: asks `/healthz` of the worker or gateway that runs under this configuration
//! on this machine, for whoever restarts what is not well.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Client, StatusCode};

use super::command::{Outcome, print_line, printable};
use crate::config::Loaded;

/// The longest that an answer may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn run(loaded: &Loaded) -> anyhow::Result<Outcome> {
    let Some(listen) = loaded.settings.http.listen else {
        bail!("http.listen is empty, so nothing serves /healthz");
    };
    // An error says that somebody installed it earlier.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().no_proxy().timeout(ANSWERS_WITHIN).build()?;
    let url = format!("http://{}/healthz", reachable(listen));
    let asked = async {
        let answer = client.get(&url).send().await?;
        Ok::<_, reqwest::Error>((answer.status(), answer.text().await?))
    };
    let (status, text) = asked.await.with_context(|| format!("no answer from {url}"))?;
    print_line(printable(text.trim_end()))?;
    Ok(if status == StatusCode::OK { Outcome::Success } else { Outcome::SomeFailed })
}

/// Where that which listens on an address is reached from this machine: on all addresses, for one
/// on the loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_listens_everywhere_is_asked_on_the_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:2", "[::1]:2"),
            ("127.0.0.9:3", "127.0.0.9:3"),
            ("[2001:db8::1]:4", "[2001:db8::1]:4"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }
}
