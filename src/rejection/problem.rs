//! Problem details (RFC 9457).

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::error::InvalidField;

/// The members of a problem.
pub(crate) struct Problem<'a> {
    pub(crate) kind: &'a str,
    pub(crate) title: &'a str,
    /// `None` for the generic type.
    pub(crate) code: Option<&'static str>,
    pub(crate) status: StatusCode,
    pub(crate) detail: &'a str,
    pub(crate) invalid_fields: &'a [InvalidField],
}

impl Problem<'_> {
    /// Returns the response with these details and with `headers`.
    pub(crate) fn into_response(self, headers: HeaderMap) -> Response<String> {
        let mut body = json!({
            "type": self.kind,
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(code) = self.code {
            body["code"] = code.into();
        }
        if !self.invalid_fields.is_empty() {
            let field = |invalid: &InvalidField| json!({"field": invalid.field, "message": invalid.message});
            body["invalidFields"] = Value::Array(self.invalid_fields.iter().map(field).collect());
        }
        let mut response = Response::new(body.to_string());
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, problem);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
