//! `ExchangeLayer`: cookies, authentication tokens and JWTs reach the same handlers.
//!
//! A browser holds an opaque authentication token, as a cookie or as a bearer token. The layer
//! exchanges it for a short-lived JWT (a *phantom token*), and hands the request on with the JWT
//! as its `Authorization` and an `Arc<Validated>` in its extensions. The JWT is made once and used
//! until shortly before it ends, or until its session does; the session itself stays.
//!
//! 1. A bearer token goes before a cookie. One that is a JWT is validated as it is.
//! 2. No credentials: 401, or, where the layer is [`optional`](ExchangeLayer::optional), the
//!    request passes as anonymous. Bad ones are rejected, optional or not.
//! 3. A session that needs a one-time password is rejected: its token has to be exchanged by the
//!    route first.
//!
//! Responses are marked for caches as by [`validate`](crate::layers::validate#caches), and vary by
//! `Cookie`, too: a cookie keeps no shared cache from storing what a user got.
//!
//! A cookie comes along with forged requests, too. `SameSite` keeps most of them away; a host that
//! sets it to `None` has to tell forged requests from real ones itself.

mod layer;
mod service;

pub use self::layer::ExchangeLayer;
pub use self::service::Exchange;
