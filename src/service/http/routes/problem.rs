//! Problem details (RFC 9457): the rejections of the routes for authentication tokens.

use std::future::{Ready, ready};

use axum::extract::State;
use axum_core::body::Body;
use axum_core::response::Response;

use crate::rejection::RejectionType;
use crate::rejection::problem::Problem;
use crate::service::TokenService;
use crate::service::http::routes::error::RouteError;

/// Returns the response, or that to a rejected request.
pub(super) fn answer(tokens: &TokenService, outcome: Result<Response, RouteError>) -> Response {
    outcome.unwrap_or_else(|error| {
        let rejection = error.into_rejection(tokens.issuer());
        let RejectionType { status, code, title, .. } = rejection.rejection_type();
        let detail = match rejection.invalid_fields() {
            [] => rejection.message().to_owned(),
            invalid @ [first, ..] => format!(
                "{} {} (fault 1 of {}, see invalidFields)",
                first.field,
                first.message,
                invalid.len()
            ),
        };
        let problem = Problem {
            kind: &format!("{}{code}", tokens.policy().http.problem_type_base),
            title,
            code: None,
            status,
            detail: &detail,
            invalid_fields: rejection.invalid_fields(),
        };
        let response = problem.into_response(rejection.headers()).map(Body::from);
        tokens.inner.route_hooks.sessions.mark(response, rejection)
    })
}

/// Returns the handler for methods that a path does not support.
pub(super) fn allow(
    methods: &'static str,
) -> impl Fn(State<TokenService>) -> Ready<Response> + Clone + Send + Sync + 'static {
    move |State(tokens)| ready(answer(&tokens, Err(RouteError::Method(methods))))
}
