//! What a route knows of a request before its body: where it comes from, where the router is mounted,
//! and the token in the path.

use std::sync::Once;

use axum::extract::{FromRequestParts, OriginalUri, RawPathParams};
use http::request::Parts;

use crate::service::model::session::AuthenticationToken;
use crate::service::{RequestContext, TokenService};
use crate::token::identifier::OrganizationId;

/// Said once.
static NO_ADDRESS: Once = Once::new();

const COLLECTION: &str = "/authentication-tokens";

/// What a route knows of a request before it reads its body.
pub(super) struct RouteContext {
    /// Who asks: from where, and below which organization. Where that is none that could exist,
    /// nothing is found there: the route answers as for an unknown principal or session.
    pub(super) request: RequestContext,
    /// The token in the path, if it could be one.
    pub(super) token: Option<AuthenticationToken>,
    /// The path that the router is mounted at, without a slash at its end.
    pub(super) base: String,
}

impl RouteContext {
    pub(super) async fn read(tokens: &TokenService, parts: &mut Parts) -> Self {
        let path = parts
            .extensions
            .get::<OriginalUri>()
            .map_or(parts.uri.path(), |OriginalUri(uri)| uri.path());
        let base = path.rfind(COLLECTION).and_then(|end| path.get(..end));
        let base = base.unwrap_or_default().to_owned();
        let request = tokens.request_context(&parts.headers, &parts.extensions);
        if request.address.is_none() {
            NO_ADDRESS.call_once(|| {
                tracing::warn!(
                    "throttle: client addresses are unknown, logins are throttled by name alone; \
                     serve with `into_make_service_with_connect_info::<SocketAddr>()`, or insert \
                     a `ClientAddress` into the request's extensions"
                );
            });
        }
        let mut route = Self { request, token: None, base };
        // Parameters that are no UTF-8 name nothing that exists.
        let Ok(parameters) = RawPathParams::from_request_parts(parts, &()).await else {
            route.request.organization_is_invalid = true;
            return route;
        };
        for (name, value) in &parameters {
            match name {
                "organizationId" => match OrganizationId::new(value) {
                    Ok(id) => route.request.organization = Some(id),
                    Err(_) => route.request.organization_is_invalid = true,
                },
                "token" => route.token = AuthenticationToken::from_text(value).ok(),
                _ => {}
            }
        }
        route
    }
}
