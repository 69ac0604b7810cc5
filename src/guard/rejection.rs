//! What a request is told that is not let through.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum_core::body::Body;
use axum_core::response::IntoResponse;
use http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::guard::problem::Problem;
use crate::guard::response_caching::make_private;
use crate::validate::TokenFault;

/// Why a layer or an extractor rejects a request. It has the status and the challenge; the layer's
/// [`Reject`] makes the body.
///
/// | reason | status | challenge (RFC 6750 §3) |
/// |---|---|---|
/// | no credentials | 401 | no error code |
/// | malformed credentials | 400 | `invalid_request` |
/// | a bad token | 401 | `invalid_token` |
/// | a cookie, or a login that sets one, with a request of another origin | 403 | |
/// | a grant for a principal that is disabled or blocked | 403 | |
/// | a good token without the permission, of another organization, or of a kind that is not admitted | 403 | `insufficient_scope` |
/// | a one-time password is wanted first | 401 | `invalid_token` |
/// | a store out of reach, or too much to do | 503 with `Retry-After` | |
/// | a layer that was forgotten, a path parameter that the route lacks, or a grant that cannot be issued | 500 | |
#[derive(Clone, Debug)]
pub struct Rejection {
    reason: RejectionReason,
    realm: Arc<str>,
    permission: Option<Arc<str>>,
    pub(crate) retry_after: Option<Duration>,
}

/// The reasons of a [`Rejection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectionReason {
    /// No credentials came, or those of another scheme.
    MissingCredentials,
    /// Several `Authorization` headers, or one that is no bearer token.
    MalformedCredentials,
    /// The token is not accepted.
    InvalidToken(TokenFault),
    /// An authentication token that no live session answers to.
    UnknownSession,
    /// Another origin had the browser send the request: its cookie does not count, and none is set.
    CrossOrigin,
    /// The session asks for a one-time password: a layer takes the token of the fresh session that the
    /// service makes of it once the code is confirmed.
    OneTimePasswordRequired,
    /// The custom claims are not those that the handler wants.
    UnexpectedCustomClaims,
    /// The token's list does not grant the permission.
    InsufficientPermission,
    /// The token's list would grant it, and the token is bound to another organization, or none was
    /// asked about.
    OutsideOrganization,
    /// The token is of a kind of principal that is not admitted.
    KindNotAdmitted,
    /// The principal that a handler granted a token to is disabled or blocked.
    Disabled,
    /// Something that is needed for the answer is out of reach.
    Unavailable,
    /// The host forgot a layer, or the service failed.
    Internal,
}

impl RejectionReason {
    /// A short name for metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingCredentials => "missing_credentials",
            Self::MalformedCredentials => "malformed_credentials",
            Self::InvalidToken(fault) => fault.as_str(),
            Self::UnknownSession => "unknown_session",
            Self::CrossOrigin => "cross_origin",
            Self::OneTimePasswordRequired => "one_time_password_required",
            Self::UnexpectedCustomClaims => "unexpected_custom_claims",
            Self::InsufficientPermission => "insufficient_permission",
            Self::OutsideOrganization => "outside_organization",
            Self::KindNotAdmitted => "kind_not_admitted",
            Self::Disabled => "disabled",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

impl Rejection {
    pub(crate) fn new(reason: RejectionReason, realm: &str) -> Self {
        Self { reason, realm: realm.into(), permission: None, retry_after: None }
    }

    pub(crate) fn insufficient(permission: &str, realm: &str) -> Self {
        let permission = Some(permission.into());
        Self { permission, ..Self::new(RejectionReason::InsufficientPermission, realm) }
    }

    /// Logs which layer is missing, and returns a 500.
    pub(crate) fn missing_layer(layer: &'static str, needed_by: &'static str) -> Self {
        tracing::error!(
            "{needed_by} needs {layer} in front of it, and no {layer} has seen this request: mount \
             one with `Router::layer`, outside of what needs it"
        );
        Self::new(RejectionReason::Internal, "")
    }

    /// Logs which key of a scope a handler has asked for that was not checked, and returns a 500.
    pub(crate) fn unchecked_scope(key: &str) -> Self {
        tracing::error!(
            key,
            "Caller: a handler asked for a value that its token was not checked for; name the key in the \
             requirement's SCOPE_FROM_PATH"
        );
        Self::new(RejectionReason::Internal, "")
    }

