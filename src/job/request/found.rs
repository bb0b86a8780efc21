//! What stands in a JSON body, whatever it is: the visitors that accept every type.
//!
//! Values are not kept as a tree: a text is borrowed where it can be, the elements of an array
//! are shown one by one to whoever asked, and the rest is read over. serde_json refuses more than
//! 128 levels of nesting here, so no body can exhaust the stack.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The name of a field.
#[derive(Deserialize)]
pub(super) struct Name<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// A value, or only its type where that is all that matters.
#[derive(Debug)]
pub(super) enum Found<'de> {
    Null,
    Text(Cow<'de, str>),
    Array,
    /// What no field may hold, by the name of its type.
    Other(&'static str),
}

/// The type, never the value, which may be confidential.
impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Text(_) => "a string",
            Self::Array => "an array",
            Self::Other(kind) => kind,
        })
    }
}

impl<'de> Deserialize<'de> for Found<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Each(|_, _: &Found<'_>| ()).deserialize(deserializer)
    }
}

/// Reads a value; if it is an array, shows its elements with their indices.
pub(super) struct Each<F>(pub(super) F);

impl<'de, F: FnMut(usize, &Found<'_>)> DeserializeSeed<'de> for Each<F> {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnMut(usize, &Found<'_>)> Visitor<'de> for Each<F> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Found<'de>, E> {
        Ok(Found::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found<'de>, E> {
        Ok(Found::Other("a boolean"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found<'de>, E> {
        Ok(Found::Other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found<'de>, E> {
        Ok(Found::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found<'de>, E> {
        Ok(Found::Other("a number"))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Found<'de>, E> {
        Ok(Found::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Found<'de>, E> {
        Ok(Found::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Found<'de>, A::Error> {
        let mut index = 0;
        while let Some(item) = items.next_element()? {
            (self.0)(index, &item);
            index += 1;
        }
        Ok(Found::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, Found<'de>>()?.is_some() {}
        Ok(Found::Other("an object"))
    }
}
