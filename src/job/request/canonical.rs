//! A body as canonical JSON, by which the same fields and values are known whatever their spelling.
//!
//! Keys are sorted, spaces gone, every string is spelled in one way, and a null at the top level,
//! which is absence, is left out. A number stays as it was written: reading it would make two
//! large numbers equal that are not. Nesting is bounded, so no body can exhaust the stack.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::fields::BODY_MAX_BYTES;

/// The deepest nesting, as in serde_json, by which bodies are read.
const MAX_DEPTH: usize = 127;
const NULL: &[u8] = b"null";

/// The canonical text of a JSON object; `None` for what is none, is nested too deep or is longer
/// than any request.
pub(super) fn canonical(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() > BODY_MAX_BYTES {
        return None;
    }
    let text = str::from_utf8(body).ok()?;
    // From here on the text is known to be JSON: the reader only has to find its parts.
    let _json: IgnoredAny = serde_json::from_str(text).ok()?;
    let mut reader = Reader { rest: text };
    if reader.next()? != b'{' {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    reader.object(MAX_DEPTH, |value| value != NULL, &mut out)?;
    Some(out)
}

/// Reads text that is known to be JSON; `None` for what cannot be spelled canonically.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// The first byte after white space.
    fn next(&mut self) -> Option<u8> {
        let spaces = self.rest.bytes().take_while(|byte| is_space(*byte)).count();
        self.take(spaces)?;
        self.rest.bytes().next()
    }

    fn take(&mut self, length: usize) -> Option<&'a str> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// Writes the next value; it may have `depth` levels.
    fn value(&mut self, depth: usize, out: &mut Vec<u8>) -> Option<()> {
        match self.next()? {
            b'{' => self.object(depth, |_| true, out),
            b'[' => self.array(depth, out),
            b'"' => write_text(&self.text()?, out),
            _ => {
                let ends = |byte| is_space(byte) || matches!(byte, b',' | b']' | b'}');
                let length = self.rest.bytes().take_while(|byte| !ends(*byte)).count();
                out.extend_from_slice(self.take(length)?.as_bytes());
                Some(())
            }
        }
    }

    /// Writes an object with those members whose canonical value is wanted, sorted by name; those
    /// of one name stay in their order, since it says which one counts.
    fn object(
        &mut self,
        depth: usize,
        is_wanted: fn(&[u8]) -> bool,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let inner = depth.checked_sub(1)?;
        let (mut members, mut values) = (Vec::new(), Vec::new());
        self.items(|reader| {
            let name = reader.text()?;
            reader.next()?;
            reader.take(":".len())?;
            let begin = values.len();
            reader.value(inner, &mut values)?;
            members.push((name, begin..values.len()));
            Some(())
        })?;
        members.retain(|(_, value)| values.get(value.clone()).is_some_and(is_wanted));
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        out.push(b'{');
        for (index, (name, value)) in members.into_iter().enumerate() {
            separate(index, out);
            write_text(&name, out)?;
            out.push(b':');
            out.extend_from_slice(values.get(value)?);
        }
        out.push(b'}');
        Some(())
    }

    fn array(&mut self, depth: usize, out: &mut Vec<u8>) -> Option<()> {
        let inner = depth.checked_sub(1)?;
        out.push(b'[');
        let mut index = 0;
        self.items(|reader| {
            separate(index, out);
            index += 1;
            reader.value(inner, out)
        })?;
        out.push(b']');
        Some(())
    }

    /// Reads from an opening bracket to its closing one.
    fn items(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take("{".len())?;
        loop {
            match self.next()? {
                b'}' | b']' => return self.take("}".len()).map(|_| ()),
                b',' => _ = self.take(",".len())?,
                _ => item(self)?,
            }
        }
    }

    /// Reads a string. A lone half of a surrogate pair is no text.
    fn text(&mut self) -> Option<Cow<'a, str>> {
        self.next()?;
        let bytes = self.rest.as_bytes();
        let (mut end, mut has_escapes) = ("\"".len(), false);
        loop {
            end += bytes.get(end..)?.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
            if bytes.get(end) == Some(&b'"') {
                break;
            }
            has_escapes = true;
            end += r"\n".len();
        }
        let quoted = self.take(end + "\"".len())?;
        if has_escapes {
            return serde_json::from_str(quoted).ok().map(Cow::Owned);
        }
        quoted.get("\"".len()..end).map(Cow::Borrowed)
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    serde_json::to_writer(out, text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Request, UnknownFields};

    fn text(body: &str) -> String {
        canonical(body.as_bytes()).map_or("none".to_owned(), |it| String::from_utf8(it).unwrap())
    }

    #[test]
    fn order_spaces_and_escapes_do_not_matter_and_a_null_is_absence() {
        let table = [
            ("{}", "{}"),
            (" {\n} ", "{}"),
            (r#"{"b":"x","a":[ "y" , true ]}"#, r#"{"a":["y",true],"b":"x"}"#),
            (r#"{"b" : null, "a":{"d":null,"c":[null]}}"#, r#"{"a":{"c":[null],"d":null}}"#),
            (r#"{"\u0061":"\u00e9\/\u0009\ud83d\ude00"}"#, r#"{"a":"é/\t😀"}"#),
            (r#"{"a":"\u0000\u001f\u007f\"\\"}"#, "{\"a\":\"\\u0000\\u001f\u{7f}\\\"\\\\\"}"),
            // Sorted by what the names are, not by how they are written.
            (
                r#"{"a\"b":1,"a!":2,"a":3,"\u00e9":4,"z":5}"#,
                r#"{"a":3,"a!":2,"a\"b":1,"z":5,"é":4}"#,
            ),
            (
                r#"{"a":[1 ,1.0, 1e2,-0,18446744073709551617]}"#,
                "{\"a\":[1,1.0,1e2,-0,18446744073709551617]}",
            ),
            (r#"{"a":{"x":1,"y":2,"x":0}}"#, r#"{"a":{"x":1,"x":0,"y":2}}"#),
            (r#"{"a":"}],{[:","b":[[],{}]}"#, r#"{"a":"}],{[:","b":[[],{}]}"#),
        ];
        for (body, expected) in table {
            assert_eq!(text(body), expected, "{body}");
            assert_eq!(text(expected), expected, "the canonical text is its own");
        }
    }

    #[test]
    fn what_is_no_object_has_no_canonical_text() {
        let deep =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        let deepest = deep(MAX_DEPTH - 1);
        assert_eq!(text(&deepest), deepest);
        let problems = Request::parse(deepest.as_bytes(), UnknownFields::Pass).request.unwrap_err();
        assert!(!problems.to_string().contains("not JSON"), "a body may be nested as deep");
        let too_deep = [deep(MAX_DEPTH), deep(100_000), "{\"a\":".repeat(50_000)];
        let too_long = format!("{{}}{}", " ".repeat(BODY_MAX_BYTES));
        let others = ["", "[]", "null", "{", "{} {}", r#"{"a":"\ud800"}"#, &too_long];
        for body in too_deep.iter().map(String::as_str).chain(others) {
            assert_eq!(canonical(body.as_bytes()), None, "{body:.40}");
        }
        assert_eq!(canonical(b"{\"a\":\"\xff\"}"), None);
    }
}
