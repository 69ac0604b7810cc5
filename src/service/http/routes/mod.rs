//! The documented routes, as a router for the host to mount.

mod authentication_tokens;
mod body;
mod envelope;
mod error;
mod fields;
mod jwks;
mod login;
mod problem;
mod response;
mod route_context;
mod secrets;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use http::request::Parts;
use tracing::instrument::{Instrument as _, Instrumented};

use crate::guard::authenticate::Authenticator;
use crate::guard::shaping::Shaping;
use crate::rejection::{Rejection, RejectionHook};
use crate::service::TokenService;
use crate::validate::Validator;

impl TokenService {
    /// Returns a router of the documented routes:
    ///
    /// | method and path | what it does |
    /// |---|---|
    /// | `POST /user/token/generate` | a user's token for name and password |
    /// | `POST /entity/token/generate` | a machine client's token for id and secret |
    /// | `POST /entity/secret/read` | a machine client's secret, for a user who may read it |
    /// | `POST /entity/secret/reset` | a new secret, for a user who may reset it |
    /// | `POST /authentication-tokens` | a session of a customer, for name and password or for the customer that a bearer names |
    /// | `GET /authentication-tokens` | the live sessions, for a bearer who may list them |
    /// | `GET /authentication-tokens/{token}` | whether an authentication token is valid |
    /// | `DELETE /authentication-tokens/{token}` | logging out |
    /// | `POST /authentication-tokens/{token}/exchange` | a JWT for an authentication token |
    /// | `POST /authentication-tokens/{token}/one-time-password` | another one-time password |
    /// | `GET /.well-known/jwks.json` | the public keys (RFC 7517) |
    ///
    /// The first two take a form or JSON, `username` and `password` or `id` and `secret`, and return JSON:
    ///
    /// ```text
    /// curl -d username=ops@example.com -d password=$PASSWORD https://auth.example.com/user/token/generate
    /// {"ver": "1.0.0", "timestamp": "2026-11-29T22:38:15.172Z", "txnId": "0592a55b-1c56-4037-b926-d8ca3107d554",
    ///  "accessToken": "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSIs...", "expiresIn": 86400, "tokenType": "Bearer"}
    /// ```
    ///
    /// Errors of the routes for users and machine clients are in the envelope of their responses;
    /// those for authentication tokens are problem details (RFC 9457), whose `type` is the policy's
    /// `http.problem_type_base` and then one of these:
    ///
    /// | `type` ends in | status | when |
    /// |---|---|---|
    /// | `malformed-request` | 400 | the body is not strict JSON, or a field has a wrong type |
    /// | `missing-token` | 401 | the request has no bearer token |
    /// | `malformed-credentials` | 400 | the `Authorization` header is malformed, or there are two |
    /// | `invalid-token`, `token-expired` | 401 | the bearer token is not accepted |
    /// | `invalid-credentials` | 401 | the name or password is wrong, or the password has expired |
    /// | `one-time-password-required` | 401 | the session requires a one-time password |
    /// | `one-time-password-invalid` | 401 | the one-time password is wrong, expired or used |
    /// | `acl-exceeds-grant` | 403 | the request asks for more than the session or the bearer holds |
    /// | `custom-claims-not-allowed` | 403 | the request asks for claims that only the host may set, or for another value than the host's |
    /// | `disabled` | 403 | the customer is blocked |
    /// | `insufficient-permission` | 403 | the bearer token does not grant the operation |
    /// | `not-found` | 404 | the token has no live session |
    /// | `method-not-allowed` | 405 | |
    /// | `request-timeout` | 408 | the body did not arrive in time |
    /// | `conflict` | 409 | a one-time password is requested that the session does not require, or the customer was logged out everywhere while the session was started |
    /// | `content-too-large` | 413 | |
    /// | `unsupported-media-type` | 415 | |
    /// | `invalid-fields` | 422 | fields are missing, malformed or out of range: see `invalidFields` |
    /// | `too-many-requests` | 429 | there were too many attempts: see `Retry-After` |
    /// | `internal` | 500 | |
    /// | `unavailable` | 503 | a store is unreachable, or there are too many requests at once |
    ///
    /// It sets no fallback, so it can be merged and nested. Nested below a path parameter `{organizationId}`, it
    /// serves only the principals and sessions of that organization. Elsewhere, users and customers without an
    /// organization can log in, and machine clients of all organizations.
    ///
    /// ```
    /// # fn example(tokens: countersign::TokenService) {
    /// let app: axum::Router = axum::Router::new()
    ///     .nest("/iam/v1", tokens.router())
    ///     .nest("/organizations/{organizationId}", tokens.router());
    /// # }
    /// ```
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        use authentication_tokens as sessions;

