//! A token as the response of a handler.

use axum_core::body::Body;
use axum_core::response::IntoResponse;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};

use crate::service::exchange::ExchangedToken;
use crate::service::issue::IssuedToken;

/// JSON with `no-store`: `{"accessToken", "expiresIn", "tokenType": "Bearer"}`, and a `message` if there is one.
impl IntoResponse for IssuedToken {
    fn into_response(self) -> Response<Body> {
        // All of its members can be serialized.
        let text = serde_json::to_string(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(text));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// Returns the response of its [`IssuedToken`].
impl IntoResponse for ExchangedToken {
    fn into_response(self) -> Response<Body> {
        self.token.into_response()
    }
}
