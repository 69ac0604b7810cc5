//! What a host needs to test its own handlers: a clock that stands still, a ready key, tokens that are
//! good or broken as asked, an issuer to check them against, stores that fail as asked, and a check that
//! no route is open.
//!
//! Turn the feature `testing` on in the `[dev-dependencies]` alone. Nothing in it changes how the rest
//! behaves; it is there to make tokens that a service would not.
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use countersign::testing::TestIssuer;
//! use countersign::{Bearer, RequireLayer, ValidateLayer, Validator};
//! use http::{Request, StatusCode};
//! use tower::ServiceExt;
//!
//! // The host's app, which takes its validator from whoever builds it.
//! fn app(validator: Validator) -> Router {
//!     let orders = get(|Bearer(claims): Bearer| async move { claims.principal().id().to_owned() });
//!     Router::new()
//!         .route("/orders", orders.route_layer(RequireLayer::new("GetOrders")))
//!         .layer(ValidateLayer::new(validator))
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! // The test.
//! let issuer = TestIssuer::new();
//! let ask = async |token: countersign::testing::TestToken| {
//!     let request = Request::get("/orders").header("authorization", token.bearer());
//!     let request = request.body(Body::empty()).unwrap();
//!     app(issuer.validator()).oneshot(request).await.unwrap().status()
//! };
//! assert_eq!(ask(issuer.token().allow("GetOrders")).await, StatusCode::OK);
//! assert_eq!(ask(issuer.token().allow("GetInvoices")).await, StatusCode::FORBIDDEN);
//! assert_eq!(ask(issuer.token().allow("GetOrders").expired()).await, StatusCode::UNAUTHORIZED);
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A host that runs a whole [`TokenService`](crate::TokenService) builds it from
//! [`TestIssuer::service_builder`], over a [`FaultyStore`] where it tests what an outage does. One that
//! fetches the keys of its issuer over HTTP points itself at an [`IssuerServer`].

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "what goes wrong in the making of a test is told by a panic"
)]

mod clock;
#[cfg(feature = "remote-jwks")]
pub mod fake;
mod faulty_store;
mod issuer;
mod routes;
mod server;
mod token;

use std::sync::OnceLock;

use crate::jose::{Algorithm, SigningKey};

pub use self::clock::TestClock;
pub use self::faulty_store::{Calls, FaultyStore, HeldCalls, StoreFault, StoreVerb};
pub use self::issuer::TestIssuer;
pub use self::routes::every_route_rejects_anonymous;
pub use self::server::IssuerServer;
pub use self::token::TestToken;

/// A key that is ready to sign, the same for all tests of a process and for none of another: an
/// Ed25519 key, made when it is first asked for.
///
/// # Panics
///
/// Where the operating system has no random bytes to give.
#[must_use]
pub fn signing_key() -> SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(new_key).clone()
}

fn new_key() -> SigningKey {
    SigningKey::generate(Algorithm::EdDSA).expect("a key can be made")
}
