//! The description of the gateway, made of its routes and types.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use utoipa::openapi::OpenApi as Description;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::access::Access;
use super::schemas::{ClientRequestId, Job, MediaUrl};
use super::shared::Gateway;
use super::{jobs, push, results};

#[derive(OpenApi)]
#[openapi(
    info(title = "reelq gateway", description = "Jobs, results and the remote API's push; docs/contract.md, section 8"),
    paths(
        jobs::enqueue, jobs::show, jobs::show_by_query, jobs::cancel, jobs::cancel_by_query,
        results::list, push::is_there, push::is_there_by_head, push::push, describe,
    ),
    components(schemas(ClientRequestId, Job, MediaUrl)),
    security(("key" = [])),
    modifiers(&Key),
)]
struct Described;

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
    get, path = "/openapi.json", tag = "description", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value))
)]
pub(super) async fn describe(State(gateway): State<Arc<Gateway>>) -> Json<Description> {
    let mut description = Described::openapi();
    // No key is needed.
    if matches!(gateway.access, Access::Open) {
        description.security = None;
    }
    Json(description)
}
