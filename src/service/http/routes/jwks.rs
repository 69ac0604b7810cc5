//! `GET /.well-known/jwks.json` (RFC 7517 §5, §8.5)

use axum::extract::{Request, State};
use axum_core::body::Body;
use axum_core::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

use crate::jose::material::base64url;
use crate::rejection::LogReason;
use crate::service::TokenService;
use crate::service::http::routes::body::check_announced_len;
use crate::service::http::routes::problem;

pub(super) async fn jwks(State(tokens): State<TokenService>, request: Request) -> Response {
    if let Err(fault) = check_announced_len(request.headers(), tokens.policy()) {
        return problem::answer(&tokens, Err(fault.into()));
    }
    if tokens.inner.keys.are_awaited() {
        // A client that caches an empty set rejects valid tokens until it fetches again.
        return problem::answer(&tokens, Err(LogReason::Unavailable.into()));
    }
    let set = tokens.jwks();
    let etag = format!("\"{}\"", base64url(&Sha256::digest(set.as_bytes())));
    let known = request.headers().get_all(IF_NONE_MATCH).iter().any(|value| {
        // The comparison is weak (RFC 9110 §13.1.2).
        let mut tags = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes())
    });
    let mut response = if known {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        Response::new(Body::from(set))
    };
    let max_age = tokens.policy().http.jwks_max_age.as_secs();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    if let Ok(value) = HeaderValue::try_from(format!("public, max-age={max_age}")) {
        headers.insert(CACHE_CONTROL, value);
    }
    if let Ok(value) = HeaderValue::try_from(etag) {
        headers.insert(ETAG, value);
    }
    response
}
