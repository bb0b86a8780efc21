//! Good answers that are written in a way that a browser would read all the same.
//!
//! `rules` names a way, `answer` has it written here; what hyper would not write, a connection's
//! `Outbound` changes on its way out.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{StreamExt as _, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Header lines of an answer that has many.
const MANY_HEADERS: usize = 300;
/// So many bytes are announced and never sent.
const MISSING_BYTES: usize = 9;
/// What stands first where a key is given twice.
const WRONG: &str = "ERROR";
/// A message whose letter 0xfc is no UTF-8, and the same as UTF-8.
const GREETING: (&[u8], &str) = (b"f\xfcr Sie", "für Sie");
/// A header that leaves as a line that is none, and that line: as long.
const HEADER: &[u8] = b"\r\nphp-warning: x\r\n";
const WARNING: &[u8] = b"\r\nPHP Warning: x\r\n";

/// A body on its way; an error ends its connection.
pub(super) type Sent = UnsyncBoxBody<Bytes, io::Error>;

/// A way to write a good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Odd {
    /// A byte order mark before the body.
    Bom,
    /// A message in Latin-1, which is no UTF-8.
    Latin1,
    /// Each key twice, the last one right.
    Twice,
    /// A line among the header lines that is none.
    PhpWarning,
    /// Several hundred header lines.
    Headers,
    /// Compressed, although nobody asked for it.
    Gzip,
    /// The connection ends after the object and before the announced end.
    Unended,
    /// Something after the object.
    Trailing,
}

impl Odd {
    /// All ways, by the names that rules have for them.
    pub(super) const ALL: [(&str, Self); 8] = [
        ("bom", Self::Bom),
        ("latin1", Self::Latin1),
        ("twice", Self::Twice),
        ("php-warning", Self::PhpWarning),
        ("headers", Self::Headers),
        ("gzip", Self::Gzip),
        ("unended", Self::Unended),
        ("trailing", Self::Trailing),
    ];

    /// Writes an answer whose body is a JSON object.
    pub(super) fn write(self, headers: &mut HeaderMap, json: Vec<u8>) -> Sent {
        whole(match self {
            Self::Bom => ["\u{feff}".as_bytes(), &json].concat(),
            Self::Latin1 => in_latin1(json),
            Self::Twice => each_key_twice(json),
            Self::PhpWarning => {
                let name = HeaderName::from_static("php-warning");
                headers.insert(name, HeaderValue::from_static("x"));
                json
            }
            Self::Headers => {
                let named = |number| HeaderName::try_from(format!("x-sandbox-{number}")).ok();
                let names = (0..MANY_HEADERS).filter_map(named);
                headers.extend(names.map(|name| (name, HeaderValue::from_static("x"))));
                json
            }
            Self::Gzip => {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                compressed(&json)
            }
            Self::Unended => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(json.len() + MISSING_BYTES));
                return unended(json);
            }
            Self::Trailing => [&json[..], b"\n<!-- 12 ms -->"].concat(),
        })
    }
}

/// A body that is sent as it stands.
pub(super) fn whole(body: Vec<u8>) -> Sent {
    Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync()
}

/// A body whose connection breaks off after it.
fn unended(body: Vec<u8>) -> Sent {
    let sent = stream::once(std::future::ready(Ok(Frame::data(Bytes::from(body)))));
    let breaks = stream::once(async {
        // An error at once would be seen before anything is written.
        tokio::task::yield_now().await;
        Err(io::ErrorKind::UnexpectedEof.into())
    });
    StreamBody::new(sent.chain(breaks)).boxed_unsync()
}

fn in_latin1(json: Vec<u8>) -> Vec<u8> {
    let (latin1, utf8) = GREETING;
    let Ok(mut members) = serde_json::from_slice::<Map<String, Value>>(&json) else { return json };
    members.insert("message".to_owned(), utf8.into());
    let text = Value::from(members).to_string();
    match text.split_once(utf8) {
        Some((before, after)) => [before.as_bytes(), latin1, after.as_bytes()].concat(),
        None => json,
    }
}

fn each_key_twice(json: Vec<u8>) -> Vec<u8> {
    let Ok(members) = serde_json::from_slice::<Map<String, Value>>(&json) else { return json };
    let wrong = members.into_iter().map(|(key, _)| format!("{}:\"{WRONG}\",", Value::from(key)));
    let object = json.get(1..).unwrap_or_default();
    [b"{", wrong.collect::<String>().as_bytes(), object].concat()
}

fn compressed(json: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    let written = gzip.write_all(json).and_then(|()| gzip.finish());
    written.expect("memory takes whatever is written to it")
}

/// A connection on which a header may leave as a line that is none, which hyper would not write.
pub(super) struct Outbound(pub(super) TcpStream);

impl Outbound {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().0)
    }
}

impl AsyncRead for Outbound {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(context, buffer)
    }
}

impl AsyncWrite for Outbound {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // In JSON no line ends like this: only a head can hold it.
        let Some(at) = bytes.windows(HEADER.len()).position(|some| some == HEADER) else {
            return self.stream().poll_write(context, bytes);
        };
        let after = &bytes[at + HEADER.len()..];
        self.stream().poll_write(context, &[&bytes[..at], WARNING, after].concat())
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }
}
