//! What is shown of settings that may hold a secret.

use url::{Position, Url};

/// What is shown of a secret.
pub(super) const MASK: &str = "********";

/// A secret itself.
pub(super) fn mask_all(text: &str) -> String {
    if text.is_empty() { String::new() } else { MASK.to_owned() }
}

/// An address without the password that it may hold, as login or in its query.
pub(super) fn mask_url(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return mask_all(text) };
    // A password that contains a `/`, `?` or `#` ends the host early and stands behind it.
    if url[Position::BeforePath..].contains('@') {
        return MASK.to_owned();
    }
    if url.password().is_some() && url.set_password(Some(MASK)).is_err() {
        return MASK.to_owned();
    }
    if url.query().is_some() {
        url.set_query(Some(MASK));
    }
    url.to_string()
}

/// A path without its query, where some gateways want a key.
pub(super) fn mask_path(text: &str) -> String {
    text.split_once('?').map_or(text.to_owned(), |(path, _)| format!("{path}?{MASK}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown_wherever_it_stands() {
        for (text, shown) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("rediss://ann@host/2#insecure", "rediss://ann@host/2#insecure"),
            ("redis://ann:canary@host/2", "redis://ann:********@host/2"),
            ("redis://:canary@host", "redis://:********@host"),
            ("unix:///run/redis.sock?db=1&pass=canary", "unix:///run/redis.sock?********"),
            ("redis://ann:12/canary@host", MASK),
            ("redis://ann:12?canary@host", MASK),
            ("redis://ann:12#canary@host", MASK),
            ("redis:ann:canary@host", MASK),
            ("redis://:canary@no such host", MASK),
            ("redis://:can/ary@host", MASK),
            ("canary", MASK),
            ("", ""),
        ] {
            assert_eq!(mask_url(text), shown, "{text}");
        }
        assert_eq!(mask_path("/status/{id}?key=canary?canary"), "/status/{id}?********");
        assert_eq!(mask_path("/status/{id}"), "/status/{id}");
    }
}
