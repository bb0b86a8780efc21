//! What came back from one call, before it means anything.
//!
//! `transport` makes answers, `outcome` reads them. The texts of an answer are the API's and
//! untrusted: they pass through [`shown`] before they reach a record, a log or a terminal.

use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use super::body::Body;
use super::wire;

/// The longest wait that the API may ask for (docs/contract.md, section 7).
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);
/// The longest text of the API that is passed on, in bytes.
const LONGEST_TEXT: usize = 300;

/// What one exchange came to.
#[derive(Debug)]
pub(super) enum Answer {
    /// The API, or something in front of it, answered.
    Given(Given),
    /// The request surely did not reach the API. The text says why.
    NotSent(String),
    /// The request may have reached the API, and no answer came. The text says why.
    MaybeSent(String),
}

/// An answer with a status code.
#[derive(Debug)]
pub(super) struct Given {
    /// The status code.
    pub(super) code: u16,
    /// The wait asked for.
    pub(super) retry_after: Option<Duration>,
    /// What it said.
    pub(super) body: Body,
}

impl Answer {
    /// The status code, if there is one.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Given(given) => Some(given.code),
            Self::NotSent(_) | Self::MaybeSent(_) => None,
        }
    }
}

impl Given {
    /// Whether the API itself said it, which speaks JSON or says nothing, and not something in
    /// front of it with a page of its own.
    pub(super) fn is_the_apis_own(&self) -> bool {
        let Body::Whole(bytes) = &self.body else { return false };
        bytes.trim_ascii().is_empty() || wire::is_object(bytes)
    }

    /// The answer in words: its code and what the body says.
    pub(super) fn in_words(&self, secrets: &[&str]) -> String {
        let said = match &self.body {
            Body::Whole(bytes) => shown(&wire::message(bytes), secrets),
            Body::Cut(why) => (*why).to_owned(),
        };
        if said.is_empty() { self.code.to_string() } else { format!("{}: {said}", self.code) }
    }
}

/// A text of the API, fit to be shown: without our secrets (some gateways quote the headers they
/// refuse), on one line, without control characters, at most 300 bytes.
pub(super) fn shown(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "********");
    }
    let mut text = text.replace(char::is_control, " ").trim().to_owned();
    text.truncate(text.floor_char_boundary(LONGEST_TEXT));
    text
}

/// The wait that an answer asks for, at most 5 min: seconds, or a date that is held against the
/// answer's own `Date`, so that our clock does not matter. A date without one to compare: zero.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let asked = text(RETRY_AFTER)?;
    if !asked.is_empty() && asked.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits that do not fit are a very long wait.
        let seconds = asked.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER));
    }
    let until = httpdate::parse_http_date(asked).ok()?;
    let now = text(DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    let wait = now.and_then(|now| until.duration_since(now).ok()).unwrap_or_default();
    Some(wait.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seconds_or_a_date_and_never_over_five_minutes() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (asked, now, wait) in [
            ("120", "", Some(120)),
            (" 0 ", "", Some(0)),
            ("301", "", Some(300)),
            ("99999999999999999999999999", "", Some(300)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", date, Some(60)),
            ("Sun, 06 Nov 1994 09:49:37 GMT", date, Some(300)),
            ("Sun, 06 Nov 1994 08:49:36 GMT", date, Some(0)),
            (date, "", Some(0)),
            (date, "yesterday", Some(0)),
            ("", "", None),
            ("-1", "", None),
            ("1.5", "", None),
            ("soon", date, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, asked.parse().unwrap());
            headers.insert(DATE, now.parse().unwrap());
            let wait = wait.map(Duration::from_secs);
            assert_eq!(retry_after(&headers), wait, "{asked:?} at {now:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn a_shown_text_is_short_and_has_neither_secrets_nor_control_characters() {
        let text = shown("\u{1b}[2J'Bearer abc' is\r\nno key: \u{9b}k1 abc ", &["abc", "", "k1"]);
        assert_eq!(text, "[2J'Bearer ********' is  no key:  ******** ********");
        let long = shown(&format!("{}secret", "ä".repeat(148)), &["secret"]);
        assert_eq!(long, format!("{}****", "ä".repeat(148)), "hidden before it is cut");
    }
}
