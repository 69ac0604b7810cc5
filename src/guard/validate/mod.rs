//! `ValidateLayer`: rejects requests without a valid token.
//!
//! 1. No credentials: 401, or, if the layer is [`optional`](ValidateLayer::optional), the
//!    request passes as anonymous.
//! 2. Invalid credentials are always rejected, optional or not: a caller who tries to be somebody must not be
//!    served as anonymous.
//! 3. Valid credentials: the request passes with an `Arc<Validated>` in its extensions.
//!
//! # Caches
//!
//! What a handler returns to a caller who was validated is that caller's own, and no cache serves it to
//! another (RFC 9111 §3):
//!
//! - If the handler sets no `Cache-Control`, the layer adds `private, no-store`.
//! - If it sets one by which a shared cache may store the response, `public` and `s-maxage` go and
//!   `private` comes to the front; fields that shared caches alone obey go as well (`CDN-Cache-Control`
//!   and its like, RFC 9213; `Surrogate-Control`; `X-Accel-Expires`).
//!   [`allow_public`](ValidateLayer::allow_public) leaves both as they are.
//! - `Vary: Authorization` is added for anonymous callers, too (RFC 9110 §12.5.5): a cache that has stored
//!   what they get must not serve it to somebody who brings a token.
//!
//! # Example
//!
//! ```
//! # #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
//! # async fn example() -> Result<(), countersign::Error> {
//! use countersign::{Algorithm, KeyRing, ValidateLayer, Validator};
//! use http::{Request, Response, StatusCode};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! let validator = Validator::builder()
//!     .issuer("https://auth.example.com")
//!     .audience("https://api.example.com")
//!     .keys(KeyRing::generate(Algorithm::EdDSA)?)
//!     .build()?;
//! let hello = service_fn(|_: Request<String>| async {
//!     Ok::<_, std::convert::Infallible>(Response::new("hello".to_owned()))
//! });
//!
//! let closed = ValidateLayer::new(validator.clone()).layer(hello);
//! let Ok(rejected) = closed.oneshot(Request::new(String::new())).await;
//! assert_eq!(rejected.status(), StatusCode::UNAUTHORIZED);
//!
//! let open = ValidateLayer::new(validator).optional().layer(hello);
//! let Ok(served) = open.oneshot(Request::new(String::new())).await;
//! assert_eq!(served.status(), StatusCode::OK);
//! # Ok(()) }
//! ```

mod future;
pub(crate) mod layer;
mod service;

pub use self::future::ValidateFuture;
pub(crate) use self::layer::ValidateLayer;
pub(crate) use self::service::Anonymous;
pub use self::service::Validate;
pub use crate::guard::extract::BearerClaims;
