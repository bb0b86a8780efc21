//! How to connect to Redis: the settings of `[redis]` with what their files hold.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::mask::mask_url;
use super::reader::ConfigErrors;
use super::secret::Secret;
use super::settings::Redis;

/// What of `[redis]` had to be read from files.
pub struct RedisConnection {
    /// The address; may hold a password.
    pub url: String,
    /// The password.
    pub password: Option<String>,
    /// PEM of the authority.
    pub ca: Option<Vec<u8>>,
    /// PEM of our certificate.
    pub certificate: Option<Vec<u8>>,
    /// PEM of its key.
    pub key: Option<Vec<u8>>,
}

impl Redis {
    /// Where Redis is, without a password.
    #[must_use]
    pub fn shown(&self) -> String {
        mask_url(self.url.expose_secret())
    }

    /// How to connect, for the queue.
    ///
    /// # Errors
    /// Every file that cannot be read, by its setting's name.
    pub fn connect_options(&self) -> Result<RedisConnection, ConfigErrors> {
        let mut mistakes = Vec::new();
        let mut read = |key: &str, path: &Option<PathBuf>| {
            let content = path.as_ref().map(std::fs::read)?;
            content.map_err(|error| mistakes.push(format!("redis.{key}: {error}"))).ok()
        };
        let (ca, certificate, key) = (
            read("ca_file", &self.ca_file),
            read("cert_file", &self.cert_file),
            read("key_file", &self.key_file),
        );
        let password = self.password.as_ref().map(Secret::read).transpose();
        let password = password.unwrap_or_else(|error| {
            mistakes.push(format!("redis.password_file: {error}"));
            None
        });
        if !mistakes.is_empty() {
            return Err(ConfigErrors(mistakes));
        }
        Ok(RedisConnection {
            url: self.url.expose_secret().to_owned(),
            password: password.map(|it: SecretString| it.expose_secret().to_owned()),
            ca,
            certificate,
            key,
        })
    }
}
