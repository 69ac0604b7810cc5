//! `IssueLayer`: issues tokens for hosts that authenticate callers themselves.
//!
//! A handler that has checked a passkey, a SAML assertion or a callback of OpenID Connect returns
//! [`Issue`](crate::Issue) with a [`Grant`](crate::Grant); the layer turns that into a signed token in the
//! response, as JSON, a header or a cookie. Handlers need neither the keys nor the service.
//!
//! If the token is sent as a cookie, a request from another origin is rejected with a 403, and nothing is issued, by
//! the rule of [`exchange`](crate::layers::exchange#requests-of-other-sites). Otherwise, another site could log a
//! user in to an account of its own, which then contains what the user enters.
//!
//! Without the layer, such a response is a 500, and an error is logged.

mod future;
pub(crate) mod layer;
pub(crate) mod response;
mod service;

pub use self::future::IssueFuture;
pub(crate) use self::layer::IssueLayer;
pub use self::service::IssueService;
