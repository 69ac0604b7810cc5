//! `GET` and `DELETE /authentication-tokens/{token}`

use axum::extract::{Request, State};
use axum_core::response::Response;
use http::StatusCode;

use crate::service::TokenService;
use crate::service::http::routes::authentication_tokens::body_of;
use crate::service::http::routes::body::check_announced_len;
use crate::service::http::routes::error::RouteError;
use crate::service::http::routes::problem;
use crate::service::http::routes::response;
use crate::service::http::routes::route_context::RouteContext;
use crate::service::session::SessionState;
use crate::service::session::no_session;

/// Returns the session of the token.
pub(in crate::service::http::routes) async fn verify(
    State(tokens): State<TokenService>,
    request: Request,
) -> Response {
    problem::answer(&tokens, try_verify(&tokens, request).await)
}

async fn try_verify(tokens: &TokenService, request: Request) -> Result<Response, RouteError> {
    let (mut parts, _) = request.into_parts();
    check_announced_len(&parts.headers, tokens.policy())?;
    let route = RouteContext::read(tokens, &mut parts).await?;
    let token = route.token.ok_or_else(no_session)?;
    let session = tokens.find_session(&token, &route.request).await?;
    let mut body = body_of(tokens, session.record(), None);
    if let SessionState::OneTimePasswordPending(_) = session {
        body["oneTimePasswordPending"] = true.into();
    }
    Ok(response::json(StatusCode::OK, &body))
}

/// Logs the token's holder out.
pub(in crate::service::http::routes) async fn end(
    State(tokens): State<TokenService>,
    request: Request,
) -> Response {
    problem::answer(&tokens, try_end(&tokens, request).await)
}

async fn try_end(tokens: &TokenService, request: Request) -> Result<Response, RouteError> {
    let (mut parts, _) = request.into_parts();
    check_announced_len(&parts.headers, tokens.policy())?;
    let route = RouteContext::read(tokens, &mut parts).await?;
    let token = route.token.ok_or_else(no_session)?;
    tokens.log_out_customer(&token, &route.request).await?;
    Ok(response::no_content())
}
