//! The file: what its TOML says, as settings that are looked up like variables of the environment.

use std::collections::BTreeMap;

use toml::{Table, Value};

/// The text of each setting by its `section.name`; `None`: it is no single value.
pub(super) type Given = BTreeMap<String, Option<String>>;

/// Reads a file; with the settings come the mistakes of its shape. The error says where it is no
/// TOML.
pub(super) fn read(text: &str) -> Result<(Given, Vec<String>), String> {
    let sections: Table = text.parse().map_err(|error| without_quoting(&error, text))?;
    let (mut given, mut mistakes) = (Given::new(), Vec::new());
    for (section, content) in sections {
        let Value::Table(settings) = content else {
            mistakes.push(format!("{section}: must be a section of settings"));
            continue;
        };
        for (name, value) in settings {
            given.insert(format!("{section}.{name}"), text_of(value));
        }
    }
    Ok((given, mistakes))
}

/// A value as the environment would give it: a list with commas.
fn text_of(value: Value) -> Option<String> {
    let Value::Array(items) = value else { return single(value) };
    let items: Option<Vec<String>> = items.into_iter().map(single).collect();
    Some(items?.join(","))
}

fn single(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(is) => Some(is.to_string()),
        Value::Datetime(moment) => Some(moment.to_string()),
        Value::Array(_) | Value::Table(_) => None,
    }
}

/// Where a file is no TOML and why, without its line, in which a secret may stand.
fn without_quoting(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: {}", error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kind_are_read_as_text() {
        let text = "[a]\nt = \"x\"\ni = -1\nw = 2.0\nf = 0.5\nb = true\nd = 1979-05-27\n\
                    l = [\"x\", 2]\nn = [[1]]\no = { p = 1 }\n";
        let (given, mistakes) = read(text).unwrap();
        let shown: Vec<_> = given.iter().map(|(key, it)| (key.as_str(), it.as_deref())).collect();
        let expected = [
            ("a.b", Some("true")),
            ("a.d", Some("1979-05-27")),
            ("a.f", Some("0.5")),
            ("a.i", Some("-1")),
            ("a.l", Some("x,2")),
            ("a.n", None),
            ("a.o", None),
            ("a.t", Some("x")),
            // A whole number is read without its fraction.
            ("a.w", Some("2")),
        ];
        assert_eq!(shown, expected);
        assert!(mistakes.is_empty());
        assert_eq!(read("a = 1").unwrap().1, ["a: must be a section of settings"]);
    }

    #[test]
    fn a_line_that_is_no_toml_is_placed_and_never_quoted() {
        for (text, place) in [
            ("[api]\nclient_secret = \"canary", "line 2, column "),
            ("[api]\nclient_secret = canary", "line 2, column 17"),
            ("[api]\nclient_secret = 'canary' canary", "line 2, column 26"),
            ("[api]\nclient_secret canary", "line 2, column "),
            ("[api]\nclient_secret = \"canary\\q\"", "line 2, column "),
            ("[api]\nö = \"\"\ncanary", "line 3, column "),
            ("[api]\nk = \"canary\"\nk = \"canary\"", "line 3, column 1"),
            ("[api]\nk = 'canary\u{7}'", "line 2, column "),
            ("[canary\n", "line 1, column "),
            ("[api]\nk = 1canary", "line 2, column "),
            ("[api]\nk = 2020-13-41canary", "line 2, column "),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.starts_with(place), "{text:?}: {why}");
            assert!(!why.contains("canary") && !why.contains('\n'), "{text:?}: {why}");
        }
    }
}
