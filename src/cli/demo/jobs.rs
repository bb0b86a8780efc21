//! The demo's jobs, and by which way each comes.

use crate::job::{JobId, Request};

/// Every so many jobs one comes over HTTP.
const HTTP_EVERY: usize = 3;

/// One job.
pub(super) struct Job {
    pub(super) request: Request,
    pub(super) way: Way,
}

/// By which way a job comes onto the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// An entry on the inbox stream.
    Redis,
    /// A POST to the gateway.
    Http,
}

impl Way {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Http => "http",
        }
    }
}

impl Job {
    pub(super) fn new(number: usize) -> Self {
        let id = JobId::new(format!("demo-{number:02}")).expect("a valid id");
        let request = Request::new(id, "demo-customer", "birthday", format!("user-{number:02}"))
            .phrase_texts([format!("Happy birthday, user {number}!")])
            .build()
            .expect("a valid request");
        let way = if number.is_multiple_of(HTTP_EVERY) { Way::Http } else { Way::Redis };
        Self { request, way }
    }

    pub(super) fn id(&self) -> &JobId {
        self.request.id()
    }
}
