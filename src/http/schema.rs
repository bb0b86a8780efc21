//! What `POST /v1/jobs` takes, for the description: made of the rules of a request and the fields that
//! may stand beside it.

use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ArrayItems, ObjectBuilder, OneOfBuilder, Schema,
    SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::job::{EntryFields, FIELDS, JOB_ID_MAX_BYTES, NAME_MAX_BYTES, Rule, URL_MAX_BYTES};

/// The most jobs of one array.
pub(super) const ARRAY_MAX: usize = 1000;

/// What the ids of jobs look like; `.` and `..` are none.
const ID_PATTERN: &str = "^[!-~]+$";
/// What the URLs of media begin with.
const URL_PATTERN: &str = "^[Hh][Tt][Tt][Pp][Ss]?://";
/// Unix milliseconds.
const TIME_PATTERN: &str = "^[0-9]{12,14}$";

/// A request, an envelope around one, or an array of these.
pub(super) enum Jobs {}
/// A request: docs/contract.md, section 3.
enum Request {}
/// A request with what may stand beside it.
enum Envelope {}

/// The identity of a job.
pub(super) enum ClientRequestId {}
/// Where a video or an image is.
pub(super) enum MediaUrl {}

impl ToSchema for ClientRequestId {}

impl PartialSchema for ClientRequestId {
    fn schema() -> RefOr<Schema> {
        text(Some(1), JOB_ID_MAX_BYTES, Some(ID_PATTERN))
    }
}

impl ToSchema for MediaUrl {}

impl PartialSchema for MediaUrl {
    fn schema() -> RefOr<Schema> {
        text(None, URL_MAX_BYTES, Some(URL_PATTERN))
    }
}

impl ToSchema for Jobs {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Request::name().into_owned(), Request::schema()));
        schemas.push((Envelope::name().into_owned(), Envelope::schema()));
    }
}

impl PartialSchema for Jobs {
    fn schema() -> RefOr<Schema> {
        // Each item of an array is judged by itself.
        let items = ArrayBuilder::new().items(ArrayItems::RefOrSchema(Box::new(anything())));
        OneOfBuilder::new()
            .item(Ref::from_schema_name(Request::name()))
            .item(Ref::from_schema_name(Envelope::name()))
            .item(items.min_items(Some(1)).max_items(Some(ARRAY_MAX)))
            .into()
    }
}

impl ToSchema for Request {}

impl PartialSchema for Request {
    fn schema() -> RefOr<Schema> {
        FIELDS
            .iter()
            .fold(closed_object(), |object, (name, rule)| {
                let object = if rule.is_required() { object.required(*name) } else { object };
                object.property(*name, of_rule(*rule))
            })
            .description(Some("Unknown fields are refused unless queue.unknown_fields is pass"))
            .into()
    }
}

impl ToSchema for Envelope {}

impl PartialSchema for Envelope {
    fn schema() -> RefOr<Schema> {
        let object = closed_object().property("job", Ref::from_schema_name(Request::name()));
        EntryFields::NAMES
            .iter()
            .fold(object.required("job"), |object, name| object.property(*name, beside(name)))
            .into()
    }
}

fn of_rule(rule: Rule) -> RefOr<Schema> {
    match rule {
        Rule::Id => ClientRequestId::schema(),
        Rule::CustomerId | Rule::UseCaseId | Rule::UserId => text(Some(1), NAME_MAX_BYTES, None),
        Rule::Text => or_null(text(None, NAME_MAX_BYTES, None)),
        Rule::Texts => or_null(array_of(ObjectBuilder::new().schema_type(Type::String).into())),
        Rule::Urls => or_null(array_of(MediaUrl::schema())),
    }
}

/// What may stand beside a request; absence is null, too.
fn beside(name: &str) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String);
    if EntryFields::is_time(name) {
        let number = ObjectBuilder::new().schema_type(Type::Integer);
        let number = number.minimum(Some(1e11)).maximum(Some(99_999_999_999_999.0));
        let either = OneOfBuilder::new().item(number).item(text.pattern(Some(TIME_PATTERN)));
        return or_null(either.into());
    }
    or_null(text.into())
}

fn text(min: Option<usize>, max: usize, pattern: Option<&str>) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.min_length(min).max_length(Some(max)).pattern(pattern).into()
}

fn array_of(items: RefOr<Schema>) -> RefOr<Schema> {
    ArrayBuilder::new().items(ArrayItems::RefOrSchema(Box::new(items))).into()
}

fn or_null(schema: RefOr<Schema>) -> RefOr<Schema> {
    let null = ObjectBuilder::new().schema_type(Type::Null);
    OneOfBuilder::new().item(null).item(schema).into()
}

fn anything() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).into()
}

fn closed_object() -> ObjectBuilder {
    let none = AdditionalProperties::FreeForm(false);
    ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(none))
}
