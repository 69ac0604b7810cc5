//! The HTTP side of the token service: the issue and exchange layers, forward auth, and the documented routes.

pub(crate) mod cookie;
pub mod exchange;
#[cfg(feature = "router")]
pub mod forward_auth;
pub mod issue;
mod layers;
mod rejection;
mod request_origin;
pub(crate) mod return_path;
#[cfg(feature = "router")]
mod routes;
mod token_response;
