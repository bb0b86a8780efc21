//! The JSON of the remote API (docs/contract.md, section 1). Its types stay in here.
//!
//! Content types are not looked at: JSON is what parses. Of a key given twice the last counts, and
//! what follows the object does not; a number is as good as its text, and a strange value in one
//! field does not hide the others. For an answer that is not understood leaves a paid request in
//! the dark.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::job::{is_media_url, is_transaction_id};

const HTML: &str = "an HTML page";

/// The members of an object.
#[derive(Debug, Deserialize)]
struct Members<'a>(#[serde(borrow)] BTreeMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    /// Reads an object. (An array would do for serde, whose maps are also read from sequences.)
    fn read(body: &'a [u8]) -> Result<Self, &'static str> {
        if is_html(body) {
            return Err(HTML);
        }
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err("no JSON object");
        }
        let mut reader = serde_json::Deserializer::from_slice(body);
        Self::deserialize(&mut reader).map_err(|_| "no JSON object")
    }

    /// The text of a member that is a string or a number; `None` for everything else.
    fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        let raw: &'a str = self.0.get(name)?.get();
        match raw.as_bytes().first()? {
            b'"' if raw.contains('\\') => serde_json::from_str(raw).ok().map(Cow::Owned),
            // Without escapes, the text is what stands between the quotes.
            b'"' => raw.get(1..raw.len() - 1).map(Cow::Borrowed),
            b'-' | b'0'..=b'9' => Some(Cow::Borrowed(raw)),
            _ => None,
        }
    }

    /// A member that is a URL: absent or empty, usable, or an error.
    fn url(&self, name: &str) -> Result<Option<String>, ()> {
        if self.0.get(name).is_none_or(|it| it.get() == "null") {
            return Ok(None);
        }
        let text = self.text(name).ok_or(())?;
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        // One that was not UTF-8 is another than the API meant.
        let is_whole = !text.contains(char::REPLACEMENT_CHARACTER);
        if is_whole && is_media_url(text) { Ok(Some(text.to_owned())) } else { Err(()) }
    }
}

/// An answer to a submit or a status check.
#[derive(Debug)]
pub(super) struct Said<'a>(Members<'a>);

impl<'a> Said<'a> {
    /// Reads an answer, or says why it is none to the request of that id.
    pub(super) fn read(body: &'a [u8], client_request_id: &str) -> Result<Self, &'static str> {
        let said = Members::read(body)?;
        match said.text("client-request-id") {
            Some(other) if other != client_request_id => Err("for another client-request-id"),
            Some(_) | None => Ok(Self(said)),
        }
    }

    /// The status word, as it is.
    pub(super) fn status(&self) -> Option<Cow<'a, str>> {
        self.0.text("status")
    }

    /// What the API says went wrong, when its status word says that something did.
    pub(super) fn failure(&self) -> Option<Cow<'a, str>> {
        let status = self.status()?;
        let has = |word: &&str| {
            status.as_bytes().windows(word.len()).any(|it| it.eq_ignore_ascii_case(word.as_bytes()))
        };
        let failed = ["FAIL", "ERROR", "REJECT", "CANCEL", "ABORT", "EXPIR"].iter().any(has);
        let message = || self.0.text("message").filter(|message| !message.trim().is_empty());
        failed.then(|| message().unwrap_or(status))
    }

    /// The API's id, if it can be put into a path and a record.
    pub(super) fn whilter_request_id(&self) -> Option<Cow<'a, str>> {
        self.0.text("whilter-request-id").filter(|id| is_transaction_id(id))
    }

    /// `video-url`: absent, usable, or an error that says what is wrong with it.
    pub(super) fn video_url(&self) -> Result<Option<String>, &'static str> {
        self.0.url("video-url").map_err(|()| "its video-url is no http(s) URL of at most 4 KiB")
    }

    /// `image-url`, likewise.
    pub(super) fn image_url(&self) -> Result<Option<String>, &'static str> {
        self.0.url("image-url").map_err(|()| "its image-url is no http(s) URL of at most 4 KiB")
    }
}

/// An answer to the token call.
pub(super) struct Token<'a>(Members<'a>);

impl<'a> Token<'a> {
    /// Reads an answer to the token call.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, &'static str> {
        Members::read(body).map(Self)
    }

    /// The token.
    pub(super) fn access_token(&self) -> Option<Cow<'a, str>> {
        self.0.text("access_token").filter(|token| !token.is_empty())
    }

    /// Its life in seconds, if it is a number, also in quotes.
    pub(super) fn expires_in(&self) -> Option<f64> {
        let seconds = self.0.text("expires_in")?;
        seconds.trim().parse().ok().filter(|seconds: &f64| !seconds.is_nan())
    }
}

/// Whether a body is, or begins with, a whole JSON object.
pub(super) fn is_object(body: &[u8]) -> bool {
    Members::read(body).is_ok()
}

/// What an answer that is not understood, or brings bad news, says in words: its message if it is
/// JSON with one. Uncut and not yet cleaned.
pub(super) fn message(body: &[u8]) -> Cow<'_, str> {
    if is_html(body) {
        return Cow::Borrowed(HTML);
    }
    let message = Members::read(body).ok().and_then(|said| said.text("message"));
    message.unwrap_or_else(|| String::from_utf8_lossy(body))
}

