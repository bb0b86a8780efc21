//! Why there is no client. What becomes of a call is no error but an outcome of `crate::job`.

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The HTTP client cannot be built (TLS, the system's certificates).
    #[error("the HTTP client cannot be built")]
    Http(#[from] reqwest::Error),
}
