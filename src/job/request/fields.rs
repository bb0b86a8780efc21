//! The fields of a request body, each name written once, and how long they may be
//! (docs/contract.md, section 1).

/// The longest body, in bytes.
pub const BODY_MAX_BYTES: usize = 256 * 1024;
/// The longest `customer-id`, `use-case-id`, `user-id` and `reference-record-id`, in bytes.
pub const NAME_MAX_BYTES: usize = 256;
/// The longest URL, in bytes (docs/contract.md, section 7).
pub const URL_MAX_BYTES: usize = 4096;

/// What to do with request fields that the API does not document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownFields {
    /// Refuse the request.
    Reject,
    /// Send them on.
    Pass,
}

/// `client-request-id`
pub(super) const CLIENT_REQUEST_ID: &str = "client-request-id";
/// `customer-id`
pub(super) const CUSTOMER_ID: &str = "customer-id";
/// `use-case-id`
pub(super) const USE_CASE_ID: &str = "use-case-id";
/// `user-id`
pub(super) const USER_ID: &str = "user-id";
/// `reference-record-id`
pub(super) const REFERENCE_RECORD_ID: &str = "reference-record-id";
/// `phrase-texts`
pub(super) const PHRASE_TEXTS: &str = "phrase-texts";
/// `image-texts`
pub(super) const IMAGE_TEXTS: &str = "image-texts";
/// `video-texts`
pub(super) const VIDEO_TEXTS: &str = "video-texts";
/// `image-urls`
pub(super) const IMAGE_URLS: &str = "image-urls";
/// `video-urls`
pub(super) const VIDEO_URLS: &str = "video-urls";

/// What a field must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The identity: a string that is a job id.
    Id,
    /// A string that is neither empty nor too long.
    CustomerId,
    /// A string that is neither empty nor too long.
    UseCaseId,
    /// A string that is neither empty nor too long.
    UserId,
    /// A string that is not too long, null or nothing.
    Text,
    /// An array of strings, null or nothing.
    Texts,
    /// An array of http or https URLs, null or nothing.
    Urls,
}

impl Rule {
    /// Whether the field must be there.
    pub(crate) fn is_required(self) -> bool {
        match self {
            Self::Id | Self::CustomerId | Self::UseCaseId | Self::UserId => true,
            Self::Text | Self::Texts | Self::Urls => false,
        }
    }
}

/// Every field that the API documents, with its rule.
pub(crate) const FIELDS: [(&str, Rule); 10] = [
    (CLIENT_REQUEST_ID, Rule::Id),
    (CUSTOMER_ID, Rule::CustomerId),
    (USE_CASE_ID, Rule::UseCaseId),
    (USER_ID, Rule::UserId),
    (REFERENCE_RECORD_ID, Rule::Text),
    (PHRASE_TEXTS, Rule::Texts),
    (IMAGE_TEXTS, Rule::Texts),
    (VIDEO_TEXTS, Rule::Texts),
    (IMAGE_URLS, Rule::Urls),
    (VIDEO_URLS, Rule::Urls),
];

/// Whether this is a documented field that may be absent.
pub(super) fn is_optional(name: &str) -> bool {
    FIELDS.iter().any(|(known, rule)| *known == name && !rule.is_required())
}

/// The documented field that a writer of this name most likely meant.
pub(super) fn near_miss(name: &str) -> Option<&'static str> {
    /// Single-letter edits that still count as a slip.
    const MAX_EDITS: usize = 2;
    /// No slip makes a name longer; it also bounds the work.
    const MAX_BYTES: usize = 40;
    if name.len() > MAX_BYTES {
        return None;
    }
    // Case and separators are what differs between languages: `userId`, `user_id`, `User-Id`.
    let plain = |name: &str| name.replace(['-', '_', ' ', '.'], "").to_ascii_lowercase();
    let written = plain(name);
    FIELDS
        .iter()
        .map(|(known, _)| (strsim::damerau_levenshtein(&written, &plain(known)), *known))
        .filter(|(edits, _)| *edits <= MAX_EDITS)
        .min()
        .map(|(_, known)| known)
}
