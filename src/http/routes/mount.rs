//! What the path says: where the router is mounted, and the token in it.

use axum::extract::{FromRequestParts, OriginalUri, RawPathParams};
use http::request::Parts;

use crate::domain::identifier::OrganizationId;
use crate::domain::session::AuthenticationToken;

/// The parameters of a request's path.
pub(super) struct Mount {
    /// The organization that the router is mounted below. Where that is none that could exist,
    /// nothing is found there: the route answers as for an unknown principal or session.
    pub(super) organization: Result<Option<OrganizationId>, UnknownOrganization>,
    pub(super) token: Option<AuthenticationToken>,
    /// The path that the router is mounted at, without a slash at its end.
    pub(super) base: String,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct UnknownOrganization;

impl Mount {
    pub(super) async fn read(parts: &mut Parts) -> Self {
        let path = parts
            .extensions
            .get::<OriginalUri>()
            .map_or(parts.uri.path(), |OriginalUri(uri)| uri.path());
        let base = path.rfind("/authentication-tokens/").and_then(|end| path.get(..end));
        let base = base.unwrap_or_default().to_owned();
        let mut mount = Self { organization: Ok(None), token: None, base };
        // Parameters that are no UTF-8 name nothing that exists.
        let Ok(parameters) = RawPathParams::from_request_parts(parts, &()).await else {
            mount.organization = Err(UnknownOrganization);
            return mount;
        };
        for (name, value) in &parameters {
            match name {
                "organizationId" => {
                    let id = OrganizationId::new(value);
                    mount.organization = id.map(Some).map_err(|_| UnknownOrganization);
                }
                "token" => mount.token = AuthenticationToken::from_text(value).ok(),
                _ => {}
            }
        }
        mount
    }
}
