//! `ValidateLayer`: rejects requests without a valid token.
//!
//! 1. No credentials: 401, or, if the layer is [`optional`](ValidateLayer::optional), the
//!    request passes as anonymous.
//! 2. Invalid credentials are always rejected, optional or not: a caller that presents an identity must not be
//!    served as anonymous.
//! 3. Valid credentials: the request passes with an `Arc<Validated>` in its extensions.
//!
//! # Caches
//!
//! The response to a validated caller belongs to that caller alone, and no cache serves it to another (RFC 9111 §3):
//!
//! - If the handler sets no `Cache-Control`, the layer adds `private, no-store`.
//! - If it sets one by which a shared cache may store the response, `public` and `s-maxage` are removed and
//!   `private` is put first. Fields that only shared caches obey are removed as well (`CDN-Cache-Control` and
//!   similar, RFC 9213; `Surrogate-Control`; `X-Accel-Expires`).
//!   [`allow_public`](ValidateLayer::allow_public) leaves both as they are.
//! - `Vary: Authorization` is added for anonymous callers, too (RFC 9110 §12.5.5): a cache that has stored their
//!   response must not serve it to a caller with a token.
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
