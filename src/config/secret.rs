//! A secret, and how it is read: anew each time, so that a rotated one is taken without a restart.

use std::io;
use std::path::PathBuf;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// A secret: given as text, or as a file that is read each time it is needed.
#[derive(Clone, Debug)]
pub enum Secret {
    /// Given as text.
    Text(SecretString),
    /// Given as `<name>_file`.
    File(PathBuf),
}

impl Secret {
    /// The secret; a file is read anew each time.
    ///
    /// # Errors
    /// Names the file and why it could not be read; never what is in it.
    pub fn read(&self) -> io::Result<SecretString> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(SecretString::from(text.trim_end_matches(['\r', '\n']).to_owned())),
                Err(error) => {
                    let text = format!("{}: {error}", path.display());
                    Err(io::Error::new(error.kind(), text))
                }
            },
        }
    }

    /// The secret as the value of a header, which is never shown either.
    ///
    /// # Errors
    /// As [`Secret::read`], and when it contains what no header can carry.
    pub fn read_header(&self) -> io::Result<HeaderValue> {
        let secret = self.read()?;
        let mut value = HeaderValue::from_str(secret.expose_secret()).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, "contains what no header can carry")
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The setting that gives it, for the setting `key` of the text.
    pub(super) fn setting(&self, key: &str) -> String {
        match self {
            Self::Text(_) => key.to_owned(),
            Self::File(_) => format!("{key}_file"),
        }
    }
}
