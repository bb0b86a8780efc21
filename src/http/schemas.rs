//! What the description says of JSON that `job` reads by rules of its own. Where those are written down
//! as values, the description is made of them.

use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::job::JobId;
use crate::job::request::{FIELDS, NAME_MAX_BYTES, Rule, URL_MAX_BYTES};

/// A request, or an envelope around one
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "described only: `Entry::read_json` reads it")]
pub(super) enum Job {
    Request(Request),
    Envelope(Envelope),
}

/// A request, and what may stand beside it
#[derive(ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "described only: `Entry::read_json` reads it")]
pub(super) struct Envelope {
    job: Request,
    /// Do not submit earlier
    not_before: Option<Time>,
    /// Bounds the whole job
    expires_at: Option<Time>,
    /// W3C trace context; a malformed one is ignored
    #[schema(value_type = Value, required = false)]
    traceparent: Option<String>,
    /// Text of at most 4 KiB, or JSON whose text is taken; carried to the record and the result
    #[schema(value_type = Value, required = false)]
    meta: Option<String>,
}

/// What the remote API gets.
pub(super) struct Request;

/// The identity of a job.
pub(super) struct ClientRequestId;

/// Where an image or a video is.
pub(super) struct MediaUrl;

/// A moment.
pub(super) struct Time;

impl ToSchema for Request {}
impl ToSchema for ClientRequestId {}
impl ToSchema for MediaUrl {}
impl ToSchema for Time {}

impl PartialSchema for Request {
    fn schema() -> RefOr<Schema> {
        let add = |request: ObjectBuilder, (name, rule): (&str, Rule)| {
            let request = request.property(name, field(rule));
            if rule.is_required() { request.required(name) } else { request }
        };
        let description = "What the remote API gets. Other fields are rejected, unless the \
                           gateway's queue.unknown_fields is \"pass\"";
        let request = ObjectBuilder::new()
            .description(Some(description))
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        FIELDS.into_iter().fold(request, add).into()
    }
}

/// What a field of a request must hold.
fn field(rule: Rule) -> RefOr<Schema> {
    let name = ObjectBuilder::new().max_length(Some(NAME_MAX_BYTES));
    let array = ArrayBuilder::new().schema_type(or_null(Type::Array));
    match rule {
        Rule::Id => Ref::from_schema_name(ClientRequestId::name()).into(),
        Rule::CustomerId | Rule::UseCaseId | Rule::UserId => {
            name.schema_type(Type::String).min_length(Some(1)).into()
        }
        Rule::Text => name.schema_type(or_null(Type::String)).into(),
        Rule::Texts => array.items(ObjectBuilder::new().schema_type(Type::String)).into(),
        Rule::Urls => array.items(Ref::from_schema_name(MediaUrl::name())).into(),
    }
}

fn or_null(this: Type) -> SchemaType {
    SchemaType::from_iter([this, Type::Null])
}

impl PartialSchema for ClientRequestId {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("A job's identity: visible ASCII, not \".\" or \"..\""))
            .max_length(Some(JobId::MAX_BYTES))
            .pattern(Some(r"^(?!\.{1,2}$)[!-~]+$"))
            .into()
    }
}

impl PartialSchema for MediaUrl {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("http or https"))
            .format(Some(SchemaFormat::Custom("uri".to_owned())))
            .max_length(Some(URL_MAX_BYTES))
            .into()
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        // 12 to 14 digits.
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::Integer, Type::String]))
            .description(Some("Unix milliseconds, as a number or as text"))
            .minimum(Some(100_000_000_000_u64))
            .maximum(Some(99_999_999_999_999_u64))
            .pattern(Some("^[0-9]{12,14}$"))
            .into()
    }
}
