//! What anybody may have written into Redis by hand, read so that it hides nothing else.
//!
//! Names, reasons and values of others are bytes, and a number may be none. The replies that show
//! a queue to people are read with these types; what is strange is shown as well as it can be.

use redis::{FromRedisValue, ParsingError, Value};

use crate::job::JobId;

/// Text; bytes that are not UTF-8 are shown as `\xff`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text(pub(super) String);

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
        }
        Self(text)
    }
}

impl FromRedisValue for Text {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        Vec::from_redis_value(value).map(|bytes: Vec<u8>| Self::from(bytes.as_slice()))
    }
}

/// A count, or a time in Unix ms: the whole part of a number, and zero for what is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Whole(pub(super) u64);

impl FromRedisValue for Whole {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let bytes = Vec::<u8>::from_redis_value(value)?;
        let text = String::from_utf8_lossy(&bytes);
        let whole = text.parse().ok();
        let whole = whole.or_else(|| text.parse().ok().map(saturated));
        Ok(Self(whole.unwrap_or_default()))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn saturated(number: f64) -> u64 {
    number as u64
}

/// A member of a place; what is no id is none of ours.
pub(super) fn read_id(member: Vec<u8>) -> Option<JobId> {
    JobId::new(String::from_utf8(member).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: FromRedisValue>(bytes: &[u8]) -> T {
        T::from_redis_value(Value::BulkString(bytes.to_vec())).unwrap()
    }

    #[test]
    fn bytes_that_are_no_text_are_shown() {
        let table: [(&[u8], &str); 5] = [
            (b"", ""),
            ("Größe\n".as_bytes(), "Größe\n"),
            (b"\xff", r"\xff"),
            (b"a\xc3b\x80\x0a", "a\\xc3b\\x80\n"),
            (b"\xf0\x9f\x98", r"\xf0\x9f\x98"),
        ];
        for (bytes, shown) in table {
            assert_eq!(read::<Text>(bytes).0, shown);
        }
    }

    #[test]
    fn a_number_is_read_as_far_as_it_is_one() {
        let table: [(&[u8], u64); 10] = [
            (b"7", 7),
            (b"18446744073709551615", u64::MAX),
            (b"1800000000000.5", 1_800_000_000_000),
            (b"1e+17", 100_000_000_000_000_000),
            (b"inf", u64::MAX),
            (b"-inf", 0),
            (b"-3", 0),
            (b"nan", 0),
            (b"many", 0),
            (b"\xff", 0),
        ];
        for (bytes, number) in table {
            assert_eq!(read::<Whole>(bytes).0, number, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
