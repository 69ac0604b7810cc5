//! The responses of the routes for users and machine clients: one envelope, errors included.

use axum::extract::State;
use axum_core::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::rejection::{RejectionHook, RejectionType};
use crate::service::TokenService;
use crate::service::http::routes::error::RouteError;
use crate::service::http::routes::response;

/// The version of the envelope.
const VERSION: &str = "1.0.0";

/// What every answer of the family carries.
pub(super) struct Envelope {
    now: Timestamp,
    transaction_id: String,
    realm: String,
    hook: RejectionHook,
}

impl Envelope {
    /// One that answers a transaction id, or, where none could be read, a new one.
    pub(super) fn new(tokens: &TokenService, transaction_id: Option<String>) -> Self {
        Self {
            now: tokens.now(),
            transaction_id: transaction_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
            realm: tokens.issuer().to_owned(),
            hook: tokens.inner.route_hooks.entities.clone(),
        }
    }

    /// Returns the response with these members, or what a rejected request is told.
    pub(super) fn answer(&self, outcome: Result<Value, RouteError>) -> Response {
        let mut body = self.members();
        let rejection = match outcome {
            Ok(members) => {
                if let Value::Object(members) = members {
                    body.extend(members.into_iter().filter(|(_, value)| !value.is_null()));
                }
                return response::json(StatusCode::OK, &body);
            }
            Err(error) => error.into_rejection(&self.realm),
        };
        let RejectionType { status, title, .. } = rejection.rejection_type();
        let (status, message) = match status {
            // The documented routes have no other status for what is wrong with fields.
            StatusCode::UNPROCESSABLE_ENTITY => {
                (StatusCode::BAD_REQUEST, rejection.message().into())
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                (status, format!("{title}, try again later"))
            }
            _ => (status, rejection.message().to_owned()),
        };
        body.insert("errorCode".into(), status.canonical_reason().unwrap_or("Error").into());
        body.insert("errorMsg".into(), message.into());
        let mut response = response::json(status, &body);
        response.headers_mut().extend(rejection.headers());
        self.hook.mark(response, rejection)
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
pub(super) async fn wrong_method(State(tokens): State<TokenService>) -> Response {
    Envelope::new(&tokens, None).answer(Err(RouteError::Method("POST")))
}
