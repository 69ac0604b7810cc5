//! Whether the process lives, and whether it can do its work.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use countersign::TokenService;

/// `GET /healthz` is 200 as long as requests are served: restart the process where it is not. `GET /readyz` is 503 while
/// this node cannot issue or accept tokens: send requests elsewhere. Neither asks a store.
pub(crate) fn routes(tokens: &TokenService) -> Router {
    let tokens = tokens.clone();
    let ready = move || async move {
        match tokens.check_ready() {
            Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
            Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        }
    };
    Router::new().route("/healthz", get(|| async { "alive\n" })).route("/readyz", get(ready))
}
