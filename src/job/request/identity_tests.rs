//! Which bodies are the same: those with the same fields and values, however they are written.

use std::collections::BTreeMap;
use std::fmt::Write;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;

use super::body_sha1;
use super::property_tests::many;

/// A JSON value; numbers are the text that stands for them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Json {
    Word(String),
    Text(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

/// Few enough that two are often alike, and with all that may be escaped.
const TEXT: &str = "[ab\"\\\\/\u{8}\t\u{1f}\u{7f}é\u{2028}😀{}:,]{0,4}";

fn values() -> impl Strategy<Value = Json> {
    let word = prop_oneof![
        prop::sample::select(vec!["null", "true", "false", "0", "-0", "1.0", "1e400"])
            .prop_map(str::to_owned),
        "-?[1-9][0-9]{0,25}(\\.[0-9]{1,20})?",
    ];
    let leaf = prop_oneof![word.prop_map(Json::Word), TEXT.prop_map(Json::Text)];
    leaf.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Json::Array),
            btree_map(TEXT, inner, 0..5).prop_map(Json::Object),
        ]
    })
}

fn objects() -> impl Strategy<Value = Json> {
    btree_map(TEXT, values(), 0..6).prop_map(Json::Object)
}

/// Writes as one producer among many would: with these choices of spaces, escapes and order.
struct Writer<'a> {
    choices: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    out: String,
}

impl<'a> Writer<'a> {
    fn write(json: &Json, choices: &'a [u8]) -> String {
        let mut writer = Self { choices: choices.iter().cycle(), out: String::new() };
        writer.value(json);
        writer.out
    }

    fn choice(&mut self, of: u8) -> u8 {
        self.choices.next().map_or(0, |choice| choice % of)
    }

    fn token(&mut self, token: &str) {
        let space = ["", "", " ", "\n", "\t", "\r\n"][usize::from(self.choice(6))];
        self.out.push_str(space);
        self.out.push_str(token);
    }

    fn text(&mut self, text: &str) {
        self.token("\"");
        for c in text.chars() {
            let must = c < ' ' || c == '"' || c == '\\';
            let short = match c {
                '"' | '\\' | '/' => Some(c),
                '\u{8}' => Some('b'),
                '\t' => Some('t'),
                _ => None,
            };
            match (self.choice(3), short) {
                (0, _) if !must => self.out.push(c),
                (1, Some(short)) => self.out.extend(['\\', short]),
                (choice, _) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let upper = choice == 2;
                        let unit = format!("{unit:04x}");
                        let unit = if upper { unit.to_uppercase() } else { unit };
                        write!(self.out, "\\u{unit}").unwrap();
                    }
                }
            }
        }
        self.out.push('"');
    }

    fn value(&mut self, json: &Json) {
        match json {
            Json::Word(word) => self.token(word),
            Json::Text(text) => self.text(text),
            Json::Array(items) => {
                self.token("[");
                for (index, item) in items.iter().enumerate() {
                    self.separate(index);
                    self.value(item);
                }
                self.token("]");
            }
            Json::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                let turn = usize::from(self.choice(u8::MAX)) % members.len().max(1);
                members.rotate_left(turn);
                self.token("{");
                for (index, (name, value)) in members.into_iter().enumerate() {
                    self.separate(index);
                    self.text(name);
                    self.token(":");
                    self.value(value);
                }
                self.token("}");
            }
        }
    }

    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.token(",");
        }
    }
}

/// Every value but arrays and objects themselves.
fn leaves<'a>(json: &'a mut Json, found: &mut Vec<&'a mut Json>) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(|item| leaves(item, found)),
        Json::Object(members) => members.values_mut().for_each(|item| leaves(item, found)),
        Json::Word(_) | Json::Text(_) => found.push(json),
    }
}

fn without_nulls(json: &Json) -> Json {
    let Json::Object(members) = json else { unreachable!("an object") };
    let mut members = members.clone();
    members.retain(|_, value| *value != Json::Word("null".to_owned()));
    Json::Object(members)
}

proptest! {
    #![proptest_config(many(5000))]

    #[test]
    fn spelling_does_not_matter(
        json in objects(), one in vec(any::<u8>(), 1..40), other in vec(any::<u8>(), 1..40),
    ) {
        let (one, other) = (Writer::write(&json, &one), Writer::write(&json, &other));
        prop_assert_eq!(body_sha1(one.as_bytes()), body_sha1(other.as_bytes()), "{}\n{}", one, other);
        let fewer = Writer::write(&without_nulls(&json), &[0]);
        prop_assert_eq!(body_sha1(one.as_bytes()), body_sha1(fewer.as_bytes()), "{}\n{}", one, fewer);
    }

    #[test]
    fn another_value_does(json in objects(), at in any::<Index>(), value in values()) {
        let mut changed = json.clone();
        let mut found = Vec::new();
        leaves(&mut changed, &mut found);
        if !found.is_empty() {
            let at = at.index(found.len());
            *found.swap_remove(at) = value;
        }
        let same = without_nulls(&changed) == without_nulls(&json);
        let (one, other) = (Writer::write(&json, &[0]), Writer::write(&changed, &[0]));
        prop_assert_eq!(body_sha1(one.as_bytes()) == body_sha1(other.as_bytes()), same);
    }
}
