use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::domain::revocation::RevocationSet;
use crate::domain::sealing::SealingKeys;
use crate::error::{Error, ErrorKind};
use crate::jose::{KeyRing, SigningKey};
use crate::service::builder::TokenServiceBuilder;
use crate::service::hashing::HashingPool;
use crate::service::one_time_password::OneTimePasswordSender;
use crate::service::phantom::PhantomTokens;
use crate::service::policy::Policy;
use crate::service::validate::Validator;
use crate::store::{EntityStore, SessionStore, StoreError};

/// Issues, validates and exchanges tokens. Cheap to clone: all clones are one service.
///
/// ```
/// # #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))] {
/// use countersign::{Algorithm, KeyRing, TokenService};
///
/// let tokens = TokenService::builder()
///     .issuer("https://auth.example.com")
///     .audience("https://api.example.com")
///     .keys(KeyRing::generate(Algorithm::EdDSA)?)
///     .build()?;
/// # }
/// # Ok::<(), countersign::Error>(())
/// ```
#[derive(Clone)]
pub struct TokenService {
    pub(super) parts: Arc<Parts>,
}

pub(super) struct Parts {
    pub(super) issuer: String,
    pub(super) audiences: Vec<String>,
    pub(super) keys: KeyRing,
    /// The ring's active key: a service without one is not built.
    pub(super) signing_key: SigningKey,
    pub(super) sealing: SealingKeys,
    pub(super) entities: Arc<dyn EntityStore>,
    pub(super) sessions: Arc<dyn SessionStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) policy: Policy,
    pub(super) sender: Option<Arc<dyn OneTimePasswordSender>>,
    pub(super) hashing: HashingPool,
    pub(super) validator: Validator,
    pub(super) revocations: Arc<RevocationSet>,
    pub(super) phantom_tokens: PhantomTokens,
}

impl TokenService {
    /// Begins one; `issuer`, `audience` and `keys` have to be given.
    pub fn builder() -> TokenServiceBuilder {
        TokenServiceBuilder::default()
    }

    /// What checks the tokens that it issues.
    #[must_use]
    pub fn validator(&self) -> &Validator {
        &self.parts.validator
    }

    /// Its policy.
    pub fn policy(&self) -> &Policy {
        &self.parts.policy
    }

    /// Its `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.parts.issuer
    }

    /// The JWK Set that others check its tokens with (RFC 7517 §5).
    #[must_use]
    pub fn jwks(&self) -> String {
        self.parts.keys.to_jwks(self.now())
    }

    /// The time by its clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// Waits for a call of a store, as long as the policy lets it take.
    pub(super) async fn within_deadline<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.parts.policy.store_deadline, call).await {
            Ok(answer) => answer.map_err(from_store),
            Err(_) => Err(unavailable().with_source("the store took too long")),
        }
    }
}

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "the store is out of reach")
        .with_retry_after(Duration::from_secs(1))
}

fn from_store(error: StoreError) -> Error {
    match error {
        StoreError::Conflict => {
            Error::new(ErrorKind::Conflict, "the record has changed or is there")
        }
        StoreError::Unavailable(_) => unavailable().with_source(error),
        StoreError::Corrupt(_) => {
            Error::new(ErrorKind::Internal, "a stored record cannot be read").with_source(error)
        }
    }
}

/// Compare-and-set loops end here: so many others were faster that something is wrong.
pub(super) fn contended() -> Error {
    Error::new(ErrorKind::Unavailable, "too many writers of one record at once")
        .with_retry_after(Duration::from_secs(1))
}

impl fmt::Debug for TokenService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenService")
            .field("issuer", &self.parts.issuer)
            .field("audiences", &self.parts.audiences)
            .field("keys", &self.parts.keys)
            .finish_non_exhaustive()
    }
}
