//! The token service: issues, exchanges and revokes tokens.

mod audit;
mod backoff;
mod builder;
mod custom_claims;
mod customer_directory;
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
pub mod permission;
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
pub use self::customer_directory::CustomerDirectory;
pub use self::exchange::{ExchangeRequest, ExchangedToken};
pub use self::http::cookie::{SameSite, SessionCookie};
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
pub use self::model::secret::{Secret, SecretOperation, Secrets, StoredSecret};
pub use self::model::session::{AuthenticationToken, Session, SessionKey};
pub use self::model::subject::Subject;
pub use self::one_time_password_sender::{OneTimePasswordMessage, OneTimePasswordSender};
pub use self::policy::{Policy, RotationSchedule, ThrottleLimit};
pub use self::request_context::RequestContext;
pub use self::secret::IssuedSecret;
pub use self::session::{
    CustomerLogin, NewSession, PendingSession, SessionList, SessionState, StartedSession,
};
pub use self::token_service::TokenService;
