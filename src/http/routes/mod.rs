//! The documented routes, as a router that the host mounts where it likes.

mod body;
mod envelope;
mod exchange;
mod fields;
mod jwks;
mod login;
mod mount;
mod problem;
mod secrets;

use axum::Router;
use axum::routing::{get, post};

use crate::service::TokenService;

impl TokenService {
    /// The documented routes:
    ///
    /// | method and path | what it does |
    /// |---|---|
    /// | `POST /user/token/generate` | a user's token for name and password |
    /// | `POST /entity/token/generate` | an entity's token for id and secret |
    /// | `POST /entity/secret/read` | an entity's secret, for a user who may read it |
    /// | `POST /entity/secret/reset` | a new secret, for a user who may reset it |
    /// | `POST /authentication-tokens/{token}/exchange` | a JWT for an authentication token |
    /// | `GET /.well-known/jwks.json` | the public keys (RFC 7517) |
    ///
    /// It sets no fallback, so it merges and nests. Nested below a path parameter
    /// `{organizationId}`, it serves that organization's principals and sessions alone.
    ///
    /// ```
    /// # fn example(tokens: countersign::TokenService) {
    /// let app: axum::Router = axum::Router::new()
    ///     .nest("/iam/v1", tokens.router())
    ///     .nest("/organizations/{organizationId}", tokens.router());
    /// # }
    /// ```
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        Router::new()
            .route("/user/token/generate", post(login::user).fallback(envelope::wrong_method))
            .route("/entity/token/generate", post(login::entity).fallback(envelope::wrong_method))
            .route("/entity/secret/read", post(secrets::read).fallback(envelope::wrong_method))
            .route("/entity/secret/reset", post(secrets::reset).fallback(envelope::wrong_method))
            .route(
                "/authentication-tokens/{token}/exchange",
                post(exchange::exchange).fallback(problem::post_only),
            )
            .route("/.well-known/jwks.json", get(jwks::jwks).fallback(problem::get_only))
            .with_state(self.clone())
    }
}
