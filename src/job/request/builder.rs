//! Writes a request body for producers in Rust, then checks it like any other.

use serde_json::{Map, Value};

use super::Request;
use super::fields::{self, UnknownFields};
use super::problems::Problems;
use crate::job::JobId;

/// A request being put together: see [`Request::new`]. A field that is set twice has the last
/// value; the same fields always make the same body.
#[derive(Clone, Debug)]
#[must_use = "a request is made by `build`"]
pub struct RequestBuilder {
    fields: Map<String, Value>,
}

impl Request {
    /// Begins a request of this identity for this customer, use case and user.
    ///
    /// ```
    /// use reelq::job::{JobId, Request};
    ///
    /// let id = JobId::new("order-7").expect("visible ASCII");
    /// let request = Request::new(id, "acme", "birthday", "user-1")
    ///     .phrase_texts(["Happy birthday, Ann"])
    ///     .image_urls(["https://cdn.example.com/ann.jpg"])
    ///     .build()?;
    /// assert_eq!(request.user_id(), "user-1");
    /// # Ok::<(), reelq::job::Problems>(())
    /// ```
    #[expect(clippy::new_ret_no_self, reason = "a request exists only once its rules are checked")]
    pub fn new(
        id: JobId,
        customer_id: impl Into<String>,
        use_case_id: impl Into<String>,
        user_id: impl Into<String>,
    ) -> RequestBuilder {
        RequestBuilder::new(id, customer_id.into(), use_case_id.into(), user_id.into())
    }
}

impl RequestBuilder {
    fn new(id: JobId, customer_id: String, use_case_id: String, user_id: String) -> Self {
        Self { fields: Map::new() }
            .with(fields::CLIENT_REQUEST_ID, id.as_str())
            .with(fields::CUSTOMER_ID, customer_id)
            .with(fields::USE_CASE_ID, use_case_id)
            .with(fields::USER_ID, user_id)
    }

    /// Sets `reference-record-id`.
    pub fn reference_record_id(self, id: impl Into<String>) -> Self {
        self.with(fields::REFERENCE_RECORD_ID, id.into())
    }

    /// Sets `phrase-texts`.
    pub fn phrase_texts(self, texts: impl IntoIterator<Item: Into<String>>) -> Self {
        self.with_list(fields::PHRASE_TEXTS, texts)
    }

    /// Sets `image-texts`.
    pub fn image_texts(self, texts: impl IntoIterator<Item: Into<String>>) -> Self {
        self.with_list(fields::IMAGE_TEXTS, texts)
    }

    /// Sets `video-texts`.
    pub fn video_texts(self, texts: impl IntoIterator<Item: Into<String>>) -> Self {
        self.with_list(fields::VIDEO_TEXTS, texts)
    }

    /// Sets `image-urls`.
    pub fn image_urls(self, urls: impl IntoIterator<Item: Into<String>>) -> Self {
        self.with_list(fields::IMAGE_URLS, urls)
    }

    /// Sets `video-urls`.
    pub fn video_urls(self, urls: impl IntoIterator<Item: Into<String>>) -> Self {
        self.with_list(fields::VIDEO_URLS, urls)
    }

    /// Writes the body and checks it by the rules for every body.
    ///
    /// # Errors
    /// Every fault of the request.
    pub fn build(self) -> Result<Request, Problems> {
        let body = Value::Object(self.fields).to_string();
        Request::parse(body.as_bytes(), UnknownFields::Reject).request
    }

    fn with_list(self, name: &str, items: impl IntoIterator<Item: Into<String>>) -> Self {
        let items: Vec<String> = items.into_iter().map(Into::into).collect();
        self.with(name, items)
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }
}
