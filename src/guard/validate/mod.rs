//! `ValidateLayer`: lets requests through that bring a good token.
//!
//! 1. No credentials: 401, or, where the layer is [`optional`](ValidateLayer::optional), the
//!    request passes as anonymous.
//! 2. Credentials that are bad are always rejected, optional or not: a caller who tries to be
//!    somebody must not be served as nobody.
//! 3. Good ones: the request passes with an `Arc<Validated>` in its extensions.
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
mod layer;
mod service;

pub use self::future::ValidateFuture;
pub use self::layer::ValidateLayer;
pub(crate) use self::service::Anonymous;
pub use self::service::Validate;
