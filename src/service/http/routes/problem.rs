//! Problem details (RFC 9457): the errors of the routes for authentication tokens.

use axum::extract::State;
use axum_core::body::Body;
use axum_core::response::Response;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, InvalidField};
use crate::guard::refusal::{Refusal, RefusalReason, challenge, retry_after};
use crate::service::TokenService;
use crate::service::http::routes::body::BodyFault;

/// A kind of problem: the end of its `type`, its title and its status. The documentation of the
/// router lists them.
struct Kind {
    name: &'static str,
    title: &'static str,
    status: StatusCode,
}

const fn kind(name: &'static str, title: &'static str, status: StatusCode) -> Kind {
    Kind { name, title, status }
}

const MALFORMED: Kind =
    kind("malformed-request", "The request is malformed", StatusCode::BAD_REQUEST);
const INVALID_FIELDS: Kind =
    kind("invalid-fields", "Some fields are invalid", StatusCode::UNPROCESSABLE_ENTITY);
const CODE_REQUIRED: Kind =
    kind("one-time-password-required", "A one-time password is required", StatusCode::UNAUTHORIZED);
const CODE_INVALID: Kind = kind(
    "one-time-password-invalid",
    "The one-time password is not valid",
    StatusCode::UNAUTHORIZED,
);
const ACL_EXCEEDS: Kind =
    kind("acl-exceeds-grant", "More is asked for than is held", StatusCode::FORBIDDEN);
const CLAIMS_NOT_ALLOWED: Kind =
    kind("custom-claims-not-allowed", "Custom claims are not allowed", StatusCode::FORBIDDEN);
const CREDENTIALS_INVALID: Kind = kind(
    "invalid-credentials",
    "The name and the password are not valid",
    StatusCode::UNAUTHORIZED,
);
const PERMISSION_INSUFFICIENT: Kind =
    kind("insufficient-permission", "The permission is missing", StatusCode::FORBIDDEN);
const CONFLICT: Kind =
    kind("conflict", "The state of the session does not allow it", StatusCode::CONFLICT);
const THROTTLED: Kind =
    kind("too-many-requests", "There were too many attempts", StatusCode::TOO_MANY_REQUESTS);
const NOT_FOUND: Kind = kind("not-found", "There is no such thing", StatusCode::NOT_FOUND);
const WRONG_METHOD: Kind =
    kind("method-not-allowed", "The method is not allowed", StatusCode::METHOD_NOT_ALLOWED);
const TOO_SLOW: Kind =
    kind("request-timeout", "The request took too long", StatusCode::REQUEST_TIMEOUT);
const TOO_LARGE: Kind =
    kind("content-too-large", "The request's body is too large", StatusCode::PAYLOAD_TOO_LARGE);
const WRONG_MEDIA_TYPE: Kind = kind(
    "unsupported-media-type",
    "The media type is not supported",
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
);
const INTERNAL: Kind = kind("internal", "The service failed", StatusCode::INTERNAL_SERVER_ERROR);
const UNAVAILABLE: Kind =
    kind("unavailable", "The service is unavailable", StatusCode::SERVICE_UNAVAILABLE);

/// Why a request is not answered as it would like.
pub(super) enum Refused {
    Body(BodyFault),
    Malformed(String),
    /// The bearer token is missing or not accepted.
    Bearer(RefusalReason),
    Invalid(Vec<InvalidField>),
    /// What the path holds is no authentication token.
    NoToken,
    Service(Error),
}

impl From<BodyFault> for Refused {
    fn from(fault: BodyFault) -> Self {
        Self::Body(fault)
    }
}

impl From<RefusalReason> for Refused {
    fn from(reason: RefusalReason) -> Self {
        Self::Bearer(reason)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Service(error)
    }
}

/// What a body is refused for that is no strict JSON, or a field of a wrong type.
impl From<String> for Refused {
    fn from(message: String) -> Self {
        Self::Malformed(message)
    }
}

/// The answer, or what is told to a request that is refused.
pub(super) fn answer(tokens: &TokenService, outcome: Result<Response, Refused>) -> Response {
    match outcome {
        Ok(response) => response,
        Err(Refused::Body(fault)) => body_fault(tokens, fault),
        Err(Refused::Malformed(message)) => malformed(tokens, &message),
        Err(Refused::Bearer(reason)) => refusal(tokens, reason),
        Err(Refused::Invalid(fields)) => invalid_fields(tokens, &fields),
        Err(Refused::NoToken) => not_found(tokens),
        Err(Refused::Service(error)) => failure(tokens, &error),
    }
}

fn malformed(tokens: &TokenService, detail: &str) -> Response {
    problem(tokens, &MALFORMED, detail, &[])
}

fn invalid_fields(tokens: &TokenService, fields: &[InvalidField]) -> Response {
    problem(tokens, &INVALID_FIELDS, "See invalidFields", fields)
}

fn not_found(tokens: &TokenService) -> Response {
    problem(tokens, &NOT_FOUND, "There is no such authentication token", &[])
}

