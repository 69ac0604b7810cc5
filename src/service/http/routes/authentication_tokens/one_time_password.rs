//! `POST /authentication-tokens/{token}/one-time-password`

use axum::extract::{Request, State};
use axum_core::response::Response;

use crate::service::TokenService;
use crate::service::http::routes::body::{Media, receive};
use crate::service::http::routes::error::RouteError;
use crate::service::http::routes::problem;
use crate::service::http::routes::response;
use crate::service::http::routes::route_context::RouteContext;
use crate::service::session::no_session;

/// Sends the session's one-time password again. The response has no content.
pub(in crate::service::http::routes) async fn resend(
    State(tokens): State<TokenService>,
    request: Request,
) -> Response {
    problem::answer(&tokens, try_resend(&tokens, request).await)
}

async fn try_resend(tokens: &TokenService, request: Request) -> Result<Response, RouteError> {
    let (mut parts, body) = request.into_parts();
    let route = RouteContext::read(tokens, &mut parts).await?;
    receive(&parts.headers, body, &[Media::Json], tokens.policy()).await?.members()?;
    let token = route.token.ok_or_else(no_session)?;
    tokens.resend_one_time_password(&token, &route.request).await?;
    Ok(response::no_content())
}
