//! What is taken over from the remote API, or from an operator on its behalf: ids and URLs.

use url::Url;

use super::request::URL_MAX_BYTES;

/// The longest whilter-request-id that is taken, in bytes.
const TRANSACTION_MAX_BYTES: usize = 256;

/// Whether this can be a whilter-request-id: it fits a path and a record.
#[must_use]
pub fn is_transaction_id(text: &str) -> bool {
    (1..=TRANSACTION_MAX_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && !matches!(text, "." | "..")
}

/// Whether this can be where a video or an image is: an http or https URL of at most 4 KiB
/// (docs/contract.md, section 7).
#[must_use]
pub fn is_media_url(text: &str) -> bool {
    text.len() <= URL_MAX_BYTES
        && !text.contains(char::is_control)
        && Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}
