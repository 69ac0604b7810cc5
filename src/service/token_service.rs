use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use tokio::sync::{OnceCell, watch};

use crate::audit::Attempt;
use crate::clock::{Clock, Timestamp};
use crate::error::Error;
use crate::jose::KeyRing;
use crate::rejection::RejectionHook;
use crate::service::audit::{self, AuditDetails};
use crate::service::customer_directory::CustomerDirectory;
use crate::service::hashing::HashingPool;
use crate::service::keys::KeyManager;
use crate::service::last_heard::LastHeard;
use crate::service::model::authentication_token::SessionKey;
use crate::service::model::sealing::SealingKeys;
use crate::service::one_time_password_sender::OneTimePasswordSender;
use crate::service::phantom_token_cache::PhantomTokenCache;
use crate::service::policy::Policy;
use crate::service::recent_events::RecentEvents;
use crate::service::revocations::RevocationSet;
use crate::service::stores::Stores;
use crate::service::throttle::Throttle;
use crate::service::unpublished::Unpublished;
use crate::sync::SingleFlight;
use crate::token::claims::Validated;
use crate::validate::Validator;

/// Issues, validates, exchanges and revokes tokens. Cheap to clone: all clones are one service.
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
    pub(in crate::service) inner: Arc<TokenServiceInner>,
}

pub(in crate::service) struct TokenServiceInner {
    pub(in crate::service) issuer: String,
    pub(in crate::service) audiences: Vec<String>,
    pub(in crate::service) keys: KeyRing,
    /// The managed keys, if the service generates its keys itself.
    pub(in crate::service) key_manager: Option<KeyManager>,
    pub(in crate::service) sealing: SealingKeys,
    pub(in crate::service) stores: Stores,
    pub(in crate::service) clock: Arc<dyn Clock>,
    pub(in crate::service) policy: Policy,
    pub(in crate::service) sender: Option<Arc<dyn OneTimePasswordSender>>,
    pub(in crate::service) customer_directory: Option<Arc<dyn CustomerDirectory>>,
    pub(in crate::service) hashing: HashingPool,
    pub(in crate::service) throttle: Throttle,
    pub(in crate::service) validator: Validator,
    /// Accepts the tokens of trusted issuers, too.
    pub(in crate::service) validator_with_trusted_issuers: Validator,
    pub(in crate::service) revocations: Arc<RevocationSet>,
    pub(in crate::service) last_heard: Arc<LastHeard>,
    pub(in crate::service) unpublished: Arc<Unpublished>,
    pub(in crate::service) recent_events: RecentEvents,
    pub(in crate::service) route_hooks: RouteHooks,
    pub(in crate::service) phantom_tokens: PhantomTokenCache,
    /// When a revocation, or the end of a session, last could not be written, in microseconds.
    pub(in crate::service) revoking_failed_at: AtomicU64,
    /// The number of events that this node is publishing.
    pub(in crate::service) publications: AtomicUsize,
    /// Has a receiver for each running operation that writes. Nothing is sent.
    pub(in crate::service) writes: watch::Sender<()>,
    /// The running exchanges that may be repeated.
    pub(in crate::service) exchanges: SingleFlight<(SessionKey, [u8; 36]), OnceCell<()>>,
}

/// The hooks for rejections by the documented routes, in place of the documented error bodies.
#[derive(Clone, Default)]
pub(in crate::service) struct RouteHooks {
    /// For the routes of users and machine clients.
    pub(in crate::service) entities: RejectionHook,
    /// For the routes of authentication tokens.
    pub(in crate::service) sessions: RejectionHook,
}

impl TokenService {
    /// Returns a validator that accepts only the tokens of this service, as [`validate_layer`](Self::validate_layer)
    /// and the documented routes do. Use it where no layer sees the token, such as for the messages of a WebSocket.
    #[must_use]
    pub fn validator(&self) -> &Validator {
        &self.inner.validator
    }

    /// Returns a validator that accepts the tokens of this service and of the issuers that it trusts.
    #[must_use]
    pub fn validator_with_trusted_issuers(&self) -> &Validator {
        &self.inner.validator_with_trusted_issuers
    }

    /// Fetches the keys of the trusted issuers; see
    /// [`Validator::fetch_keys`](crate::Validator::fetch_keys).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if the keys of an issuer cannot be fetched now.
    pub async fn fetch_trusted_keys(&self) -> Result<(), Error> {
        self.inner.validator_with_trusted_issuers.fetch_keys().await
    }

    /// Returns whether a token is of this service: another issuer's statements about its subjects do not apply to
    /// this service's principals.
    pub(in crate::service) fn is_own(&self, bearer: &Validated) -> bool {
        bearer.issuer() == self.inner.issuer
    }

    /// Returns the service's audiences, or those that a principal is limited to. It may have been registered when
    /// the service had others.
    pub(in crate::service) fn present_audiences(&self, allowed: Option<&[String]>) -> Vec<String> {
        let is_allowed = |audience: &&String| allowed.is_none_or(|all| all.contains(audience));
        self.inner.audiences.iter().filter(is_allowed).cloned().collect()
    }

    /// Returns whether all of these audiences are among the service's.
    pub(in crate::service) fn has_audiences(&self, audiences: &[String]) -> bool {
        audiences.iter().all(|audience| self.inner.audiences.contains(audience))
    }

    /// Returns the policy.
    pub fn policy(&self) -> &Policy {
        &self.inner.policy
    }

    /// Returns the issuer, the `iss` of its tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.inner.issuer
    }

    /// Returns the JWK Set (RFC 7517 §5) that verifies this service's tokens. It is empty until
    /// [`ManagedKeys`](crate::ManagedKeys) have been read.
    #[must_use]
    pub fn jwks(&self) -> String {
        self.inner.keys.to_jwks(self.now())
    }

    /// Returns the present time by the service's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Runs an operation, and writes the audit event of its outcome.
    pub(in crate::service) async fn audited<T>(
        &self,
        attempt: Attempt<'_>,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.audited_with(attempt, &AuditDetails::default(), work).await
    }

    /// Audits an operation like [`audited`](Self::audited), and adds the `details` that it notes.
    pub(in crate::service) async fn audited_with<T>(
        &self,
        attempt: Attempt<'_>,
        details: &AuditDetails,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let outcome = work.await;
        self.audit(attempt, details, &outcome);
        outcome
    }

    /// Writes the audit event of a completed operation.
    pub(in crate::service) fn audit<T>(
        &self,
        attempt: Attempt<'_>,
        details: &AuditDetails,
        outcome: &Result<T, Error>,
    ) {
        audit::concluded(self.inner.validator.subjects(), attempt, details, outcome);
    }
}

impl fmt::Debug for TokenService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenService")
            .field("issuer", &self.inner.issuer)
            .field("audiences", &self.inner.audiences)
            .field("keys", &self.inner.keys)
            .field("route_hooks", &self.inner.route_hooks)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RouteHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hooks = [&self.entities, &self.sessions];
        f.debug_list().entries(hooks).finish()
    }
}
