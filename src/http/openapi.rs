//! The description of the gateway, made of its routes and types.

use axum::Json;
use utoipa::openapi::OpenApi as Description;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{jobs, push, results};

#[derive(OpenApi)]
#[openapi(
    info(title = "reelq gateway", description = "Jobs, results and the remote API's push; docs/contract.md, section 8"),
    paths(
        jobs::enqueue, jobs::show, jobs::show_by_query, jobs::cancel, jobs::cancel_by_query,
        results::list, push::is_there, push::push, describe,
    ),
    modifiers(&Key),
)]
struct Gateway;

/// The key of `/v1`.
struct Key;

impl Modify for Key {
    fn modify(&self, description: &mut Description) {
        let key = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let key = key.description(Some("One of gateway.api_keys")).build();
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(key));
    }
}

/// This description
#[utoipa::path(
    get, path = "/openapi.json", tag = "description",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value))
)]
pub(super) async fn describe() -> Json<Description> {
    Json(Gateway::openapi())
}
