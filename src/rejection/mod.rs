//! The response to a rejected request, from every part of the crate.

mod hook;
pub(crate) mod problem;
mod reason;
mod table;

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use axum_core::body::Body;
use http::header::{ALLOW, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::error::{Error, InvalidField};
use crate::jitter;
use crate::rejection::problem::Problem;

pub(crate) use axum_core::response::IntoResponse;

pub(crate) use self::hook::RejectionHook;
pub use self::reason::LogReason;
pub(crate) use self::table::RejectionType;

/// The jitter of `Retry-After` in an outage: at most this much more.
const RETRY_SPREAD: Duration = Duration::from_secs(3);

/// The reason why a request is rejected: by a layer, an extractor,
/// [`Validated::require`](crate::Validated::require), or an [`Error`] of the token service that a handler returns.
///
/// A handler returns it as its response: problem details (RFC 9457), unless the service or validator has a hook: see
/// [`ValidatorBuilder::reject_with`](crate::builder::ValidatorBuilder::reject_with).
///
/// ```
/// use countersign::{Bearer, Rejection};
///
/// async fn close_account(Bearer(caller): Bearer) -> Result<&'static str, Rejection> {
///     caller.require("CloseAccount", &[])?;
///     Ok("closed")
/// }
/// ```
///
/// [`code`](Self::code) is stable and may be shown to the caller:
///
/// | code | status | challenge (RFC 6750 §3) |
/// |---|---|---|
/// | `missing-token` | 401 | no error code |
/// | `malformed-credentials` | 400 | `invalid_request` |
/// | `invalid-token`, `token-expired`, `unknown-session`, `unexpected-custom-claims`, `one-time-password-required` | 401 | `invalid_token` |
/// | `insufficient-permission`, `outside-organization`, `kind-not-admitted` | 403 | `insufficient_scope` |
/// | `cross-origin`: a cookie, or a login that sets one, with a request of another origin | 403 | |
/// | `unclear-request`: of a proxy that asks [by forward auth](crate::guide::forward_auth) | 403 | |
/// | `disabled`: the principal is disabled or blocked | 403 | |
/// | `unavailable`: a store or the keys are out of reach, or there is too much to do | 503 with `Retry-After` | |
/// | `internal`: a layer was forgotten, a path parameter is not there, or the service failed | 500 | |
///
/// The challenge of a rejection by a handler has the issuer of the layer in front as its realm: see
/// [`challenge`](Self::challenge).
///
/// A rejection made from an [`Error`] has the status and code of that error; see [`Error::code`].
#[derive(Clone)]
pub struct Rejection {
    pub(crate) details: Box<Details>,
}

#[derive(Clone)]
pub(crate) struct Details {
    pub(crate) rejection_type: RejectionType,
    pub(crate) log_reason: LogReason,
    pub(crate) message: Cow<'static, str>,
    invalid_fields: Vec<InvalidField>,
    pub(crate) realm: Arc<str>,
    permission: Option<Arc<str>>,
    pub(crate) retry_after: Option<Duration>,
    /// The methods of the path, if the request's method is none of them.
    pub(crate) allow: Option<&'static str>,
}

impl Rejection {
    pub(crate) fn new(reason: LogReason, realm: &str) -> Self {
        Self {
            details: Box::new(Details {
                rejection_type: reason.rejection_type(),
                log_reason: reason,
                message: reason.message().into(),
                invalid_fields: Vec::new(),
                realm: realm.into(),
                permission: None,
                retry_after: None,
                allow: None,
            }),
        }
    }

    pub(crate) fn insufficient(permission: &str, realm: &str) -> Self {
        let mut rejection = Self::new(LogReason::InsufficientPermission, realm);
        rejection.details.permission = Some(permission.into());
        rejection
    }

    /// Logs the missing layer, and returns a 500.
    pub(crate) fn missing_layer(layer: &'static str, needed_by: &'static str) -> Self {
        tracing::error!(
            "layers: {layer} is missing in front of {needed_by}, the request is rejected with a 500; mount {layer} \
             with `Router::layer`, outside of what needs it"
        );
        Self::new(LogReason::Internal, "")
    }

    /// Logs the scope key that a handler read without a check, and returns a 500.
    pub(crate) fn unchecked_scope(key: &str) -> Self {
        tracing::error!(
            key,
            "caller: a handler read a scope key that was not checked, the request is rejected with a 500; add the \
             key to the requirement's SCOPE_FROM_PATH, or read organization_id() with IN_OWN_ORGANIZATION"
        );
        Self::new(LogReason::Internal, "")
    }

    /// Logs the path parameter that cannot be read, and returns a 500.
    pub(crate) fn misplaced_parameter(name: &str, problem: &'static str) -> Self {
        tracing::error!(
            parameter = name,
            "layers: a path parameter cannot be read ({problem}), the request is rejected with a 500; use the \
             route's name for the parameter"
        );
        Self::new(LogReason::Internal, "")
    }

    pub(crate) fn rejection_type(&self) -> RejectionType {
        self.details.rejection_type
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.rejection_type().status
    }

    /// Returns a short stable name, which the caller may be shown.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.rejection_type().code
    }

    /// Returns a sentence that the caller may be shown.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.details.message
    }

    /// Returns the reason, for logs only: it would tell a caller which of their guesses was close.
    #[must_use]
    pub fn log_reason(&self) -> LogReason {
        self.details.log_reason
    }

    /// Returns the missing permission, if that is the reason.
    #[must_use]
    pub fn permission(&self) -> Option<&str> {
        self.details.permission.as_deref()
    }

    /// Returns the invalid fields of the request; see [`Error::invalid_fields`].
    #[must_use]
    pub fn invalid_fields(&self) -> &[InvalidField] {
        &self.details.invalid_fields
    }

    /// Returns the value of `WWW-Authenticate` (RFC 6750 §3), if there is one. A layer in front of a handler adds
    /// the realm to the handler's rejections. Without such a layer, only a fault of a bearer token yields a
    /// challenge: a failed login does not ask for a token.
    #[must_use]
    pub fn challenge(&self) -> Option<HeaderValue> {
        let RejectionType { status, bearer_error, .. } = self.rejection_type();
        let realm = Some(&*self.details.realm).filter(|realm| !realm.is_empty());
        let is_known = realm.is_some() && status == StatusCode::UNAUTHORIZED;
        if !is_known && bearer_error.is_none() {
            return None;
        }
        let description = bearer_error.map(|_| self.message());
        Some(challenge([
            ("realm", realm),
            ("error", bearer_error),
            ("error_description", description),
            ("scope", self.permission()),
        ]))
    }

    /// Returns the challenge without an error code, for a 401 that has no challenge of its own.
    pub(crate) fn bare_challenge(&self) -> HeaderValue {
        let realm = Some(&*self.details.realm).filter(|realm| !realm.is_empty());
        challenge([("realm", realm), ("error", None), ("error_description", None), ("scope", None)])
    }

    /// Adds a realm, unless there is one.
    pub(crate) fn in_realm(mut self, realm: &str) -> Self {
        if self.details.realm.is_empty() {
            self.details.realm = realm.into();
        }
        self
    }

    /// Returns the gRPC status code, as `tonic::Code::from_i32` takes it. A layer responds to gRPC requests by
    /// itself; this is for a handler that rejects one.
    #[must_use]
    pub fn grpc_status(&self) -> i32 {
        // https://grpc.io/docs/guides/status-codes/
        match self.status() {
            StatusCode::UNPROCESSABLE_ENTITY => 3,
            StatusCode::NOT_FOUND => 5,
            StatusCode::FORBIDDEN => 7,
            StatusCode::TOO_MANY_REQUESTS => 8,
            StatusCode::CONFLICT => 10,
            StatusCode::SERVICE_UNAVAILABLE => 14,
            // A malformed header identifies no caller.
            StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST => 16,
            _ => 13,
        }
    }

    /// Returns the headers of the response, which go with any body: `Cache-Control: no-store`, the challenge,
    /// `Retry-After` on a 429 or 503, and `Allow` on a 405.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if matches!(self.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
        {
            headers.insert(RETRY_AFTER, retry_after(self.status(), self.details.retry_after));
        }
        if let Some(methods) = self.details.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        headers
    }

    /// Returns the response as problem details of the generic type.
    fn to_problem(&self) -> Response<Body> {
        let status = self.status();
        let problem = Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            code: Some(self.code()),
            status,
            detail: self.message(),
            invalid_fields: self.invalid_fields(),
        };
        problem.into_response(self.headers()).map(Body::from)
    }
}