fn is_html(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'<')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::request::URL_MAX_BYTES;

    fn said(body: &str) -> Said<'_> {
        Said::read(body.as_bytes(), "order-1").unwrap()
    }

    #[test]
    fn only_an_object_for_our_id_is_an_answer() {
        for (body, why) in [
            ("", "no JSON object"),
            ("null", "no JSON object"),
            (r#"["SUCCESS","m","order-1","w-1",null,null]"#, "no JSON object"),
            (r#"{"status":"SUCCESS""#, "no JSON object"),
            (" \n<!doctype html>", "an HTML page"),
            (r#"{"client-request-id":"order-2"}"#, "for another client-request-id"),
        ] {
            assert_eq!(Said::read(body.as_bytes(), "order-1").unwrap_err(), why, "{body}");
        }
        said(r#" {"client-request-id":"order-1","unknown":[1,{"a":null}],"message":{"a":1}}"#);
    }

    #[test]
    fn the_last_of_a_key_counts_and_what_follows_the_object_does_not() {
        for body in [
            r#"{"status":"ERROR","status":"SUCCESS"}"#,
            r#"{"status":"ERROR","st\u0061tus":"SUCCESS"}"#,
            r#"{"status":{},"status":"SUCCESS"} {"status":"ERROR"}"#,
            "{\"status\":\"SUCCESS\"}<!-- -->",
        ] {
            assert_eq!(said(body).status().unwrap(), "SUCCESS", "{body}");
        }
    }

    #[test]
    fn an_id_is_usable_when_it_fits_a_path_and_a_record() {
        let id = |value: &str| {
            let body = format!(r#"{{"whilter-request-id":{value}}}"#);
            said(&body).whilter_request_id().map(Cow::into_owned)
        };
        assert_eq!(id(r#""w-1""#).as_deref(), Some("w-1"));
        assert_eq!(id(r#""a\/b?#%\"""#).as_deref(), Some("a/b?#%\""));
        assert_eq!(id("17").as_deref(), Some("17"));
        assert_eq!(id(&format!("\"{}\"", "x".repeat(256))).map(|id| id.len()), Some(256));
        let too_long = format!("\"{}\"", "x".repeat(257));
        for none in
            ["null", r#""""#, r#"".""#, r#""..""#, r#""a b""#, r#""a\nb""#, r#""ä""#, r#""\ud800""#]
        {
            assert_eq!(id(none), None, "{none}");
        }
        for none in ["true", "[\"w\"]", "{}", too_long.as_str()] {
            assert_eq!(id(none), None, "{none}");
        }
    }

    #[test]
    fn a_failure_word_counts_in_any_case_and_inside_a_word() {
        let failure = |status: &str| {
            let body = format!(r#"{{"status":"{status}","message":"why"}}"#);
            said(&body).failure().map(Cow::into_owned)
        };
        for word in ["FAIL", "failed", "xErRoRx", "REJECTED", "cancelled", "Aborted", "EXPIRED"] {
            assert_eq!(failure(word).as_deref(), Some("why"), "{word}");
        }
        for word in ["SUCCESS", "", "PROCESSING", "FAI LED", "ERRO"] {
            assert_eq!(failure(word), None, "{word}");
        }
        assert_eq!(said(r#"{"status":"FAILED","message":null}"#).failure().unwrap(), "FAILED");
    }

    #[test]
    fn a_url_is_http_and_not_endless() {
        let url = |value: &str| {
            let body = format!(r#"{{"video-url":{value}}}"#);
            said(&body).video_url().map_err(|_| ())
        };
        for absent in ["null", r#""""#, r#"" ""#] {
            assert_eq!(url(absent), Ok(None), "{absent}");
        }
        let good = "https://cdn.example.com/my video.mp4?a=b&c=%20";
        assert_eq!(url(&format!("\"{good}\"")), Ok(Some(good.to_owned())));
        assert_eq!(url(r#""https:\/\/h\/v""#), Ok(Some("https://h/v".to_owned())));
        let prefix = "https://h/";
        let of_length =
            |length: usize| format!("\"{prefix}{}\"", "x".repeat(length - prefix.len()));
        assert!(url(&of_length(URL_MAX_BYTES)).is_ok());
        assert_eq!(url(&of_length(URL_MAX_BYTES + 1)), Err(()));
        for bad in
            ["\"ftp://h/v\"", "\"javascript:alert(1)\"", "\"https://\"", "\"v.mp4\"", "5", "[]"]
        {
            assert_eq!(url(bad), Err(()), "{bad}");
        }
        assert_eq!(url(r#""https://h/\u001b[2J""#), Err(()));
    }

    #[test]
    fn a_life_may_be_a_number_or_text() {
        let life = |value: &str| {
            let body = format!(r#"{{"access_token":"t","expires_in":{value}}}"#);
            Token::read(body.as_bytes()).unwrap().expires_in()
        };
        assert_eq!(life("86400"), Some(86400.0));
        assert_eq!(life(r#"" 60 ""#), Some(60.0));
        assert_eq!(life("-1"), Some(-1.0));
        for none in ["null", "true", r#""soon""#, r#""NaN""#, "[]"] {
            assert_eq!(life(none), None, "{none}");
        }
    }
}
