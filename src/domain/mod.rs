//! What things are: synchronous, without HTTP, stores or a clock. What comes from outside is random
//! bytes and, on request, a sealing key from the environment.

pub mod acl;
pub(crate) mod claims;
pub(crate) mod identifier;
pub(crate) mod redacted;
#[cfg_attr(not(feature = "service"), allow(dead_code, reason = "fed by the service"))]
pub(crate) mod revocation;

#[cfg(feature = "service")]
pub(crate) mod entity;
#[cfg(feature = "service")]
pub(crate) mod key_schedule;
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
