//! Settings: read from a TOML file and the environment, checked as a whole, never guessed at.
//! (placeholder: the types are fixed, the loading is being written)

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// Every setting, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[redis]`
    pub redis: Redis,
    /// `[queue]`
    pub queue: Queue,
    /// `[api]`
    pub api: Api,
    /// `[submit]`
    pub submit: Submit,
    /// `[poll]`
    pub poll: Poll,
    /// `[worker]`
    pub worker: Worker,
    /// `[http]`
    pub http: Http,
    /// `[gateway]`
    pub gateway: Gateway,
    /// `[webhook]`
    pub webhook: Webhook,
    /// `[log]`
    pub log: Log,
}

/// A secret: given as text, or as a file that is read each time it is needed.
#[derive(Clone, Debug)]
pub enum Secret {
    /// Given as text.
    Text(SecretString),
    /// Given as `<name>_file`.
    File(PathBuf),
}
