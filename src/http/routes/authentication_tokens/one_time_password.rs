//! `POST /authentication-tokens/{token}/one-time-password`

use axum::extract::{Request, State};
use axum_core::response::Response;

use crate::http::routes::authentication_tokens::no_content;
use crate::http::routes::body::{Media, receive};
use crate::http::routes::mount::Mount;
use crate::http::routes::problem;
use crate::service::TokenService;

/// Has the session's one-time password sent again. There is nothing to say but that.
pub(in crate::http::routes) async fn resend(
    State(tokens): State<TokenService>,
    request: Request,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let mount = Mount::read(&tokens, &mut parts).await;
    let received = match receive(&parts.headers, body, &[Media::Json], tokens.policy()).await {
        Ok(received) => received,
        Err(fault) => return problem::body_fault(&tokens, fault),
    };
    if let Err(message) = received.members() {
        return problem::malformed(&tokens, &message);
    }
    let Some(token) = mount.token else { return problem::not_found(&tokens) };
    match tokens.resend_one_time_password(&token, &mount.caller).await {
        Ok(()) => no_content(),
        Err(error) => problem::failure(&tokens, &error),
    }
}
