//! `GET` and `DELETE /authentication-tokens/{token}`

use axum::extract::{Request, State};
use axum_core::response::Response;
use http::StatusCode;

use crate::http::routes::authentication_tokens::{body_of, no_content, respond};
use crate::http::routes::mount::Mount;
use crate::http::routes::problem;
use crate::service::TokenService;

/// Whether the token is good, and what it stands for.
pub(in crate::http::routes) async fn verify(
    State(tokens): State<TokenService>,
    request: Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    let mount = Mount::read(&tokens, &mut parts).await;
    let Some(token) = mount.token else { return problem::not_found(&tokens) };
    match tokens.find_session(&token, &mount.caller).await {
        Ok(session) => respond(StatusCode::OK, &body_of(&session, None, &mount.base)),
        Err(error) => problem::failure(&tokens, &error),
    }
}

/// Its holder logs out.
pub(in crate::http::routes) async fn end(
    State(tokens): State<TokenService>,
    request: Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    let mount = Mount::read(&tokens, &mut parts).await;
    let Some(token) = mount.token else { return problem::not_found(&tokens) };
    match tokens.log_out_customer(&token, &mount.caller).await {
        Ok(()) => no_content(),
        Err(error) => problem::failure(&tokens, &error),
    }
}
