//! Authentication tokens of customers' sessions, from login to logout.

mod exchange;
mod list;
mod one_time_password;
mod session;
mod start;

use http::HeaderMap;
use serde_json::{Value, json};

use crate::service::TokenService;
use crate::service::model::authentication_token::AuthenticationToken;
use crate::service::model::idempotency::{FIELD, IdempotencyKey};
use crate::service::model::session::Session;

pub(super) use self::exchange::exchange;
pub(super) use self::list::list;
pub(super) use self::one_time_password::resend;
pub(super) use self::session::{end, verify};
pub(super) use self::start::start;

/// The JSON of a session; with its token only in the response that creates it. It has no links: the documented one
/// is to itself, and that address would contain the token.
fn body_of(tokens: &TokenService, session: &Session, token: Option<&AuthenticationToken>) -> Value {
    let mut body = json!({
        "customerId": session.customer_id(),
        "otpRequired": session.otp_required(),
        "expiredTime": session.expires_at().to_string(),
        "createdTime": session.created_at().to_string(),
        "updatedTime": session.updated_at().to_string(),
        "_links": [],
    });
    if let Some(credential) = session.credential() {
        body["username"] = credential.name().into();
        body["credentialId"] = tokens.credential_id(credential).into();
    }
    if let Some(token) = token {
        body["token"] = token.expose().into();
    }
    body
}

/// Reads the idempotency key. A malformed key, or a second one, is an invalid field.
fn idempotency_key(headers: &HeaderMap) -> Option<IdempotencyKey> {
    let mut keys = headers.get_all(FIELD).iter();
    let key = keys.next()?;
    let text = key.to_str().ok().filter(|_| keys.next().is_none());
    Some(IdempotencyKey::presented(text.unwrap_or_default()))
}
