//! The URLs of the remote API, put together once.
//!
//! An id goes into the path as one segment: whatever it contains, it cannot climb out of it, open
//! a query or name another host.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

use super::error::BuildError;
use crate::config::Api;

/// Stands for the transaction in `api.status_path`.
const ID: &str = "{id}";
/// All but the characters that RFC 3986 calls unreserved.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where the three calls go.
pub(super) struct Endpoints {
    /// The token call, without its query.
    pub(super) token: Url,
    /// The submit.
    pub(super) submit: Url,
    /// The status check, before and after the id.
    status: (String, String),
}

impl Endpoints {
    /// The URLs under `api.base_url`, which may have a path of its own.
    pub(super) fn new(api: &Api) -> Result<Self, BuildError> {
        let bad = |key, why| BuildError::Setting { key, why };
        let base = &api.base_url;
        if base.cannot_be_a_base() || base.query().is_some() || base.fragment().is_some() {
            return Err(bad("api.base_url", "must be scheme, host and path only"));
        }
        // They would become a second `Authorization` header.
        if !base.username().is_empty() || base.password().is_some() {
            return Err(bad("api.base_url", "must not contain a user name or password"));
        }
        let join = |path: &str| format!("{}{path}", base.as_str().trim_end_matches('/'));
        let url = |key, path: &str| {
            if !path.starts_with('/') {
                return Err(bad(key, "must start with \"/\""));
            }
            Url::parse(&join(path)).map_err(|_| bad(key, "makes no valid URL"))
        };
        // Kept as text, for the braces do not survive the parsing.
        url("api.status_path", &api.status_path)?;
        let status = join(&api.status_path);
        let status = status.split_once(ID).map(|(before, after)| (before.into(), after.into()));
        Ok(Self {
            token: url("api.token_path", &api.token_path)?,
            submit: url("api.submit_path", &api.submit_path)?,
            status: status.ok_or(bad("api.status_path", "must contain \"{id}\""))?,
        })
    }

    /// The status check of a transaction; `None` for an id that cannot be a path segment.
    pub(super) fn status(&self, whilter_request_id: &str) -> Option<Url> {
        // A dot segment would climb, encoded or not.
        if matches!(whilter_request_id, "" | "." | "..") {
            return None;
        }
        let id = utf8_percent_encode(whilter_request_id, SEGMENT);
        Url::parse(&format!("{}{id}{}", self.status.0, self.status.1)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::api;
    use super::*;

    fn with(base: &str, status_path: &str) -> Result<Endpoints, BuildError> {
        let base_url = Url::parse(base).unwrap();
        Endpoints::new(&Api { base_url, status_path: status_path.to_owned(), ..api(1) })
    }

    #[test]
    fn a_base_url_may_have_a_path_and_a_trailing_slash() {
        for base in ["https://host/prefix", "https://host/prefix/"] {
            let endpoints = with(base, "/status/{id}").unwrap();
            assert_eq!(endpoints.submit.as_str(), "https://host/prefix/video/demo");
            assert_eq!(endpoints.token.as_str(), "https://host/prefix/getToken");
            assert_eq!(endpoints.status("a").unwrap().as_str(), "https://host/prefix/status/a");
        }
        assert_eq!(
            with("https://host", "/v2/{id}/state").unwrap().status("a").unwrap().as_str(),
            "https://host/v2/a/state"
        );
    }

    #[test]
    fn settings_that_make_no_usable_url_are_refused() {
        for (base, path) in [
            ("https://host", "/status"),
            ("https://host", "status/{id}"),
            ("https://user:pass@host", "/status/{id}"),
            ("https://host?a=b", "/status/{id}"),
            ("https://host#a", "/status/{id}"),
            ("data:text", "/status/{id}"),
        ] {
            let error = with(base, path).err().unwrap().to_string();
            assert!(
                error.starts_with("api.") && !error.contains("pass@"),
                "{base} {path}: {error}"
            );
        }
    }

    #[test]
    fn an_id_is_one_segment_whatever_it_contains() {
        let endpoints = with("https://host/p", "/status/{id}").unwrap();
        for (id, encoded) in [
            ("a/../../b", "a%2F..%2F..%2Fb"),
            ("?x=1&y#z", "%3Fx%3D1%26y%23z"),
            ("%2e%2e", "%252e%252e"),
            ("\\..\\", "%5C..%5C"),
            ("@evil:80", "%40evil%3A80"),
            ("...", "..."),
            ("ä\r\n", "%C3%A4%0D%0A"),
        ] {
            let url = endpoints.status(id).unwrap();
            assert_eq!(url.as_str(), format!("https://host/p/status/{encoded}"), "{id:?}");
        }
        for climbing in ["", ".", ".."] {
            assert!(endpoints.status(climbing).is_none(), "{climbing:?}");
        }
    }
}
