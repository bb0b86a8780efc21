//! A generation request: what makes one valid, and its body as received.
//!
//! Producers, the gateway and the workers' intake all come through [`Request::parse`], so there is
//! one set of rules (docs/contract.md, sections 1 and 3). The body is read once and kept byte for
//! byte: what a producer wrote is what is stored and sent; only to compare two bodies are they
//! read by value. Nothing here panics on any input, and no text made here shows a value of a
//! request, only names of fields.

mod body;
mod builder;
mod canonical;
mod entry;
mod envelope;
mod fields;
mod found;
#[cfg(test)]
mod identity_tests;
mod parse;
mod problems;
#[cfg(test)]
pub(crate) mod property_tests;
#[cfg(test)]
mod tests;

pub use body::{body_sha1, body_to_send};
pub use builder::RequestBuilder;
pub use entry::{Entry, EntryFields};
pub use fields::{BODY_MAX_BYTES, NAME_MAX_BYTES, URL_MAX_BYTES, UnknownFields};
#[cfg(feature = "http")]
pub(crate) use fields::{FIELDS, Rule};
pub use problems::{Problem, Problems};

use super::JobId;

/// A valid generation request: its identity, the fields the queue needs, and its body as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    id: JobId,
    user_id: String,
    customer_id: String,
    use_case_id: String,
    body: Vec<u8>,
}

/// What a body turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The client-request-id, where a single valid one could be read; also of an invalid request,
    /// because identity is looked at before anything else.
    pub id: Option<JobId>,
    /// The request, or every fault of it.
    pub request: Result<Request, Problems>,
}

impl Request {
    /// Reads and checks a body; finds every fault, not only the first.
    #[must_use]
    pub fn parse(body: &[u8], unknown: UnknownFields) -> Parsed {
        let draft = parse::read(body, unknown);
        let request = match (&draft.id, draft.user_id, draft.customer_id, draft.use_case_id) {
            (Some(id), Some(user_id), Some(customer_id), Some(use_case_id))
                if draft.problems.is_empty() =>
            {
                Ok(Self {
                    id: id.clone(),
                    user_id: user_id.into_owned(),
                    customer_id: customer_id.into_owned(),
                    use_case_id: use_case_id.into_owned(),
                    body: body.to_vec(),
                })
            }
            _ => Err(draft.problems),
        };
        Parsed { id: draft.id, request }
    }

    /// The client-request-id.
    #[must_use]
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// The `user-id`.
    #[must_use]
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// The `customer-id`.
    #[must_use]
    pub fn customer_id(&self) -> &str {
        &self.customer_id
    }

    /// The `use-case-id`.
    #[must_use]
    pub fn use_case_id(&self) -> &str {
        &self.use_case_id
    }

    /// Template and customer: what jobs share a fault with (docs/contract.md, section 7). As
    /// `join_pair` of lua/lib/record.lua writes it.
    #[must_use]
    pub fn pair(&self) -> String {
        format!("{} {}", self.use_case_id, self.customer_id)
    }

    /// The body as received.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as received.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }
}
