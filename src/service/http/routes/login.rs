//! Tokens for a name and a password, or an id and a secret.

use axum::extract::{Request, State};
use axum_core::response::Response;

use crate::service::TokenService;
use crate::service::http::routes::body::{Media, receive};
use crate::service::http::routes::envelope::Envelope;
use crate::service::http::routes::error::RouteError;
use crate::service::http::routes::fields;
use crate::service::http::routes::route_context::RouteContext;
use crate::service::issue::IssuedToken;
use crate::service::model::password::Password;
use crate::service::model::secret::Secret;

const FORMS: &[Media] = &[Media::Form, Media::Json];

/// `POST /user/token/generate`
pub(super) async fn user(State(tokens): State<TokenService>, request: Request) -> Response {
    let envelope = Envelope::new(&tokens, None);
    envelope.respond(try_user(&tokens, request).await)
}

async fn try_user(tokens: &TokenService, request: Request) -> Result<IssuedToken, RouteError> {
    let missing = "User Id/Password is missing in the request";
    let names = ["username", "password"];
    let (route, [username, password]) = pair(tokens, request, names, missing).await?;
    let too_long = |_| "password must be at most 1024 bytes long".to_owned();
    let password = Password::new(password).map_err(too_long)?;
    Ok(tokens.issue_user_token(&username, password, &route.request).await?)
}

/// `POST /entity/token/generate`
pub(super) async fn entity(State(tokens): State<TokenService>, request: Request) -> Response {
    let envelope = Envelope::new(&tokens, None);
    envelope.respond(try_entity(&tokens, request).await)
}

async fn try_entity(tokens: &TokenService, request: Request) -> Result<IssuedToken, RouteError> {
    let missing = "Entity Id/Secret is missing in the request";
    let (route, [id, secret]) = pair(tokens, request, ["id", "secret"], missing).await?;
    if secret.len() > Secret::MAX_LEN {
        return Err("secret must be at most 1024 bytes long".to_owned().into());
    }
    let secret = Secret::presented(secret);
    Ok(tokens.issue_machine_token(&id, &secret, &route.request).await?)
}

/// Reads two texts that both have to be there.
async fn pair(
    tokens: &TokenService,
    request: Request,
    names: [&str; 2],
    missing: &str,
) -> Result<(RouteContext, [String; 2]), RouteError> {
    let (mut parts, body) = request.into_parts();
    let route = RouteContext::read(tokens, &mut parts).await?;
    let received = receive(&parts.headers, body, FORMS, tokens.policy()).await?;
    let members = received.members()?;
    let [first, second] = names.map(|name| fields::nonblank_text(&members, name));
    match (first?, second?) {
        (Some(first), Some(second)) => Ok((route, [first, second])),
        _ => Err(missing.to_owned().into()),
    }
}
