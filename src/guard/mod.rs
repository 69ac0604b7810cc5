//! The HTTP side of checking tokens: layers, extractors, and what a rejected request receives.

pub(crate) mod admission;
pub(crate) mod authenticate;
pub(crate) mod bearer;
pub(crate) mod client_address;
pub(crate) mod extract;
mod future;
pub(crate) mod path;
pub(crate) mod problem;
pub(crate) mod rejection;
pub mod require;
pub(crate) mod response_caching;
pub mod validate;

pub use self::future::GuardFuture;
