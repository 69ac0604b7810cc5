//! Tokens for a name and a password, or an id and a secret.

use axum::extract::{Request, State};
use axum_core::response::Response;
use serde_json::json;

use crate::error::Error;
use crate::service::http::routes::body::{Media, receive};
use crate::service::http::routes::envelope::Envelope;
use crate::service::http::routes::fields;
use crate::service::http::routes::mount::Mount;
use crate::service::model::password::Password;
use crate::service::model::secret::Secret;
use crate::service::{IssuedToken, TokenService};

const FORMS: &[Media] = &[Media::Form, Media::Json];

/// `POST /user/token/generate`
pub(super) async fn user(State(tokens): State<TokenService>, request: Request) -> Response {
    let envelope = Envelope::new(&tokens, None);
    let missing = "User Id/Password is missing in the request";
    let (mount, pair) = match pair(&tokens, request, ["username", "password"], missing).await {
        Ok(read) => read,
        Err(refused) => return refused.respond(&envelope),
    };
    let [username, password] = pair;
    let Ok(password) = Password::new(password) else {
        return envelope.bad_request("password must be at most 1024 bytes long");
    };
    let issued = tokens.issue_user_token(&username, password, &mount.caller).await;
    respond(&envelope, &issued)
}

/// `POST /entity/token/generate`
pub(super) async fn entity(State(tokens): State<TokenService>, request: Request) -> Response {
    let envelope = Envelope::new(&tokens, None);
    let missing = "Entity Id/Secret is missing in the request";
    let (mount, pair) = match pair(&tokens, request, ["id", "secret"], missing).await {
        Ok(read) => read,
        Err(refused) => return refused.respond(&envelope),
    };
    let [id, secret] = pair;
    if secret.len() > Secret::MAX_LEN {
        return envelope.bad_request("secret must be at most 1024 bytes long");
    }
    let secret = Secret::presented(secret);
    let issued = tokens.issue_entity_token(&id, &secret, &mount.caller).await;
    respond(&envelope, &issued)
}

/// Why a request does not get as far as the service.
enum Refused {
    Body(crate::service::http::routes::body::BodyFault),
    BadRequest(String),
}

impl Refused {
    fn respond(&self, envelope: &Envelope) -> Response {
        match self {
            Self::Body(fault) => envelope.body_fault(*fault),
            Self::BadRequest(message) => envelope.bad_request(message),
        }
    }
}

/// Reads two texts that both have to be there.
async fn pair(
    tokens: &TokenService,
    request: Request,
    names: [&str; 2],
    missing: &str,
) -> Result<(Mount, [String; 2]), Refused> {
    let (mut parts, body) = request.into_parts();
    let mount = Mount::read(tokens, &mut parts).await;
    let received = receive(&parts.headers, body, FORMS, tokens.policy()).await;
    let members = received.map_err(Refused::Body)?.members().map_err(Refused::BadRequest)?;
    let [first, second] = names.map(|name| fields::text(&members, name));
    match (first.map_err(Refused::BadRequest)?, second.map_err(Refused::BadRequest)?) {
        (Some(first), Some(second)) => Ok((mount, [first, second])),
        _ => Err(Refused::BadRequest(missing.to_owned())),
    }
}

fn respond(envelope: &Envelope, issued: &Result<IssuedToken, Error>) -> Response {
    match issued {
        Ok(token) => envelope.ok(json!({
            "accessToken": token.access_token.expose(),
            "expiresIn": token.expires_in().as_secs(),
            "tokenType": "Bearer",
            "message": token.message,
        })),
        Err(error) => envelope.failure(error),
    }
}
