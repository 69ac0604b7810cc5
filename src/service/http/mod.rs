//! The HTTP side of the token service: the layers that issue and exchange tokens and reject other origins, forward
//! auth, and the documented routes.

pub(crate) mod cookie;
pub mod exchange;
#[cfg(feature = "router")]
pub mod forward_auth;
pub mod issue;
mod layers;
mod log_out;
mod rejection;
mod request_origin;
pub(crate) mod return_path;
#[cfg(feature = "router")]
mod routes;
pub mod same_origin;
mod token_response;
