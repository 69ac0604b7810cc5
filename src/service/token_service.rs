use std::fmt;
use std::sync::Arc;

use crate::clock::{Clock, Timestamp};
use crate::domain::claims::Validated;
use crate::domain::revocation::RevocationSet;
use crate::domain::sealing::SealingKeys;
use crate::error::Error;
use crate::jose::KeyRing;
use crate::service::audit::{self, Attempt};
use crate::service::builder::TokenServiceBuilder;
use crate::service::hashing::HashingPool;
use crate::service::housekeeping::LastHeard;
use crate::service::keys::KeyManager;
use crate::service::one_time_password::OneTimePasswordSender;
use crate::service::phantom::PhantomTokens;
use crate::service::policy::Policy;
use crate::service::stores::Stores;
use crate::service::throttle::Throttle;
use crate::service::validate::Validator;

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
    /// Where the service makes its keys itself.
    pub(super) key_manager: Option<KeyManager>,
    pub(super) sealing: SealingKeys,
    pub(super) stores: Stores,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) policy: Policy,
    pub(super) sender: Option<Arc<dyn OneTimePasswordSender>>,
    pub(super) hashing: HashingPool,
    pub(super) throttle: Throttle,
    pub(super) validator: Validator,
    /// That of the host's handlers: it accepts the tokens of issuers elsewhere, too.
    pub(super) edge_validator: Validator,
    pub(super) revocations: Arc<RevocationSet>,
    pub(super) last_heard: LastHeard,
    pub(super) phantom_tokens: PhantomTokens,
}

impl TokenService {
    /// Begins one; `issuer`, `audience` and `keys` have to be given.
    pub fn builder() -> TokenServiceBuilder {
        TokenServiceBuilder::default()
    }

    /// What checks the tokens that it issues, and those of no other issuer.
    #[must_use]
    pub fn validator(&self) -> &Validator {
        &self.parts.validator
    }

    /// What checks tokens where the host's handlers are: those that it issues, and those of the issuers
    /// that it trusts. It is that of [`validate_layer`](Self::validate_layer), for what no layer sees,
    /// as the messages of a WebSocket.
    #[must_use]
    pub fn edge_validator(&self) -> &Validator {
        &self.parts.edge_validator
    }

    /// Whether a token is of this service: what others say of their subjects means nothing to its
    /// own principals.
    pub(super) fn is_own(&self, bearer: &Validated) -> bool {
        bearer.issuer() == self.parts.issuer
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

    /// The JWK Set that others check its tokens with (RFC 7517 §5). It has no keys while
    /// [`ManagedKeys`](crate::ManagedKeys) have not come.
    #[must_use]
    pub fn jwks(&self) -> String {
        self.parts.keys.to_jwks(self.now())
    }

    /// Whether its keys are still to come: until then, nothing can be signed or checked.
    #[cfg_attr(
        not(feature = "router"),
        allow(dead_code, reason = "asked where keys are published")
    )]
    pub(crate) fn keys_are_awaited(&self) -> bool {
        self.parts.keys.are_awaited()
    }

    /// The time by its clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// Writes an event about what was attempted and what came of it.
    pub(crate) fn audit<T>(&self, attempt: &Attempt<'_>, outcome: &Result<T, Error>) {
        audit::concluded(self.parts.validator.subjects(), attempt, outcome);
    }
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
