//! The token service: issues, exchanges and revokes tokens.

mod audit;
mod backoff;
mod builder;
mod detached;
mod epoch_lock;
mod error;
mod exchange;
mod hashing;
mod housekeeping;
pub(crate) mod http;
mod issue;
mod keys;
mod last_heard;
mod login;
mod model;
mod one_time_password;
mod one_time_password_sender;
mod password;
mod phantom_token;
mod phantom_token_cache;
mod policy;
mod principals;
mod request_context;
mod revocations;
mod revoke;
mod rotate_keys;
mod secret;
mod session;
mod single_flight;
pub mod store;
mod stores;
mod telemetry;
mod throttle;
mod token_service;
#[cfg(feature = "remote-jwks")]
mod trusted_issuers;
mod validators;

pub use self::builder::TokenServiceBuilder;
pub use self::exchange::{ExchangeRequest, ExchangedToken};
pub use self::http::cookie::SameSite;
pub use self::http::exchange::ExchangeLayer;
pub use self::http::issue::{Issue, IssueLayer};
pub use self::issue::{Grant, IssuedToken};
pub use self::keys::{KeySource, ManagedKeys};
pub use self::model::access_token::AccessToken;
pub use self::model::entity::{Entity, EntityId, EntityKind};
pub use self::model::key_schedule::{KeySchedule, ScheduledKey};
pub use self::model::one_time_password::OneTimePassword;
pub use self::model::password::{Password, PasswordCost, PasswordHash};
pub use self::model::revocation::{Revocation, RevocationTarget};
pub use self::model::sealing::SealingKey;
pub use self::model::secret::{Secret, Secrets, StoredSecret};
pub use self::model::session::{AuthenticationToken, Session, SessionKey};
pub use self::one_time_password_sender::{OneTimePasswordMessage, OneTimePasswordSender};
pub use self::policy::{Policy, RotationSchedule, ThrottleLimit};
pub use self::request_context::RequestContext;
pub use self::secret::IssuedSecret;
pub use self::session::{CustomerLogin, NewSession, StartedSession};
pub use self::token_service::TokenService;

/// The operations that this crate guards itself, as access-control lists name them.
pub mod permission {
    /// Reading a machine client's secret.
    pub const READ_ENTITY_SECRET: &str = "ReadEntitySecret";
    /// Resetting a machine client's secret, and making its first one.
    pub const RESET_ENTITY_SECRET: &str = "ResetEntitySecret";
    /// Starting a session of a customer without the customer's password.
    pub const POST_AUTHENTICATION_TOKEN: &str = "PostAuthenticationToken";
    /// Listing sessions.
    pub const GET_AUTHENTICATION_TOKEN_COLLECTION: &str = "GetAuthenticationTokenCollection";
    /// Asking, at an exchange, for what the bearer holds beyond the session's own list.
    pub const POST_AUTHENTICATION_TOKEN_EXCHANGE: &str = "PostAuthenticationTokenExchange";
}