    /// Logs which path parameter is not where it was to be read, and returns a 500.
    pub(crate) fn misplaced_parameter(name: &str, problem: &'static str) -> Self {
        tracing::error!(
            parameter = name,
            "layers: a path parameter was to be read, and {problem}; the request is answered 500; name \
             the parameter as the route does"
        );
        Self::new(RejectionReason::Internal, "")
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> RejectionReason {
        self.reason
    }

    /// The permission that is missing, where that is the reason.
    #[must_use]
    pub fn permission(&self) -> Option<&str> {
        self.permission.as_deref()
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.reason {
            RejectionReason::MissingCredentials
            | RejectionReason::InvalidToken(_)
            | RejectionReason::UnknownSession
            | RejectionReason::OneTimePasswordRequired
            | RejectionReason::UnexpectedCustomClaims => StatusCode::UNAUTHORIZED,
            RejectionReason::MalformedCredentials => StatusCode::BAD_REQUEST,
            RejectionReason::CrossOrigin
            | RejectionReason::InsufficientPermission
            | RejectionReason::OutsideOrganization
            | RejectionReason::KindNotAdmitted
            | RejectionReason::Disabled => StatusCode::FORBIDDEN,
            RejectionReason::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            RejectionReason::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The value of `WWW-Authenticate` (RFC 6750 §3), where the status has one.
    #[must_use]
    pub fn challenge(&self) -> Option<HeaderValue> {
        let error = match self.reason {
            RejectionReason::MissingCredentials => None,
            RejectionReason::MalformedCredentials => Some("invalid_request"),
            RejectionReason::InvalidToken(_)
            | RejectionReason::UnknownSession
            | RejectionReason::OneTimePasswordRequired
            | RejectionReason::UnexpectedCustomClaims => Some("invalid_token"),
            RejectionReason::InsufficientPermission
            | RejectionReason::OutsideOrganization
            | RejectionReason::KindNotAdmitted => Some("insufficient_scope"),
            RejectionReason::CrossOrigin
            | RejectionReason::Disabled
            | RejectionReason::Unavailable
            | RejectionReason::Internal => return None,
        };
        Some(challenge(&self.realm, error, error.map(|_| self.message()), self.permission()))
    }

    /// A sentence for the caller.
    #[must_use]
    pub fn message(&self) -> &'static str {
        match self.reason {
            RejectionReason::MissingCredentials => "A bearer token is required",
            RejectionReason::MalformedCredentials => {
                "There must be one Authorization header, holding one bearer token"
            }
            RejectionReason::InvalidToken(TokenFault::Expired) => "The access token has expired",
            RejectionReason::InvalidToken(_) => "The access token is not valid",
            RejectionReason::UnknownSession => "The authentication token is not valid",
            RejectionReason::CrossOrigin => {
                "The request comes from another origin, or does not say from which"
            }
            RejectionReason::OneTimePasswordRequired => {
                "The session needs a one-time password: confirm it for a fresh session"
            }
            RejectionReason::UnexpectedCustomClaims => "The access token lacks custom claims",
            RejectionReason::InsufficientPermission => {
                "The access token does not grant the permission"
            }
            RejectionReason::OutsideOrganization => {
                "The access token is bound to an organization, and grants nothing outside it"
            }
            RejectionReason::KindNotAdmitted => "Principals of this kind are not admitted",
            RejectionReason::Disabled => "The principal is disabled or blocked",
            RejectionReason::Unavailable => "The service is unavailable, try again later",
            RejectionReason::Internal => "The server is not set up right",
        }
    }

    /// The headers that go with it, whatever the body: the challenge, `Retry-After`, and that it
    /// must not be stored.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers: HeaderMap = self.plain_headers().into_iter().flatten().collect();
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        headers
    }

    /// Those that cost nothing to make.
    fn plain_headers(&self) -> [Option<(HeaderName, HeaderValue)>; 2] {
        let no_store = (CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let is_temporary = self.reason == RejectionReason::Unavailable;
        let retry = is_temporary.then(|| (RETRY_AFTER, retry_after(self.retry_after)));
        [Some(no_store), retry]
    }

    /// Returns the response that `reject` shapes, with the headers that it lacks. It is never a success,
    /// and no shared cache stores it: to other callers, the answer may be another.
    pub(crate) fn respond_with<B>(&self, reject: &impl Reject<B>) -> Response<B> {
        let mut response = reject.reject(self);
        let (shaped, own) = (response.status(), self.status());
        // To a conditional request, 304 is a success (RFC 9110 §15.4.5).
        let is_success = shaped.is_success() || shaped == StatusCode::NOT_MODIFIED;
        if shaped.is_informational() || is_success {
            tracing::error!(
                "reject_with: the hook returned {shaped} for a rejected request, which was answered {own} \
                 instead: have it return an error or a redirect"
            );
            *response.status_mut() = own;
        }
        let headers = response.headers_mut();
        if !headers.contains_key(WWW_AUTHENTICATE)
            && let Some(challenge) = self.challenge()
        {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        for (name, value) in self.plain_headers().into_iter().flatten() {
            if !headers.contains_key(&name) {
                headers.insert(name, value);
            }
        }
        make_private(headers);
        response
    }

    fn to_problem(&self) -> Response<String> {
        let status = self.status();
        let problem = Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status,
            detail: self.message(),
            invalid_fields: &[],
        };
        problem.into_response(self.headers())
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response<Body> {
        self.to_problem().map(Body::from)
    }
}

/// Returns the value of `Retry-After` (RFC 9110 §10.2.3): whole seconds, and one at least.
pub(crate) fn retry_after(delay: Option<Duration>) -> HeaderValue {
    let delay = delay.unwrap_or_default();
    let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
    HeaderValue::from(seconds.max(1))
}

/// Returns the value of `WWW-Authenticate` (RFC 6750 §3).
pub(crate) fn challenge(
    realm: &str,
    error: Option<&str>,
    description: Option<&str>,
    scope: Option<&str>,
) -> HeaderValue {
    let mut challenge = String::from("Bearer realm=\"");
    // A quoted-string (RFC 9110 §5.6.4) of what RFC 6750 allows in attributes.
    for character in realm.chars().filter(|c| c.is_ascii_graphic() || *c == ' ') {
        if matches!(character, '"' | '\\') {
            challenge.push('\\');
        }
        challenge.push(character);
    }
    challenge.push('"');
    for (name, value) in [("error", error), ("error_description", description), ("scope", scope)] {
        if let Some(value) = value {
            let _ = write!(challenge, ", {name}=\"{value}\"");
        }
    }
    HeaderValue::from_str(&challenge)
        .unwrap_or_else(|_| HeaderValue::from_static("Bearer realm=\"\""))
}

/// Shapes the response of a rejection: the hook by which a layer speaks the host's own error format.
///
/// Any `Fn(&Rejection) -> Response<B>` is one. [`Rejection::headers`] are added to its response where
/// it has not set them itself, so that the challenge cannot be forgotten. A redirect or an error of another
/// status stays; in the place of a 1xx, 2xx or 304, which would pass for what was asked for, the response gets
/// [`Rejection::status`], and the log an error. A `Cache-Control` by which a shared cache could store the
/// response is made private.
///
/// The closure names the type of its argument. In an axum app, `B` is axum's `Body`:
///
/// ```
/// # use axum::{Json, Router, response::IntoResponse, routing::get};
/// use countersign::{Rejection, ValidateLayer, Validator};
///
/// # fn app(validator: Validator) -> Router {
/// let layer = ValidateLayer::new(validator).reject_with(|rejection: &Rejection| {
///     let body = Json(serde_json::json!({"error": rejection.message()}));
///     (rejection.status(), body).into_response()
/// });
/// Router::new().route("/", get(|| async { "hello" })).layer(layer)
/// # }
/// ```
pub trait Reject<B> {
    /// Returns the response to `rejection`.
    fn reject(&self, rejection: &Rejection) -> Response<B>;
}

/// The default shape: problem details (RFC 9457), for any body that a `String` can become.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProblemDetails;

impl<B: From<String>> Reject<B> for ProblemDetails {
    fn reject(&self, rejection: &Rejection) -> Response<B> {
        rejection.to_problem().map(B::from)
    }
}

impl<B, F: Fn(&Rejection) -> Response<B>> Reject<B> for F {
    fn reject(&self, rejection: &Rejection) -> Response<B> {
        self(rejection)
    }
}
