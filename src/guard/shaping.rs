//! The response to a rejected request: that of the host's hook, a gRPC status, or problem details.
//!
//! A layer shapes its own rejections and those of the services behind it: a [`Rejection`] that a
//! [`RequireLayer`](crate::RequireLayer), an extractor or a handler returned is in the response's extensions.
//! Handlers do not know the realm; the layer does.

use std::sync::Arc;

use axum_core::body::Body;
use axum_core::response::IntoResponse as _;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, RETRY_AFTER,
    TRANSFER_ENCODING, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};

use crate::guard::original_uri::original_uri;
use crate::guard::response_caching::make_private;
use crate::rejection::{Rejection, RejectionHook};
use crate::token::claims::Validated;
use crate::validate::Validator;

/// Headers that describe the body of a response or its rejection, and that no other response takes over.
const REPLACED: [HeaderName; 8] = [
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    ETAG,
    RETRY_AFTER,
    TRANSFER_ENCODING,
    WWW_AUTHENTICATE,
];

/// How the rejections of one request are responded to.
pub(crate) struct Shaping {
    realm: Realm,
    form: Form,
}

/// The source of a challenge's realm: the issuer of the layer's validator. It refers to a value that the request
/// holds anyway, to avoid a shared reference count that all threads write.
enum Realm {
    Validator(Validator),
    /// The issuer of a token.
    Token(Arc<Validated>),
}

impl Realm {
    fn of<B>(validator: &Validator, request: &Request<B>) -> Self {
        match request.extensions().get::<Arc<Validated>>() {
            Some(token) if token.issuer() == validator.issuer() => Self::Token(Arc::clone(token)),
            _ => Self::Validator(validator.clone()),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Validator(validator) => validator.issuer(),
            Self::Token(token) => token.issuer(),
        }
    }
}

enum Form {
    ProblemDetails,
    Grpc,
    Hook(Box<(RejectionHook, Parts)>),
}

impl Shaping {
    /// Returns the shaping of a request to a layer. With a hook, it copies the request's head.
    pub(crate) fn of<B>(validator: &Validator, request: &Request<B>) -> Self {
        if is_grpc(request) {
            return Self { realm: Realm::of(validator, request), form: Form::Grpc };
        }
        Self::by_hook(validator.rejection_hook(), validator, request)
    }

    /// Returns the shaping of a request to a route, which speaks no gRPC, with the hook of the route's family.
    pub(crate) fn by_hook<B>(
        hook: &RejectionHook,
        validator: &Validator,
        request: &Request<B>,
    ) -> Self {
        let form = if hook.is_set() {
            Form::Hook(Box::new((hook.clone(), head_of(request))))
        } else {
            Form::ProblemDetails
        };
        Self { realm: Realm::of(validator, request), form }
    }

    /// Returns the response to a rejected request.
    pub(crate) fn reject(&self, rejection: Rejection) -> Response<Body> {
        let rejection = rejection.in_realm(self.realm.as_str());
        match &self.form {
            Form::ProblemDetails => rejection.into_response(),
            Form::Grpc => grpc(&rejection),
            Form::Hook(hook) => {
                let (hook, request) = &**hook;
                match hook.shape(&rejection, request) {
                    Some(response) => finish(response, &rejection),
                    None => rejection.into_response(),
                }
            }
        }
    }

    /// Shapes the rejection that a response was made from, if any. Headers that layers in between have added stay.
    pub(crate) fn apply(&self, mut response: Response<Body>) -> Response<Body> {
        let Some(rejection) = response.extensions_mut().remove::<Rejection>() else {
            return response;
        };
        if matches!(self.form, Form::ProblemDetails) {
            return in_realm(response, rejection, self.realm.as_str());
        }
        let shaped = self.reject(rejection);
        replace(response, shaped)
    }
}

/// Adds the realm to a rejection's challenge, unless a layer in between has set another challenge.
fn in_realm(mut response: Response<Body>, rejection: Rejection, realm: &str) -> Response<Body> {
    let before = rejection.challenge();
    let rejection = rejection.in_realm(realm);
    let headers = response.headers_mut();
    if headers.get(WWW_AUTHENTICATE) == before.as_ref()
        && let Some(challenge) = rejection.challenge()
    {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    response.extensions_mut().insert(rejection);
    response
}

/// Replaces the response to a rejection by another one. Headers that layers in between have added stay.
pub(crate) fn replace(response: Response<Body>, shaped: Response<Body>) -> Response<Body> {
    let mut headers = response.into_parts().0.headers;
    for name in REPLACED {
        headers.remove(name);
    }
    let (mut parts, body) = shaped.into_parts();
    headers.extend(std::mem::take(&mut parts.headers));
    parts.headers = headers;
    Response::from_parts(parts, body)
}

/// Returns a copy of a request without its body.
fn head_of<B>(request: &Request<B>) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = request.method().clone();
    parts.uri = original_uri(request).clone();
    parts.version = request.version();
    parts.headers = request.headers().clone();
    parts.extensions = request.extensions().clone();
    parts
}

/// Adds the headers that the hook's response lacks. The response is never a success, and no shared cache stores it,
/// since other callers may get a different one.
pub(crate) fn finish(mut response: Response<Body>, rejection: &Rejection) -> Response<Body> {
    let (shaped, own) = (response.status(), rejection.status());
    // For a conditional request, 304 is a success (RFC 9110 §15.4.5).
    let is_success = shaped.is_success() || shaped == StatusCode::NOT_MODIFIED;
    if shaped.is_informational() || is_success {
        tracing::error!(
            "reject_with: the hook returned {shaped} for a rejected request, the response is {own} \
             instead; return an error or a redirect from the hook"
        );
        *response.status_mut() = own;
    }
    let is_redirect = response.status().is_redirection();
    let headers = response.headers_mut();
    for (name, value) in rejection.headers() {
        let Some(name) = name else { continue };
        let is_left_out = is_redirect && name == WWW_AUTHENTICATE;
        if !is_left_out && !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    }
    // The headers that the status of the hook's response needs.
    if shaped == StatusCode::UNAUTHORIZED && !headers.contains_key(WWW_AUTHENTICATE) {
        headers.insert(WWW_AUTHENTICATE, rejection.bare_challenge());
    }
    make_private(headers);
    // A layer further out has nothing to add.
    response.extensions_mut().remove::<Rejection>();
    response
}

/// gRPC uses POST only. A gRPC status is sent with 200, so a client of another method that sets the media type would
/// take it for a success, as would a proxy that asks with a GET whether to forward a request.
fn is_grpc<B>(request: &Request<B>) -> bool {
    if *request.method() != Method::POST {
        return false;
    }
    let content_type = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|value| {
        let rest = value.strip_prefix(b"application/grpc");
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    })
}

/// Returns a trailers-only response (gRPC over HTTP/2, "Responses"), with status and message in its headers.
fn grpc(rejection: &Rejection) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(rejection.grpc_status()));
    if let Ok(message) = HeaderValue::try_from(percent_encoded(rejection.message())) {
        headers.insert("grpc-message", message);
    }
    response
}

/// Percent-encodes a gRPC message: `%`, and bytes outside of visible ASCII.
fn percent_encoded(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
