//! `IssueLayer`: for hosts that find out by their own means who somebody is.
//!
//! A handler that has checked a passkey, a SAML assertion or a callback of OpenID Connect returns
//! [`Issue`](crate::Issue) with a [`Grant`](crate::Grant); the layer turns that into a signed token in the
//! response, as JSON, a header or a cookie. Handlers need neither the keys nor the service.
//!
//! Where it is a cookie, a request of another origin gets none, by the rule of
//! [`exchange`](crate::layers::exchange#requests-of-other-sites): another site must not log a user in
//! as somebody else, whose account then has what the user enters. It is a 403, and nothing is issued.
//!
//! Without the layer, such a response is a 500, and an error is logged when it is sent.

mod future;
pub(crate) mod layer;
pub(crate) mod response;
mod service;

pub use self::future::IssueFuture;
pub(crate) use self::layer::IssueLayer;
pub use self::service::IssueService;
