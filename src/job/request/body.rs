//! The body as bytes: its digest, and what of it goes to the API.
//!
//! Both work on any bytes. The worker calls [`body_to_send`] before each POST; whoever admits a
//! job calls [`body_sha1`], by which a duplicate is told from a conflict.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::fields;

const NULL: &str = "null";

/// The SHA-1 of a body, in lower-case hexadecimal: the record's `body-sha1`.
#[must_use]
pub fn body_sha1(body: &[u8]) -> String {
    sha1_smol::Sha1::from(body).digest().to_string()
}

/// The body as given, except that optional fields whose value is null are left out: null is
/// absence to us (docs/contract.md, section 3), and may be a wrong type to the API.
///
/// All other fields keep their bytes and their order. Bytes that are no JSON object come back as
/// they are.
#[must_use]
pub fn body_to_send(body: &[u8]) -> Cow<'_, [u8]> {
    if !body
        .windows(NULL.len())
        .any(|window| window == NULL.as_bytes())
    {
        return Cow::Borrowed(body);
    }
    let Ok(Members(members)) = serde_json::from_slice(body) else {
        return Cow::Borrowed(body);
    };
    let kept: Vec<String> = members
        .iter()
        .filter(|(name, value)| !(value.get() == NULL && is_optional(name)))
        .map(|(name, value)| format!("{name}:{value}"))
        .collect();
    if kept.len() == members.len() {
        return Cow::Borrowed(body);
    }
    Cow::Owned(format!("{{{}}}", kept.join(",")).into_bytes())
}

fn is_optional(quoted_name: &RawValue) -> bool {
    let name: Result<String, _> = serde_json::from_str(quoted_name.get());
    name.is_ok_and(|name| fields::is_optional(&name))
}

/// The fields of an object, names and values as they were written.
struct Members<'de>(Vec<(&'de RawValue, &'de RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(body: &str) -> String {
        String::from_utf8(body_to_send(body.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn the_digest_is_lower_case_hexadecimal() {
        assert_eq!(
            body_sha1(b"abc"),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
    }

    #[test]
    fn null_for_an_optional_field_is_left_out_and_the_rest_keeps_its_bytes() {
        let table = [
            (r#"{"user-id":"u","image-urls":null}"#, r#"{"user-id":"u"}"#),
            (
                r#"{"image-urls" : null, "user-id" : "\u00fc"}"#,
                r#"{"user-id":"\u00fc"}"#,
            ),
            (
                r#" { "video-texts":null , "n": 1.50e1 , "o":[ 1, null ] } "#,
                r#"{"n":1.50e1,"o":[ 1, null ]}"#,
            ),
            (r#"{"reference-record-id":null}"#, "{}"),
            (
                r#"{"phrase\u002dtexts":null,"a":"null"}"#,
                r#"{"a":"null"}"#,
            ),
        ];
        for (given, expected) in table {
            assert_eq!(sent(given), expected);
        }
    }

    #[test]
    fn a_body_with_nothing_to_leave_out_is_not_copied() {
        let bodies: [&[u8]; 7] = [
            br#"{ "user-id" : "u" }"#,
            br#"{"phrase-texts":["null", "x"]}"#,
            br#"{"user-id":null}"#,
            br#"{"something-else":null}"#,
            br#"{"image-urls":null"#,
            b"null",
            b"\xff null",
        ];
        for body in bodies {
            let sent = body_to_send(body);
            assert!(
                matches!(sent, Cow::Borrowed(same) if same == body),
                "{sent:?}"
            );
        }
    }
}
