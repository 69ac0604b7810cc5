//! `ExchangeLayer`: cookies, authentication tokens and JWTs reach the same handlers.
//!
//! A browser holds an opaque authentication token, as a cookie or as a bearer token. The layer exchanges it for a
//! short-lived JWT (a *phantom token*), and forwards the request with the JWT as its `Authorization` and an
//! `Arc<Validated>` in its extensions. The JWT is reused until shortly before it expires, or until the session ends;
//! the session itself is kept.
//!
//! 1. A bearer token takes precedence over a cookie. If it is a JWT, it is validated as such. Customers' tokens
//!    are admitted, and those of other kinds if the layer says so: [`only`](ExchangeLayer::only).
//!    Tokens of trusted issuers are accepted behind `TokenService::exchange_layer_with_trusted_issuers` alone.
//! 2. No credentials: 401, or, if the layer is [`optional`](ExchangeLayer::optional), the request passes as
//!    anonymous. Invalid ones are rejected, optional or not.
//! 3. A session that requires a one-time password is rejected, even if an exchange of it used a right code: each
//!    exchange needs a code of its own.
//!    [`confirm_one_time_password`](crate::TokenService::confirm_one_time_password) replaces it by a fresh session
//!    that requires none, whose token the browser holds from then on.
//!
//! Behind the layer, `Authorization` and `Cookie` are marked sensitive, so `Debug` does not print them.
//! [`strip_cookie`](ExchangeLayer::strip_cookie) removes the cookie from the request.
//!
//! Responses are marked for caches as by [`validate`](crate::layers::validate#caches), and also vary by `Cookie`: a
//! cookie alone does not keep a shared cache from storing a user's response.
//!
//! # Requests of other sites
//!
//! Browsers send a cookie along with what pages of other sites ask for, subdomains and other ports among
//! them, which `SameSite` does not keep away. So with an unsafe method (all but GET, HEAD, OPTIONS and
//! TRACE) and for an upgrade, as to a WebSocket, a cookie counts only:
//!
//! - with `Sec-Fetch-Site: same-origin`, or `none`, which is the user's own doing;
//! - with an `Origin` that the layer [allows](ExchangeLayer::allow_origin).
//!
//! Otherwise the request is a 403 with the code `cross-origin`, or anonymous
//! if the layer is optional. A bearer token counts in any case, since no browser adds one by itself.
//! What is not a browser says `Sec-Fetch-Site: same-origin`, or sends a bearer token. GET must change
//! nothing.
//!
//! ```
//! # #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
//! # async fn example(tokens: countersign::TokenService) {
//! use http::{Request, Response, StatusCode};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! let hello = service_fn(|_: Request<String>| {
//!     std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(String::new())))
//! });
//! let forged = Request::post("/transfer")
//!     .header("cookie", "__Host-session=the-token")
//!     .header("sec-fetch-site", "cross-site")
//!     .body(String::new());
//! let Ok(rejected) = tokens.exchange_layer().layer(hello).oneshot(forged.unwrap()).await;
//! assert_eq!(rejected.status(), StatusCode::FORBIDDEN);
//! # }
//! ```

pub(crate) mod layer;
mod pages;
mod service;

pub(crate) use self::layer::ExchangeLayer;
pub use self::service::Exchange;
