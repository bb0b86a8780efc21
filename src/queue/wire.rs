//! How commands are built and replies are read, for all files of the queue.

use std::time::Duration;

use redis::{Cmd, FromRedisValue, Value};

use super::by_hand::Text;
use super::error::QueueError;

/// A plain command.
#[expect(clippy::disallowed_methods, reason = "the one place where commands are built")]
pub(super) fn command(name: &str) -> Cmd {
    redis::cmd(name)
}

/// A duration as commands and scripts take it, in whole milliseconds.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Likewise, and an empty text for none.
pub(super) fn or_nothing(duration: Option<Duration>) -> String {
    duration.map_or_else(String::new, |it| milliseconds(it).to_string())
}

/// The values of a flat reply, taken one by one.
pub(super) struct Values(std::vec::IntoIter<Value>);

impl Values {
    pub(super) fn new(reply: Vec<Value>) -> Self {
        Self(reply.into_iter())
    }

    /// How many are left.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The next value.
    pub(super) fn take<T: FromRedisValue>(&mut self) -> Result<T, QueueError> {
        let value = self.0.next().ok_or_else(|| unexpected("a reply that is too short"))?;
        T::from_redis_value(value).map_err(|error| QueueError::Unexpected(error.to_string()))
    }

    /// The next value; `None` for an empty text.
    pub(super) fn take_if_given<T: FromRedisValue>(&mut self) -> Result<Option<T>, QueueError> {
        if matches!(self.0.as_slice().first(), Some(Value::BulkString(text)) if text.is_empty()) {
            self.0.next();
            return Ok(None);
        }
        self.take().map(Some)
    }

    /// The next value as it stands in a record; `None`: the field is absent.
    pub(super) fn take_bytes(&mut self) -> Result<Option<Vec<u8>>, QueueError> {
        self.take()
    }

    /// A number of a record; `None`: it is absent, or somebody has written by hand what is none.
    pub(super) fn take_number(&mut self) -> Result<Option<u64>, QueueError> {
        let bytes = self.take_bytes()?.unwrap_or_default();
        Ok(std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok()))
    }

    /// A count of a record, likewise; absent, it is zero.
    pub(super) fn take_count(&mut self) -> Result<u32, QueueError> {
        let count = self.take_number()?.unwrap_or_default();
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// A text of a record; `None`: the field is absent.
    pub(super) fn take_text(&mut self) -> Result<Option<TextOrShown>, QueueError> {
        let read = |bytes| String::from_utf8(bytes).map_err(|it| Text::from(it.as_bytes()).0);
        Ok(self.take_bytes()?.map(read))
    }

    /// A list of names, for people.
    pub(super) fn take_names(&mut self) -> Result<Vec<String>, QueueError> {
        let names: Vec<Text> = self.take()?;
        Ok(names.into_iter().map(|name| name.0).collect())
    }
}

/// A text, or how it is shown if it is none.
pub(super) type TextOrShown = Result<String, String>;

fn unexpected(what: &str) -> QueueError {
    QueueError::Unexpected(what.to_owned())
}

/// An event for a job's history, with the name of who brought it about.
pub(super) fn history_event(event: &str, by: Option<&str>) -> String {
    match by {
        // A comma would end the item.
        Some(by) => format!("{event} from {}", by.replace(',', ";")),
        None => event.to_owned(),
    }
}
