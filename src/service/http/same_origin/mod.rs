//! `SameOriginLayer`: rejects requests from other sites, for login handlers that set the cookie themselves.
//!
//! Without it, another site can make a visitor's browser send that site's own name and password, and the visitor's
//! data then ends up in the account of that site's owner. Therefore, requests with an unsafe method or for an upgrade
//! pass only from the app's own pages, by the rule of [`exchange`](crate::layers::exchange#requests-of-other-sites).
//! Others are rejected with a 403 and the code `cross-origin`, before the handler.
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
//! The service's `reject_with` makes the responses to requests that the layer rejects, and to errors and rejections
//! that handlers behind it return.

mod future;
pub(crate) mod layer;
mod service;

pub use self::future::SameOriginFuture;
pub(crate) use self::layer::SameOriginLayer;
pub use self::service::SameOrigin;
