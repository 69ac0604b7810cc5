//! The answers of the routes for users and entities: one envelope, errors included.

use axum_core::response::{IntoResponse, Response};
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::guard::refusal::{Refusal, RefusalReason, challenge, retry_after};
use crate::service::TokenService;
use crate::service::http::routes::body::BodyFault;
use crate::service::http::routes::response;

/// The version of the envelope.
const VERSION: &str = "1.0.0";

/// What every answer of the family carries.
pub(super) struct Envelope {
    now: Timestamp,
    transaction_id: String,
    realm: String,
}

impl Envelope {
    /// One that answers a transaction id, or, where none could be read, a new one.
    pub(super) fn new(tokens: &TokenService, transaction_id: Option<String>) -> Self {
        Self {
            now: tokens.now(),
            transaction_id: transaction_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
            realm: tokens.issuer().to_owned(),
        }
    }

    pub(super) fn ok(&self, members: Value) -> Response {
        let mut body = self.members();
        if let Value::Object(members) = members {
            body.extend(members.into_iter().filter(|(_, value)| !value.is_null()));
        }
        response::json(StatusCode::OK, &body)
    }

    pub(super) fn bad_request(&self, message: &str) -> Response {
        self.error(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn unauthorized(&self, message: &str, error: Option<&str>) -> Response {
        let mut response = self.error(StatusCode::UNAUTHORIZED, message);
        let challenge = challenge(&self.realm, error, error.map(|_| message), None);
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        response
    }

    /// A bearer token that is missing or not accepted.
    pub(super) fn refusal(&self, reason: RefusalReason) -> Response {
        let refusal = Refusal::new(reason, &self.realm);
        let mut response = self.error(refusal.status(), refusal.message());
        response.headers_mut().extend(refusal.headers());
        response
    }

    pub(super) fn body_fault(&self, fault: BodyFault) -> Response {
        match fault {
            BodyFault::UnsupportedMediaType => self.error(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The request's Content-Type is not one that this route takes",
            ),
            BodyFault::TooLarge => {
                self.error(StatusCode::PAYLOAD_TOO_LARGE, "The request's body is too large")
            }
            BodyFault::TooSlow => {
                self.error(StatusCode::REQUEST_TIMEOUT, "The request's body took too long")
            }
            BodyFault::Aborted => self.bad_request("The request's body broke off"),
        }
    }

    /// What the service would not do.
    pub(super) fn failure(&self, error: &Error) -> Response {
        match error.kind() {
            ErrorKind::InvalidCredentials => self.unauthorized(error.message(), None),
            ErrorKind::InvalidEntity => self.unauthorized(error.message(), Some("invalid_token")),
            ErrorKind::InvalidRequest | ErrorKind::InvalidFields => {
                self.bad_request(&error.to_string())
            }
            ErrorKind::Throttled => {
                let message = "There were too many attempts, try again later";
                self.later(StatusCode::TOO_MANY_REQUESTS, message, error)
            }
            ErrorKind::Unavailable | ErrorKind::Overloaded => {
                tracing::warn!(error = ?error, "a request is answered 503");
                let message = "The service is unavailable, try again later";
                self.later(StatusCode::SERVICE_UNAVAILABLE, message, error)
            }
            _ => {
                tracing::error!(error = ?error, "a request is answered 500");
                self.error(StatusCode::INTERNAL_SERVER_ERROR, "The service failed")
            }
        }
    }

    fn later(&self, status: StatusCode, message: &str, error: &Error) -> Response {
        let mut response = self.error(status, message);
        let delay = error.retry_after().unwrap_or_default();
        response.headers_mut().insert(RETRY_AFTER, retry_after(delay));
        response
    }

    fn error(&self, status: StatusCode, message: &str) -> Response {
        let mut body = self.members();
        body.insert("errorCode".into(), status.canonical_reason().unwrap_or("Error").into());
        body.insert("errorMsg".into(), message.into());
        response::json(status, &body)
    }

    fn members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("ver".into(), VERSION.into());
        members.insert("timestamp".into(), self.now.to_string().into());
        members.insert("txnId".into(), json!(self.transaction_id));
        members
    }
}

/// A method that a path does not have.
pub(super) async fn wrong_method(
    axum::extract::State(tokens): axum::extract::State<TokenService>,
) -> impl IntoResponse {
    let envelope = Envelope::new(&tokens, None);
    let message = "This route takes POST alone";
    let mut response = envelope.error(StatusCode::METHOD_NOT_ALLOWED, message);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    response
}
