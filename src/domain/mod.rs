//! What things are: pure and synchronous. Nothing here does I/O, knows HTTP or reads a clock.

pub mod acl;
pub(crate) mod claims;
pub(crate) mod identifier;
pub(crate) mod redacted;
pub(crate) mod revocation;

#[cfg(feature = "service")]
pub(crate) mod entity;
#[cfg(feature = "service")]
pub(crate) mod one_time_password;
#[cfg(feature = "service")]
pub(crate) mod password;
#[cfg(feature = "service")]
pub(crate) mod sealing;
#[cfg(feature = "service")]
pub(crate) mod secret;
#[cfg(feature = "service")]
pub(crate) mod session;
