//! What the sandbox can be told: a struct for tests, and the same as command line flags.
//!
//! The defaults stand twice, as values and as the flags' texts; a test compares them.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

/// The default [`Options::client_id`].
pub const CLIENT_ID: &str = "sandbox-client";
/// The default [`Options::client_secret`].
pub const CLIENT_SECRET: &str = "sandbox-secret";
/// The default [`Options::api_key`].
pub const API_KEY: &str = "sandbox-key";

/// How the sandbox behaves (docs/contract.md, section 9).
///
/// Rates are parts of all calls, 0 to 1. None of the credentials is a secret: do not give real ones.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Options {
    /// Where to listen; port 0: a free port.
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")
    )]
    pub listen: SocketAddr,
    /// Time from a request's acceptance to its video's URL.
    #[cfg_attr(feature = "cli", arg(long, value_name = "TIME", default_value = "2s"))]
    #[cfg_attr(feature = "cli", arg(value_parser = cli::duration))]
    pub ready_after: Duration,
    /// Time that every answer takes.
    #[cfg_attr(feature = "cli", arg(long, value_name = "TIME", default_value = "20ms"))]
    #[cfg_attr(feature = "cli", arg(value_parser = cli::duration))]
    pub latency: Duration,
    /// Part of the submits that are answered with 500 and not accepted.
    #[cfg_attr(feature = "cli", arg(long, value_name = "RATE", default_value = "0.1"))]
    #[cfg_attr(feature = "cli", arg(value_parser = cli::rate))]
    pub error_rate: f64,
    /// Part of the status checks that are answered with 500.
    #[cfg_attr(feature = "cli", arg(long, value_name = "RATE", default_value = "0"))]
    #[cfg_attr(feature = "cli", arg(value_parser = cli::rate))]
    pub status_error_rate: f64,
    /// Part of the submits and status checks whose connection is closed without an answer; half
    /// of these submits have been accepted by then.
    #[cfg_attr(feature = "cli", arg(long, value_name = "RATE", default_value = "0"))]
    #[cfg_attr(feature = "cli", arg(value_parser = cli::rate))]
    pub drop_rate: f64,
    /// Part of the videos whose generation fails.
    #[cfg_attr(feature = "cli", arg(long, value_name = "RATE", default_value = "0"))]
    #[cfg_attr(feature = "cli", arg(value_parser = cli::rate))]
    pub fail_rate: f64,
    /// Life of a token.
    #[cfg_attr(feature = "cli", arg(long, value_name = "TIME", default_value = "24h"))]
    #[cfg_attr(feature = "cli", arg(value_parser = cli::duration))]
    pub token_ttl: Duration,
    /// Let a new token end the life of all before it.
    #[cfg_attr(feature = "cli", arg(long))]
    pub single_token: bool,
    /// Submits and status checks a second ("20/s") above which the answer is 429; 0: no limit.
    #[cfg_attr(feature = "cli", arg(long, value_name = "CALLS", value_parser = cli::limit))]
    pub limit: Option<f64>,
    /// A use-case-id whose submits are refused with 403, as a template of another account.
    #[cfg_attr(feature = "cli", arg(long, value_name = "TEXT"))]
    pub foreign_use_case: Option<String>,
    /// Where to push finished videos to.
    #[cfg_attr(feature = "cli", arg(long, value_name = "URL", value_parser = cli::webhook))]
    pub webhook: Option<Url>,
    /// Makes the faults repeatable; without it they differ from run to run.
    #[cfg_attr(feature = "cli", arg(long, value_name = "NUMBER"))]
    pub seed: Option<u64>,
    /// The `clientId` that gets a token.
    #[cfg_attr(feature = "cli", arg(long, value_name = "TEXT", default_value = CLIENT_ID))]
    pub client_id: String,
    /// The `clientSecret` that gets a token.
    #[cfg_attr(feature = "cli", arg(long, value_name = "TEXT", default_value = CLIENT_SECRET))]
    pub client_secret: String,
    /// The `x-api-key` that is let in.
    #[cfg_attr(feature = "cli", arg(long, value_name = "TEXT", default_value = API_KEY))]
    pub api_key: String,
    /// Whether the API works at all; changed while it runs.
    #[cfg_attr(feature = "cli", arg(skip))]
    pub mode: Mode,
}

