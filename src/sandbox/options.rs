//! What the sandbox can be told: a struct for tests, and the same as command line flags.
//!
//! The defaults stand twice, as values and as the flags' texts; a test compares them.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::rules::FaultRule;

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
    /// Answer some calls in another way, as "endpoint=submit,id=a*,calls=1-2,answer=500" does; may
    /// be given again: the first rule about a call counts (docs/contract.md, section 9).
    #[cfg_attr(feature = "cli", arg(long = "fault", value_name = "RULE"))]
    pub faults: Vec<FaultRule>,
    /// Where to push finished videos to.
    #[cfg_attr(feature = "cli", arg(long, value_name = "URL", value_parser = cli::webhook))]
    pub webhook: Option<Url>,
    /// Sent along with each push as `x-webhook-token`, but not with forged ones.
    #[cfg_attr(feature = "cli", arg(long, value_name = "TEXT", requires = "webhook"))]
    #[cfg_attr(feature = "cli", arg(value_parser = cli::header))]
    pub webhook_secret: Option<String>,
    /// How pushes go wrong.
    #[cfg_attr(feature = "cli", command(flatten))]
    pub push: PushFaults,
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

/// How pushes go wrong; each of these may be asked for beside the others.
///
/// All but `early` are looked at when a push is due.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "cli", derive(clap::Args), group(requires = "webhook"))]
pub struct PushFaults {
    /// Time from a video's URL to its push.
    #[cfg_attr(feature = "cli", arg(long = "push-late", value_name = "TIME"))]
    #[cfg_attr(feature = "cli", arg(default_value = "0s", value_parser = cli::duration))]
    pub late: Duration,
    /// Time over which pushes that are due are held back, to leave one by one, the last first.
    #[cfg_attr(feature = "cli", arg(long = "push-reversed", value_name = "TIME"))]
    #[cfg_attr(feature = "cli", arg(default_value = "0s", value_parser = cli::duration))]
    pub reversed: Duration,
    /// Push each video again after its push succeeded.
    #[cfg_attr(feature = "cli", arg(long = "push-twice"))]
    pub twice: bool,
    /// Send a false push before each real one: its ids, another video-url, no secret.
    #[cfg_attr(feature = "cli", arg(long = "push-forged"))]
    pub forged: bool,
    /// Let a video be ready at once, and a submit's answer wait for the answer to its push; such
    /// pushes are neither late nor reversed.
    #[cfg_attr(feature = "cli", arg(long = "push-early"))]
    pub early: bool,
    /// Part of the finished videos that are never pushed.
    #[cfg_attr(feature = "cli", arg(long = "push-lost-rate", value_name = "RATE"))]
    #[cfg_attr(feature = "cli", arg(default_value = "0", value_parser = cli::rate))]
    pub lost_rate: f64,
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
            faults: Vec::new(),
            webhook: None,
            webhook_secret: None,
            push: PushFaults::default(),
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

    pub(super) fn header(text: &str) -> Result<String, &'static str> {
        let fits = hyper::header::HeaderValue::from_str(text).is_ok();
        fits.then(|| text.to_owned()).ok_or("expected what a header can carry")
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
            --limit 20/s --foreign-use-case x --fault answer=500,page --fault id=a*,answer=lost \
            --webhook http://127.0.0.1:1/push --webhook-secret d \
            --push-late 1s --push-reversed 2s --push-twice --push-forged --push-early \
            --push-lost-rate 0.5 --seed 7 --client-id a --client-secret b --api-key c";
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
            faults: ["answer=500,page", "id=a*,answer=lost"]
                .map(|rule| rule.parse().unwrap())
                .to_vec(),
            webhook: Some(Url::parse("http://127.0.0.1:1/push").unwrap()),
            webhook_secret: Some("d".to_owned()),
            push: PushFaults {
                late: Duration::from_secs(1),
                reversed: Duration::from_secs(2),
                twice: true,
                forged: true,
                early: true,
                lost_rate: 0.5,
            },
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
        let webhook = ["--webhook", "http://127.0.0.1:1/push"];
        let refused = |flags: &[&str]| parse(&[&webhook, flags].concat()).is_err();
        let rates = ["--error-rate", "--status-error-rate", "--drop-rate", "--fail-rate"];
        for flag in rates.into_iter().chain(["--push-lost-rate"]) {
            for bad in ["1.1", "NaN", "ten"] {
                assert!(refused(&[flag, bad]), "{flag} {bad}");
            }
        }
        assert!(refused(&["--push-late", "20"]));
        assert!(refused(&["--fault", "answer=odd"]));
        assert!(refused(&["--push-reversed=-1s"]));
        assert!(refused(&["--webhook-secret", "two\nlines"]));
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

    #[test]
    fn pushes_are_told_nothing_without_a_webhook() {
        for flags in [
            &["--webhook-secret", "x"][..],
            &["--push-late", "1s"],
            &["--push-reversed", "1s"],
            &["--push-twice"],
            &["--push-forged"],
            &["--push-early"],
            &["--push-lost-rate", "1"],
        ] {
            assert!(parse(flags).is_err(), "{flags:?}");
            let with_webhook = [&["--webhook", "http://127.0.0.1:1/push"], flags].concat();
            assert!(parse(&with_webhook).is_ok(), "{flags:?}");
        }
    }
}
