//! The HTTP side of token validation: layers, extractors, and the responses to rejected requests.

pub(crate) mod accessors;
pub(crate) mod admission;
pub(crate) mod authenticate;
pub(crate) mod bearer;
pub(crate) mod client_address;
pub(crate) mod extract;
mod forwarded;
mod future;
pub(crate) mod original_uri;
pub(crate) mod path;
pub mod require;
pub(crate) mod response_caching;
pub(crate) mod shaping;
pub mod validate;

pub use self::future::GuardFuture;

#[cfg(test)]
#[cfg(all(feature = "axum", any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod tests;