fn body_fault(tokens: &TokenService, fault: BodyFault) -> Response {
    let (kind, detail) = match fault {
        BodyFault::UnsupportedMediaType => {
            (WRONG_MEDIA_TYPE, "The request's Content-Type must be application/json")
        }
        BodyFault::TooLarge => (TOO_LARGE, "The request's body is larger than this route takes"),
        BodyFault::TooSlow => (TOO_SLOW, "The request's body did not arrive in time"),
        BodyFault::Aborted => (MALFORMED, "The request's body broke off"),
    };
    problem(tokens, &kind, detail, &[])
}

/// A bearer token that is missing or not accepted.
fn refusal(tokens: &TokenService, reason: RefusalReason) -> Response {
    let refusal = Refusal::new(reason, tokens.issuer());
    let kind = match reason {
        RefusalReason::Unavailable => UNAVAILABLE,
        _ => kind("invalid-token", "The bearer token is not accepted", refusal.status()),
    };
    let mut response = problem(tokens, &kind, refusal.message(), &[]);
    response.headers_mut().extend(refusal.headers());
    response
}

/// Something that is needed for the answer has not come yet.
pub(super) fn unavailable(tokens: &TokenService) -> Response {
    refusal(tokens, RefusalReason::Unavailable)
}

/// What the service would not do.
fn failure(tokens: &TokenService, error: &Error) -> Response {
    match error.kind() {
        ErrorKind::NotFound => not_found(tokens),
        ErrorKind::OneTimePasswordRequired => unauthorized(tokens, &CODE_REQUIRED, error.message()),
        ErrorKind::OneTimePasswordInvalid => unauthorized(tokens, &CODE_INVALID, error.message()),
        ErrorKind::AclExceedsGrant => problem(tokens, &ACL_EXCEEDS, error.message(), &[]),
        ErrorKind::CustomClaimsNotAllowed => {
            problem(tokens, &CLAIMS_NOT_ALLOWED, error.message(), &[])
        }
        ErrorKind::InvalidCredentials => {
            unauthorized(tokens, &CREDENTIALS_INVALID, error.message())
        }
        ErrorKind::InsufficientPermission => insufficient(tokens, error.message()),
        ErrorKind::Conflict => problem(tokens, &CONFLICT, error.message(), &[]),
        ErrorKind::Throttled => {
            let response = problem(tokens, &THROTTLED, error.message(), &[]);
            with_retry_after(response, error)
        }
        ErrorKind::InvalidFields => invalid_fields(tokens, error.invalid_fields()),
        ErrorKind::InvalidRequest => malformed(tokens, error.message()),
        ErrorKind::Unavailable | ErrorKind::Overloaded => {
            tracing::warn!(error = ?error, "a request is answered 503");
            let response = problem(tokens, &UNAVAILABLE, "Try again later", &[]);
            with_retry_after(response, error)
        }
        _ => {
            tracing::error!(error = ?error, "a request is answered 500");
            problem(tokens, &INTERNAL, "The service failed", &[])
        }
    }
}

fn with_retry_after(mut response: Response, error: &Error) -> Response {
    let delay = error.retry_after().unwrap_or_default();
    response.headers_mut().insert(RETRY_AFTER, retry_after(delay));
    response
}

/// A good token that does not grant what was asked for (RFC 6750 §3.1).
fn insufficient(tokens: &TokenService, detail: &str) -> Response {
    let mut response = problem(tokens, &PERMISSION_INSUFFICIENT, detail, &[]);
    let challenge = challenge(tokens.issuer(), Some("insufficient_scope"), Some(detail), None);
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn unauthorized(tokens: &TokenService, kind: &Kind, detail: &str) -> Response {
    let mut response = problem(tokens, kind, detail, &[]);
    // RFC 9110 §15.5.2: a 401 has a challenge; no credentials are at fault here, so no error code.
    let challenge = challenge(tokens.issuer(), None, None, None);
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn problem(tokens: &TokenService, kind: &Kind, detail: &str, fields: &[InvalidField]) -> Response {
    let mut body = json!({
        "type": format!("{}{}", tokens.policy().problem_type_base, kind.name),
        "title": kind.title,
        "status": kind.status.as_u16(),
        "detail": detail,
    });
    if !fields.is_empty() {
        let field =
            |invalid: &InvalidField| json!({"field": invalid.field, "message": invalid.message});
        body["invalidFields"] = Value::Array(fields.iter().map(field).collect());
    }
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = kind.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A method that a path with POST alone does not have.
pub(super) async fn post_only(State(tokens): State<TokenService>) -> Response {
    wrong_method(&tokens, "POST")
}

/// A method that a path with GET alone does not have.
pub(super) async fn get_only(State(tokens): State<TokenService>) -> Response {
    wrong_method(&tokens, "GET, HEAD")
}

/// A method that the collection does not have.
pub(super) async fn get_and_post_only(State(tokens): State<TokenService>) -> Response {
    wrong_method(&tokens, "GET, HEAD, POST")
}

/// A method that a single session does not have.
pub(super) async fn get_and_delete_only(State(tokens): State<TokenService>) -> Response {
    wrong_method(&tokens, "GET, HEAD, DELETE")
}

fn wrong_method(tokens: &TokenService, allowed: &'static str) -> Response {
    let detail = format!("This route takes {allowed} alone");
    let mut response = problem(tokens, &WRONG_METHOD, &detail, &[]);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