        let user_login = "/user/token/generate";
        let entity_login = "/entity/token/generate";
        let secret_read = "/entity/secret/read";
        let secret_reset = "/entity/secret/reset";
        let collection = "/authentication-tokens";
        let single = "/authentication-tokens/{token}";
        let exchange = "/authentication-tokens/{token}/exchange";
        let code = "/authentication-tokens/{token}/one-time-password";
        let jwks = "/.well-known/jwks.json";
        let entities = Router::new()
            .route(
                user_login,
                post(traced(user_login, login::user)).fallback(envelope::wrong_method),
            )
            .route(
                entity_login,
                post(traced(entity_login, login::entity)).fallback(envelope::wrong_method),
            )
            .route(
                secret_read,
                post(traced(secret_read, secrets::read)).fallback(envelope::wrong_method),
            )
            .route(
                secret_reset,
                post(traced(secret_reset, secrets::reset)).fallback(envelope::wrong_method),
            );
        let sessions = Router::new()
            .route(
                collection,
                get(traced(collection, sessions::list))
                    .post(traced(collection, sessions::start))
                    .fallback(problem::allow("GET, HEAD, POST")),
            )
            .route(
                single,
                get(traced(single, sessions::verify))
                    .delete(traced(single, sessions::end))
                    .fallback(problem::allow("GET, HEAD, DELETE")),
            )
            .route(
                exchange,
                post(traced(exchange, sessions::exchange)).fallback(problem::allow("POST")),
            )
            .route(code, post(traced(code, sessions::resend)).fallback(problem::allow("POST")))
            .route(jwks, get(traced(jwks, jwks::jwks)).fallback(problem::allow("GET, HEAD")));
        let hooks = &self.inner.route_hooks;
        let validator = self.validator();
        shaped(entities, &hooks.entities, validator)
            .merge(shaped(sessions, &hooks.sessions, validator))
            .with_state(self.clone())
    }
}

impl<'a> Authenticator<'a> {
    /// Of a request's head.
    fn of(validator: &'a Validator, parts: &'a Parts) -> Self {
        Self { validator, headers: &parts.headers, extensions: &parts.extensions }
    }
}

impl RejectionHook {
    /// Stores a rejection in its response, for `shaped` further out, if there is a hook.
    fn mark(&self, mut response: Response, rejection: Rejection) -> Response {
        if self.is_set() {
            response.extensions_mut().insert(rejection);
        }
        response
    }
}

/// Lets the host's hook, if there is one, make the responses to requests that these routes reject.
fn shaped(
    routes: Router<TokenService>,
    hook: &RejectionHook,
    validator: &Validator,
) -> Router<TokenService> {
    if !hook.is_set() {
        return routes;
    }
    let (hook, validator) = (hook.clone(), validator.clone());
    routes.layer(from_fn(move |request: Request, next: Next| {
        let shaping = Shaping::by_hook(&hook, &validator, &request);
        async move { shaping.apply(next.run(request).await) }
    }))
}

/// Runs a handler within a span that names the route, not the path, which may contain a token.
fn traced<F, Fut>(
    route: &'static str,
    handler: F,
) -> impl Fn(State<TokenService>, Request) -> Instrumented<Fut> + Clone + Send + Sync + 'static
where
    F: Fn(State<TokenService>, Request) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future,
{
    move |tokens, request| {
        let span = tracing::info_span!(
            "countersign",
            http.request.method = %request.method(),
            http.route = route,
        );
        handler(tokens, request).instrument(span)
    }
}
