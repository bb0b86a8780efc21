//! The client of the remote API: submit a request, ask for its video, keep a token.
//!
//! `worker` calls [`Client`] and gets outcomes of `crate::job`. A call goes through `client`
//! (token, repeat after a 401), `transport` (one bounded exchange), and `outcome` (what the answer
//! means; docs/contract.md, section 7). Nothing here knows Redis, and nothing sends a POST twice
//! except after an answer (401) that proves the first was refused.
//!
//! The client secret stands in the token URL, so no error text ever carries a URL.

mod answer;
mod body;
mod client;
mod endpoints;
mod error;
mod outcome;
#[cfg(test)]
mod tests;
mod token;
mod transport;
mod wire;

pub use client::{Began, Client};
pub use error::BuildError;
pub use token::TokenTurn;