/// Problem details. A layer of the crate in front finds the rejection in the response's extensions, and lets the
/// hook replace the response.
impl IntoResponse for Rejection {
    fn into_response(self) -> Response<Body> {
        let mut response = self.to_problem();
        response.extensions_mut().insert(self);
        response
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejection")
            .field("status", &self.status().as_u16())
            .field("code", &self.code())
            .field("reason", &self.details.log_reason.as_str())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Rejection {}

/// For a 5xx, the message is generic and the cause is logged.
impl From<Error> for Rejection {
    fn from(error: Error) -> Self {
        let rejection_type = error.kind().rejection_type();
        let status = rejection_type.status;
        log_fault(&error, status);
        let reason = LogReason::Failed(error.details.reason.unwrap_or(error.kind().as_str()));
        let mut rejection = Self::new(reason, "");
        let details = &mut rejection.details;
        details.rejection_type = rejection_type;
        details.message = match status {
            StatusCode::SERVICE_UNAVAILABLE => LogReason::Unavailable.message().into(),
            status if status.is_server_error() => LogReason::Internal.message().into(),
            _ => error.message().to_owned().into(),
        };
        details.retry_after = error.retry_after();
        details.invalid_fields = error.invalid_fields().to_vec();
        rejection
    }
}

/// A handler can return an error of the token service with `?`.
impl IntoResponse for Error {
    fn into_response(self) -> Response<Body> {
        Rejection::from(self).into_response()
    }
}

/// Logs the cause of an error, which the response omits.
pub(crate) fn log_fault(error: &Error, status: StatusCode) {
    if status == StatusCode::SERVICE_UNAVAILABLE {
        tracing::warn!(?error, "rejection: {error}, the request is rejected with a 503");
    } else if status.is_server_error() {
        tracing::error!(?error, "rejection: {error}, the request is rejected with a 500");
    }
}

/// Returns the value of `Retry-After` (RFC 9110 §10.2.3): whole seconds, at least one. An outage hits all clients at
/// once, so the value has jitter.
fn retry_after(status: StatusCode, delay: Option<Duration>) -> HeaderValue {
    let delay = delay.unwrap_or_default();
    let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
    let is_outage = status == StatusCode::SERVICE_UNAVAILABLE;
    let more = if is_outage { jitter::below(RETRY_SPREAD).as_secs() } else { 0 };
    HeaderValue::from(seconds.max(1).saturating_add(more))
}

/// Returns the value of `WWW-Authenticate` (RFC 6750 §3) with the parameters that are present.
fn challenge(parameters: [(&str, Option<&str>); 4]) -> HeaderValue {
    let mut challenge = String::from("Bearer");
    let mut separator = " ";
    for (name, value) in parameters {
        let Some(value) = value else { continue };
        let _ = write!(challenge, "{separator}{name}=\"");
        separator = ", ";
        for character in value.chars().filter(|c| c.is_ascii_graphic() || *c == ' ') {
            if matches!(character, '"' | '\\') {
                // Of the parameters, only a realm may be any quoted-string (RFC 9110 §5.6.4).
                if name != "realm" {
                    continue;
                }
                challenge.push('\\');
            }
            challenge.push(character);
        }
        challenge.push('"');
    }
    HeaderValue::from_str(&challenge).unwrap_or(HeaderValue::from_static("Bearer"))
}
