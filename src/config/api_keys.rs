//! The keys of the gateway, each with the name of those who may use it.

use std::io;

use secrecy::{ExposeSecret, SecretString};

use super::secret::Secret;

/// The keys, as text or as a file that is read when it is needed.
#[derive(Clone, Debug)]
pub struct ApiKeys(pub(super) Secret);

/// A named key.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Appears in logs and history.
    pub name: String,
    /// Never shown.
    pub key: SecretString,
}

impl ApiKeys {
    /// The keys; a file is read anew each time.
    ///
    /// # Errors
    /// As [`Secret::read`], and when an entry is no `name:key`; never shows one.
    pub fn read(&self) -> io::Result<Vec<ApiKey>> {
        let text = self.0.read()?;
        parse(text.expose_secret()).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
    }
}

/// Keys between commas, or one a line.
fn parse(text: &str) -> Result<Vec<ApiKey>, &'static str> {
    let named = text.split([',', '\n']).map(str::trim).filter(|it| !it.is_empty());
    let key = |named: &str| match named.split_once(':') {
        Some((name, key)) if !name.is_empty() && !key.is_empty() => {
            Ok(ApiKey { name: name.to_owned(), key: key.into() })
        }
        _ => Err("each must be name:key"),
    };
    let keys: Vec<ApiKey> = named.map(key).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err("there is none") } else { Ok(keys) }
}
