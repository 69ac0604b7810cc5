//! The use-cases. Nothing here knows HTTP, or which store is behind the traits.

#[cfg_attr(not(feature = "service"), allow(dead_code, reason = "most is told by the service"))]
pub(crate) mod audit;
pub(crate) mod proxies;
mod token_cache;
pub(crate) mod trusted;
pub(crate) mod validate;

#[cfg(feature = "service")]
mod attempt;
#[cfg(feature = "service")]
mod builder;
#[cfg(feature = "service")]
pub(crate) mod caller;
#[cfg(feature = "service")]
mod detached;
#[cfg(feature = "service")]
mod entities;
#[cfg(feature = "service")]
pub(crate) mod exchange;
#[cfg(feature = "service")]
mod hashing;
#[cfg(feature = "service")]
mod housekeeping;
#[cfg(feature = "service")]
pub(crate) mod issue;
#[cfg(feature = "service")]
mod keys;
#[cfg(feature = "service")]
pub(crate) mod one_time_password;
#[cfg(feature = "service")]
mod password;
#[cfg(feature = "service")]
mod phantom;
#[cfg(feature = "service")]
pub(crate) mod policy;
#[cfg(feature = "service")]
mod revoke;
#[cfg(feature = "service")]
pub(crate) mod secret;
#[cfg(feature = "service")]
pub(crate) mod session;
#[cfg(feature = "service")]
mod stores;
#[cfg(feature = "service")]
pub(crate) mod throttle;
#[cfg(feature = "service")]
mod token_service;

#[cfg(feature = "service")]
pub use self::builder::TokenServiceBuilder;
#[cfg(feature = "service")]
pub use self::caller::Caller;
#[cfg(feature = "service")]
pub use self::exchange::{ExchangeRequest, ExchangedToken};
#[cfg(feature = "service")]
pub use self::issue::{Grant, IssuedToken};
#[cfg(feature = "service")]
pub use self::keys::{KeySource, ManagedKeys, RotationSchedule};
#[cfg(feature = "service")]
pub use self::one_time_password::{OneTimePasswordMessage, OneTimePasswordSender};
#[cfg(feature = "service")]
pub use self::policy::Policy;
#[cfg(feature = "service")]
pub use self::secret::IssuedSecret;
#[cfg(feature = "service")]
pub use self::session::{CustomerLogin, NewSession, StartedSession};
#[cfg(feature = "service")]
pub use self::throttle::ThrottleLimit;
#[cfg(feature = "service")]
pub use self::token_service::TokenService;
#[cfg(feature = "router")]
pub(crate) use crate::store::Page;

/// The operations that this crate guards itself, as access-control lists name them.
#[cfg(feature = "service")]
pub mod permission {
    /// Reading an entity's secret.
    pub const READ_ENTITY_SECRET: &str = "ReadEntitySecret";
    /// Resetting an entity's secret, and making its first one.
    pub const RESET_ENTITY_SECRET: &str = "ResetEntitySecret";
    /// Starting a session of a customer without the customer's password.
    pub const POST_AUTHENTICATION_TOKEN: &str = "PostAuthenticationToken";
    /// Listing sessions.
    pub const GET_AUTHENTICATION_TOKEN_COLLECTION: &str = "GetAuthenticationTokenCollection";
    /// Asking, at an exchange, for what the bearer holds beyond the session's own list.
    pub const POST_AUTHENTICATION_TOKEN_EXCHANGE: &str = "PostAuthenticationTokenExchange";
}
