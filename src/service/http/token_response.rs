//! A token as the response of a handler.

use axum_core::body::Body;
use axum_core::response::IntoResponse;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};

use crate::service::exchange::ExchangedToken;
use crate::service::issue::IssuedToken;

/// JSON that nobody may keep: `{"accessToken", "expiresIn", "tokenType": "Bearer"}`, and a `message` where
/// there is one.
impl IntoResponse for IssuedToken {
    fn into_response(self) -> Response<Body> {
        // It has no member that could not be written.
        let text = serde_json::to_string(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(text));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// That of its [`IssuedToken`].
impl IntoResponse for ExchangedToken {
    fn into_response(self) -> Response<Body> {
        self.token.into_response()
    }
}
