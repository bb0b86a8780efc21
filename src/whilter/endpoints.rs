//! The URLs of the remote API, put together once.
//!
//! The settings were checked when they were loaded, so none is refused here. An id goes into the
//! path as one segment: whatever it contains, it cannot climb out of it, open a query or name
//! another host.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

use crate::config::{Api, BaseUrl, StatusPath};

/// All but the characters that RFC 3986 calls unreserved.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where the three calls go.
pub(super) struct Endpoints {
    /// The token call, without its query.
    pub(super) token: Url,
    /// The submit.
    pub(super) submit: Url,
    base_url: BaseUrl,
    status_path: StatusPath,
}

impl Endpoints {
    /// The URLs under `api.base_url`, which may have a path of its own.
    pub(super) fn new(api: &Api) -> Self {
        Self {
            token: api.base_url.with(&api.token_path),
            submit: api.base_url.with(&api.submit_path),
            base_url: api.base_url.clone(),
            status_path: api.status_path.clone(),
        }
    }

    /// The status check of a transaction; `None` for an id that cannot be a path segment.
    pub(super) fn status(&self, whilter_request_id: &str) -> Option<Url> {
        // A dot segment would climb, encoded or not.
        if matches!(whilter_request_id, "" | "." | "..") {
            return None;
        }
        let id = utf8_percent_encode(whilter_request_id, SEGMENT).to_string();
        Some(self.base_url.with(&self.status_path.with(&id)))
    }
}
