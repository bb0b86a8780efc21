//! placeholder: the shapes are fixed, the rules are being written.
use super::{JobId, Millis};

/// What to do with request fields that the API does not document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownFields {
    /// Refuse the request.
    Reject,
    /// Send them on.
    Pass,
}

/// One fault of a request: the field and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, as the producer wrote it.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Every fault of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

/// A valid generation request: its identity, the fields the queue needs, and its body as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    id: JobId,
    user_id: String,
    customer_id: String,
    use_case_id: String,
    body: Vec<u8>,
}

/// What may stand beside the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFields {
    /// Do not submit earlier.
    pub not_before: Option<Millis>,
    /// Bounds the whole job.
    pub expires_at: Option<Millis>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Opaque text up to 4 KiB, carried to the record and the result.
    pub meta: Option<String>,
}
