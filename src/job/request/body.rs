//! The body's digest, and what of the body goes to the API.
//!
//! Both work on any bytes. The worker calls [`body_to_send`] before each POST; whoever admits a
//! job calls [`body_sha1`], by which a duplicate is told from a conflict.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::canonical::canonical;
use super::fields;

const NULL: &str = "null";

/// The SHA-1 of a body as canonical JSON, in lower-case hexadecimal: the record's `body-sha1`, the
/// same for the same fields and values whatever their order, spaces and escapes.
///
/// Of what is no JSON object, or is nested deeper than any request, it is that of the bytes.
#[must_use]
pub fn body_sha1(body: &[u8]) -> String {
    let canonical = canonical(body).map_or(Cow::Borrowed(body), Cow::Owned);
    sha1_smol::Sha1::from(canonical).digest().to_string()
}

/// The body as given, except that optional fields whose value is null are left out: null is
/// absence to us (docs/contract.md, section 3), and may be a wrong type to the API.
///
/// All other fields keep their bytes and their order. Bytes that are no JSON object come back as
/// they are.
#[must_use]
pub fn body_to_send(body: &[u8]) -> Cow<'_, [u8]> {
    if !body.windows(NULL.len()).any(|window| window == NULL.as_bytes()) {
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
pub(super) struct Members<'de>(pub(super) Vec<(&'de RawValue, &'de RawValue)>);

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
    fn the_digest_is_that_of_the_canonical_text_or_else_of_the_bytes() {
        assert_eq!(body_sha1(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let same = [r#"{"a":"\u00e9","b":[1]}"#, r#"{ "b": [ 1 ], "c": null, "a": "é" }"#];
        let expected = sha1_smol::Sha1::from(r#"{"a":"é","b":[1]}"#).digest().to_string();
        for body in same {
            assert_eq!(body_sha1(body.as_bytes()), expected);
        }
        // As floating-point numbers these two would be the same.
        assert_ne!(
            body_sha1(br#"{"n":9007199254740993}"#),
            body_sha1(br#"{"n":9007199254740992.0}"#)
        );
        let big = [br#"{"n":123456789012345678901}"#, br#"{"n":123456789012345678902}"#];
        assert_ne!(body_sha1(big[0]), body_sha1(big[1]));
    }

    #[test]
    fn null_for_an_optional_field_is_left_out_and_the_rest_keeps_its_bytes() {
        let table = [
            (r#"{"user-id":"u","image-urls":null}"#, r#"{"user-id":"u"}"#),
            (r#"{"image-urls" : null, "user-id" : "\u00fc"}"#, r#"{"user-id":"\u00fc"}"#),
            (
                r#" { "video-texts":null , "n": 1.50e1 , "o":[ 1, null ] } "#,
                r#"{"n":1.50e1,"o":[ 1, null ]}"#,
            ),
            (r#"{"reference-record-id":null}"#, "{}"),
            (r#"{"phrase\u002dtexts":null,"a":"null"}"#, r#"{"a":"null"}"#),
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
            assert!(matches!(sent, Cow::Borrowed(same) if same == body), "{sent:?}");
        }
    }
}
