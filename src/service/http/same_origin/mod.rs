//! `SameOriginLayer`: for handlers that log somebody in and set the cookie themselves.
//!
//! Without it, another site has a visitor's browser send its own name and password, and what the visitor then
//! enters is in the account of that site's owner. So with an unsafe method and for an upgrade, requests pass
//! only from the app's own pages, by the rule of
//! [`exchange`](crate::layers::exchange#requests-of-other-sites). Another one is a 403 with the code
//! `cross-origin`, and reaches no handler.
//!
//! ```
//! # #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))] {
//! # use countersign::{Algorithm, KeyRing, TokenService};
//! # let tokens = TokenService::builder()
//! #     .issuer("https://auth.example.com")
//! #     .audience("https://api.example.com")
//! #     .keys(KeyRing::generate(Algorithm::EdDSA)?)
//! #     .build()?;
//! use http::{Request, Response, StatusCode};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! let log_in = service_fn(|_: Request<String>| {
//!     std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(String::new())))
//! });
//! let from = |site: &str| Request::post("/login").header("sec-fetch-site", site).body(String::new());
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let login = tokens.same_origin_layer().layer(log_in);
//! let Ok(own) = login.clone().oneshot(from("same-origin").unwrap()).await;
//! assert_eq!(own.status(), StatusCode::OK);
//! let Ok(forged) = login.oneshot(from("cross-site").unwrap()).await;
//! assert_eq!(forged.status(), StatusCode::FORBIDDEN);
//! # });
//! # }
//! # Ok::<(), countersign::Error>(())
//! ```
//!
//! The service's `reject_with` makes the responses of what the layer rejects, and of the errors and rejections
//! that handlers behind it return.

mod future;
pub(crate) mod layer;
mod service;

pub use self::future::SameOriginFuture;
pub(crate) use self::layer::SameOriginLayer;
pub use self::service::SameOrigin;