/// Whether the API works at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// As documented, with the faults asked for.
    #[default]
    Normal,
    /// Every call is answered with 403, as from an address that is not allow-listed.
    Refuse,
    /// Every call is answered with 500.
    Down,
    /// Every call is answered with 200 and a page of HTML.
    Html,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 8090).into(),
            ready_after: Duration::from_secs(2),
            latency: Duration::from_millis(20),
            error_rate: 0.1,
            status_error_rate: 0.0,
            drop_rate: 0.0,
            fail_rate: 0.0,
            token_ttl: Duration::from_secs(24 * 60 * 60),
            single_token: false,
            limit: None,
            foreign_use_case: None,
            webhook: None,
            seed: None,
            client_id: CLIENT_ID.to_owned(),
            client_secret: CLIENT_SECRET.to_owned(),
            api_key: API_KEY.to_owned(),
            mode: Mode::Normal,
        }
    }
}

/// Whether a number is a part of a whole.
pub(super) fn is_rate(number: f64) -> bool {
    (0.0..=1.0).contains(&number)
}

/// The texts that flags take.
#[cfg(feature = "cli")]
mod cli {
    use std::time::Duration;

    use url::Url;

    pub(super) fn duration(text: &str) -> Result<Duration, String> {
        let signed: jiff::SignedDuration =
            text.parse().map_err(|_| "expected a time like \"250ms\", \"2s\" or \"24h\"")?;
        Duration::try_from(signed).map_err(|_| "a time cannot be negative".to_owned())
    }

    pub(super) fn rate(text: &str) -> Result<f64, &'static str> {
        let rate = text.parse().ok().filter(|rate| super::is_rate(*rate));
        rate.ok_or("expected a number from 0 to 1")
    }

    pub(super) fn limit(text: &str) -> Result<f64, &'static str> {
        let number = text.strip_suffix("/s").unwrap_or(text);
        let limit = number.parse().ok().filter(|limit: &f64| limit.is_finite() && *limit >= 0.0);
        limit.ok_or("expected calls a second like \"20/s\", or 0")
    }

    pub(super) fn webhook(text: &str) -> Result<Url, &'static str> {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        url.ok_or("expected an http or https URL")
    }
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parse(flags: &[&str]) -> Result<Options, clap::Error> {
        let line = Line::try_parse_from([&["sandbox"], flags].concat())?;
        Ok(line.options)
    }

    #[test]
    fn no_flags_are_the_defaults() {
        assert_eq!(parse(&[]).unwrap(), Options::default());
    }

    #[test]
    fn every_flag_reaches_its_option() {
        let flags = "--listen 127.0.0.1:0 --ready-after 1m --latency 0s --error-rate 1 \
            --status-error-rate 0.2 --drop-rate 0.3 --fail-rate 0.4 --token-ttl 1h30m --single-token \
            --limit 20/s --foreign-use-case x --webhook http://127.0.0.1:1/push --seed 7 --client-id a --client-secret b \
            --api-key c";
        let expected = Options {
            listen: ([127, 0, 0, 1], 0).into(),
            ready_after: Duration::from_secs(60),
            latency: Duration::ZERO,
            error_rate: 1.0,
            status_error_rate: 0.2,
            drop_rate: 0.3,
            fail_rate: 0.4,
            token_ttl: Duration::from_secs(90 * 60),
            single_token: true,
            limit: Some(20.0),
            foreign_use_case: Some("x".to_owned()),
            webhook: Some(Url::parse("http://127.0.0.1:1/push").unwrap()),
            seed: Some(7),
            client_id: "a".to_owned(),
            client_secret: "b".to_owned(),
            api_key: "c".to_owned(),
            mode: Mode::Normal,
        };
        assert_eq!(parse(&flags.split_whitespace().collect::<Vec<_>>()).unwrap(), expected);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let rates = ["--error-rate", "--status-error-rate", "--drop-rate", "--fail-rate"];
        for flag in rates {
            for bad in ["1.1", "NaN", "ten"] {
                assert!(parse(&[flag, bad]).is_err(), "{flag} {bad}");
            }
        }
        for (flag, bad) in [
            ("--latency", "20"),
            ("--latency=-1s", ""),
            ("--limit", "20/m"),
            ("--limit", "inf"),
            ("--webhook", "ftp://127.0.0.1/"),
            ("--webhook", "/push"),
        ] {
            assert!(parse(&[flag, bad]).is_err(), "{flag} {bad}");
        }
    }
}
