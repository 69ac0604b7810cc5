//! The responses of the routes for users and machine clients: one envelope, errors included.

use axum::extract::State;
use axum_core::response::Response;
use http::StatusCode;
use serde::Serialize;

use crate::clock::Timestamp;
use crate::rejection::RejectionType;
use crate::service::TokenService;
use crate::service::http::routes::error::RouteError;
use crate::service::http::routes::response;

/// The version of the envelope.
const VERSION: &str = "1.0.0";

/// What every response of these routes has.
pub(super) struct Envelope<'a> {
    tokens: &'a TokenService,
    now: Timestamp,
    transaction_id: String,
}

/// The body of a response.
#[derive(Serialize)]
struct Body<'a, M> {
    ver: &'a str,
    timestamp: String,
    #[serde(rename = "txnId")]
    transaction_id: &'a str,
    #[serde(flatten)]
    members: M,
}

/// What a rejected request is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorMembers<'a> {
    error_code: &'a str,
    error_msg: String,
}

impl<'a> Envelope<'a> {
    /// Creates the envelope of a request with that transaction id, or with a new one where none could be read.
    pub(super) fn new(tokens: &'a TokenService, transaction_id: Option<String>) -> Self {
        let transaction_id = transaction_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        Self { tokens, now: tokens.now(), transaction_id }
    }

    /// Returns the response with these members, or with the reason for rejecting the request.
    pub(super) fn respond(&self, outcome: Result<impl Serialize, RouteError>) -> Response {
        let rejection = match outcome {
            Ok(members) => return response::json(StatusCode::OK, &self.body(members)),
            Err(error) => error.into_rejection(self.tokens.issuer()),
        };
        let RejectionType { status, title, .. } = rejection.rejection_type();
        let (status, error_msg) = match status {
            // The documented routes have no other status for what is wrong with fields.
            StatusCode::UNPROCESSABLE_ENTITY => {
                (StatusCode::BAD_REQUEST, rejection.message().into())
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                (status, format!("{title}, try again later"))
            }
            _ => (status, rejection.message().to_owned()),
        };
        let error_code = status.canonical_reason().unwrap_or("Error");
        let body = self.body(ErrorMembers { error_code, error_msg });
        let mut response = response::json(status, &body);
        response.headers_mut().extend(rejection.headers());
        self.tokens.inner.route_hooks.entities.mark(response, rejection)
    }

    /// Returns the response to a request that is rejected.
    pub(super) fn reject(&self, error: RouteError) -> Response {
        self.respond(Err::<(), _>(error))
    }

    fn body<M: Serialize>(&self, members: M) -> Body<'_, M> {
        Body {
            ver: VERSION,
            timestamp: self.now.to_string(),
            transaction_id: &self.transaction_id,
            members,
        }
    }
}

/// A method that a path does not have.
pub(super) async fn wrong_method(State(tokens): State<TokenService>) -> Response {
    Envelope::new(&tokens, None).reject(RouteError::Method("POST"))
}
