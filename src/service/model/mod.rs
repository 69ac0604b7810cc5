//! The data of the token service: principals, sessions, secrets, passwords, one-time passwords,
//! sealing, revocations and the key schedule. Nothing here does I/O or reads the clock.

pub(crate) mod access_token;
pub(crate) mod authentication_token;
pub(crate) mod entity;
pub(crate) mod idempotency;
pub(crate) mod issue_time;
pub(crate) mod key_schedule;
pub(crate) mod name;
pub(crate) mod one_time_password;
pub(crate) mod password;
pub(crate) mod redacted;
pub(crate) mod revocation;
pub(crate) mod sealing;
pub(crate) mod secret;
pub(crate) mod session;
pub(crate) mod session_position;
pub(crate) mod subject;
