//! Settings: read from a TOML file and the environment, checked as a whole, never guessed at.
//!
//! `load` finds the file and makes [`Settings`] of it and the environment. `document` reads the TOML,
//! `reader` looks each value up and remembers where it came from, `sections` goes section by section.
//! `values`, `address` and `api_keys` say what a single value may be, `checks` what only holds together.
//!
//! Every command begins here; nothing below is used but `job`. Whatever can be refused is refused
//! here, so that all mistakes are listed at once, and nothing that may hold a secret is shown but
//! through `mask`.

mod address;
mod api_keys;
mod checks;
mod document;
mod load;
mod mask;
mod reader;
mod redis;
mod secret;
mod sections;
mod settings;
#[cfg(test)]
mod tests;
mod values;

pub use address::{ApiPath, BaseUrl, StatusPath};
pub use api_keys::{ApiKey, ApiKeys};
pub use load::{Loaded, Source};
pub use reader::{ConfigErrors, Shown};
pub use redis::RedisConnection;
pub use secret::Secret;
pub use settings::*;
pub(crate) use values::{duration, duration_or_zero};
