//! The bytes of an answer become a body that can be read.
//!
//! `transport` collects them and `wire` reads what this makes of them. A browser's leniency
//! (docs/contract.md, section 7): a compression that nobody asked for, a byte order mark, what is
//! not UTF-8, control characters that should have been escaped, and an end that did not come are
//! no reasons to throw a paid answer away.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Read as _;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

use super::wire;

/// What a gzip begins with, and no JSON does. So it does not matter what the headers say.
const GZIP: &[u8] = &[0x1f, 0x8b];
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Body {
    /// All of it, or all that matters: a whole JSON object. It is UTF-8.
    Whole(Bytes),
    /// It is not all there. The text says why.
    Cut(&'static str),
}

impl Body {
    /// A body that is too long.
    pub(super) const TOO_LONG: Self = Self::Cut("longer than api.max_response_bytes");

    /// What these bytes say, of which no more than `limit` are read, before and after
    /// decompression. `broken_off` says why there are no more of them, if there should be.
    pub(super) fn of(bytes: Bytes, broken_off: Option<&'static str>, limit: usize) -> Self {
        let (bytes, broken_off) = if bytes.starts_with(GZIP) {
            let (unzipped, is_sound) = unzip(&bytes, limit);
            let broken_off = broken_off.unwrap_or("its compression is broken");
            (Bytes::from(unzipped), (!is_sound).then_some(broken_off))
        } else {
            (bytes, broken_off)
        };
        if bytes.len() > limit {
            return Self::TOO_LONG;
        }
        let text = readable(bytes);
        match broken_off {
            Some(why) if !wire::is_object(&text) => Self::Cut(why),
            _ => Self::Whole(text),
        }
    }
}

/// What is in a gzip, up to one byte over the limit, and whether it is sound as far as it was read.
fn unzip(zipped: &[u8], limit: usize) -> (Vec<u8>, bool) {
    let mut unzipped = Vec::new();
    let limit = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let end = MultiGzDecoder::new(zipped).take(limit).read_to_end(&mut unzipped);
    (unzipped, end.is_ok())
}

/// The bytes as text, with U+FFFD in place of what is not UTF-8. Most are text already, and are
/// passed on as they are.
fn readable(bytes: Bytes) -> Bytes {
    let bytes = match bytes.strip_prefix(BYTE_ORDER_MARK.as_bytes()) {
        Some(rest) => bytes.slice_ref(rest),
        None => bytes,
    };
    let text = String::from_utf8_lossy(&bytes);
    if text.trim_start().starts_with('{') && text.bytes().any(|byte| byte.is_ascii_control()) {
        return Bytes::from(escaped(&text));
    }
    match text {
        Cow::Borrowed(_) => bytes,
        Cow::Owned(text) => Bytes::from(text),
    }
}

/// JSON in whose texts the control characters are escaped, as they should have been.
fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    let (mut is_in_text, mut is_after_backslash) = (false, false);
    for it in json.chars() {
        is_in_text ^= it == '"' && !is_after_backslash;
        is_after_backslash = it == '\\' && !is_after_backslash;
        if is_in_text && it.is_ascii_control() {
            // Writing to a text cannot fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(it));
        } else {
            escaped.push(it);
        }
    }
    escaped
}
