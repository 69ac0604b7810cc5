//! The edge: headers, status codes, bodies. Nothing behind it knows any of these.

mod authenticate;
pub(crate) mod bearer;
pub(crate) mod client_address;
pub(crate) mod extract;
mod future;
pub(crate) mod refusal;
pub mod require;
pub mod validate;

#[cfg(feature = "service")]
pub(crate) mod cookie;
#[cfg(feature = "service")]
pub mod exchange;
#[cfg(feature = "service")]
pub mod issue;
#[cfg(feature = "service")]
mod layers;

#[cfg(feature = "router")]
mod routes;

#[cfg(feature = "router")]
mod connect_info;
#[cfg(not(feature = "router"))]
#[path = "no_connect_info.rs"]
mod connect_info;

pub use self::future::RefusableFuture;
