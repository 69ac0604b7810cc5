//! The context of a request before its body is read: its origin, the path where the router is mounted, and the token
//! in the path.

use axum::extract::{OriginalUri, RawPathParams};
use http::request::Parts;

use crate::error::Error;
use crate::guard::path::path_parameters;
use crate::service::http::routes::error::RouteError;
use crate::service::model::authentication_token::AuthenticationToken;
use crate::service::{RequestContext, TokenService};

const COLLECTION: &str = "/authentication-tokens";

/// The context of a request before its body is read.
pub(super) struct RouteContext {
    /// The origin: address and organization. An invalid organization matches nothing, and the response is that for
    /// an unknown principal or session.
    pub(super) request: RequestContext,
    /// The token in the path, if it is well-formed.
    pub(super) token: Option<AuthenticationToken>,
    /// The path where the router is mounted, without a slash at its end.
    pub(super) base: String,
}

impl RouteContext {
    pub(super) async fn read(tokens: &TokenService, parts: &mut Parts) -> Result<Self, RouteError> {
        let path = parts
            .extensions
            .get::<OriginalUri>()
            .map_or(parts.uri.path(), |OriginalUri(uri)| uri.path());
        let base = path.rfind(COLLECTION).and_then(|end| path.get(..end));
        let base = base.unwrap_or_default().to_owned();
        // A parameter that is not UTF-8 matches nothing, including a token.
        let parameters = path_parameters(&mut parts.extensions).ok().flatten();
        let token = match &parameters {
            Some(parameters) => token_of(tokens, parameters)?,
            None => None,
        };
        let request = tokens.request_context(parts);
        Ok(Self { request, token, base })
    }
}

/// Returns the token in the path.
///
/// # Errors
///
/// A 500 if the router is mounted below a parameter that it does not read: the parameter would restrict nothing.
fn token_of(
    tokens: &TokenService,
    parameters: &RawPathParams,
) -> Result<Option<AuthenticationToken>, Error> {
    let mut token = None;
    let mut organizations = 0;
    for (name, value) in parameters {
        if name == "token" {
            token = AuthenticationToken::from_text(value).ok();
            continue;
        }
        organizations += 1;
        if name != tokens.policy().http.organization_parameter || organizations > 1 {
            return Err(Error::configuration(format!(
                "the router is mounted below the path parameter `{name}`, which it does not read: \
                 mount it below one parameter at most, named as the policy's \
                 `organization_parameter`"
            )));
        }
    }
    Ok(token)
}
