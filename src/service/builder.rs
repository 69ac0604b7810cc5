use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::clock::{Clock, SystemClock};
use crate::domain::revocation::RevocationSet;
use crate::domain::sealing::{SealingKey, SealingKeys};
use crate::error::{Error, ErrorKind};
use crate::jose::KeyRing;
use crate::service::audit::Subjects;
use crate::service::hashing::{Executor, HashingPool};
use crate::service::housekeeping::LastHeard;
use crate::service::keys::{KeyKeeper, ManagedKeys};
use crate::service::one_time_password::OneTimePasswordSender;
use crate::service::phantom::PhantomTokens;
use crate::service::policy::Policy;
use crate::service::stores::Stores;
use crate::service::throttle::Throttle;
use crate::service::token_service::{Parts, TokenService};
use crate::service::trusted::TrustedIssuer;
use crate::service::validate::Validator;
use crate::store::{EntityStore, MemoryStore, SessionStore};

/// Builds a [`TokenService`].
#[derive(Default)]
#[must_use]
pub struct TokenServiceBuilder {
    issuer: Option<String>,
    audiences: Vec<String>,
    keys: Option<KeyRing>,
    managed_keys: Option<ManagedKeys>,
    pub(super) trusted_issuers: Vec<TrustedIssuer>,
    sealing_keys: Vec<SealingKey>,
    entities: Option<Arc<dyn EntityStore>>,
    sessions: Option<Arc<dyn SessionStore>>,
    clock: Option<Arc<dyn Clock>>,
    policy: Policy,
    sender: Option<Arc<dyn OneTimePasswordSender>>,
    hashing_executor: Option<Arc<Executor>>,
}

impl TokenServiceBuilder {
    /// The `iss` of its tokens: an `https` URL of the host's (RFC 9068 §2.2, RFC 8414 §2).
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// The `aud` of its tokens: whom they are for. Given several times, they are for all of these,
    /// and any of them will do when they are checked.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// The keys that sign and verify its tokens.
    pub fn keys(mut self, keys: KeyRing) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Keys that the service makes and changes itself, in the place of [`keys`](Self::keys).
    pub fn managed_keys(mut self, keys: ManagedKeys) -> Self {
        self.managed_keys = Some(keys);
        self
    }

    /// The key that secrets are sealed with. Given several times, the first seals and all open:
    /// that is how it is rotated.
    ///
    /// Without one, a service over memory makes its own, and one over a store that lasts is not
    /// built.
    pub fn sealing_key(mut self, key: SealingKey) -> Self {
        self.sealing_keys.push(key);
        self
    }

    /// Where the registered are kept; in memory by default.
    pub fn entities(mut self, store: impl EntityStore) -> Self {
        self.entities = Some(Arc::new(store));
        self
    }

    /// Where sessions are kept; in memory by default.
    pub fn sessions(mut self, store: impl SessionStore) -> Self {
        self.sessions = Some(Arc::new(store));
        self
    }

    /// Where the time comes from; the system's clock by default.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// How it behaves; see [`Policy`] for what it does by default.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Who delivers one-time passwords. Without one, a session that wants one cannot be started.
    pub fn one_time_password_sender(mut self, sender: impl OneTimePasswordSender) -> Self {
        self.sender = Some(Arc::new(sender));
        self
    }

    /// What runs the hashing of passwords: work that keeps a core busy for tens of milliseconds. By
    /// default threads of the service's own, as many as the policy's `hashing_permits`, with a
    /// lower priority than the host's, so that a flood of logins does not slow everything else.
    ///
    /// No more work is handed out at once than the policy's `hashing_permits`; work that is dropped
    /// fails its login. The executor must not run it in place: that would block whoever logs in.
    ///
    /// ```
    /// use countersign::TokenService;
    ///
    /// let builder = TokenService::builder().hashing_executor(|work| {
    ///     tokio::task::spawn_blocking(work);
    /// });
    /// ```
    pub fn hashing_executor(
        mut self,
        executor: impl Fn(Box<dyn FnOnce() + Send>) + Send + Sync + 'static,
    ) -> Self {
        self.hashing_executor = Some(Arc::new(executor));
        self
    }

    /// Puts it together. It computes one password hash, to compare unknown names with.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] where issuer, audience or keys are missing, the keys do not
    /// sign or would before everybody has them, a store lasts and the sealing key would not, a
    /// trusted proxy is no network, or the policy contradicts itself.
    pub fn build(self) -> Result<TokenService, Error> {
        self.policy.check()?;
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let revocations = Arc::<RevocationSet>::default();
        let keys = match (self.keys, &self.managed_keys) {
            (Some(keys), None) => keys,
            (None, Some(_)) => KeyRing::awaited(),
            (None, None) => return Err(configuration("keys have to be given")),
            (Some(_), Some(_)) => {
                return Err(configuration("keys are given, or managed, and not both"));
            }
        };
        // With issuers elsewhere there are two validators: the routes' own accepts none of theirs.
        let validators = if self.trusted_issuers.is_empty() { 1 } else { 2 };
        let mut validator = Validator::builder()
            .keys(keys.clone())
            .leeway(self.policy.leeway)
            .max_token_len(self.policy.max_token_len)
            .token_cache_bytes(self.policy.token_cache_bytes / validators)
            .trailing_wildcards(self.policy.trailing_wildcards)
            .clock(Arc::clone(&clock))
            .trusted_proxies(self.policy.trusted_proxies.clone())
            .revocations(Arc::clone(&revocations));
        if let Some(issuer) = &self.issuer {
            validator = validator.issuer(issuer);
        }
        for audience in &self.audiences {
            validator = validator.audience(audience);
        }
        let entities = self.entities.unwrap_or_else(|| Arc::new(MemoryStore::new()));
        let sessions = self.sessions.unwrap_or_else(|| Arc::new(MemoryStore::new()));
        let key_store = self.managed_keys.as_ref().map(|keys| Arc::clone(&keys.store));
        let is_durable = entities.is_durable()
            || sessions.is_durable()
            || key_store.as_ref().is_some_and(|keys| keys.is_durable());
        let sealing = sealing(self.sealing_keys, is_durable)?;
        // What other nodes have taken back so far is still to be heard.
        revocations.set_stale(sessions.is_durable() && !self.policy.accept_stale_revocations);
        let subjects = if self.policy.audit_shows_subjects {
            Subjects::Shown
        } else {
            Subjects::Digested(Zeroizing::new(sealing.audit_key()))
        };
        let builder = validator.subjects(subjects);
        let validator = builder.clone().build()?;
        let edge_validator = if self.trusted_issuers.is_empty() {
            validator.clone()
        } else {
            builder.trusted_issuers(self.trusted_issuers).build()?
        };
        if keys.active().is_none() && !keys.are_awaited() {
            return Err(configuration("the keys only verify: one has to sign"));
        }
        let stores =
            Stores { entities, sessions, keys: key_store, deadline: self.policy.store_deadline };
        let key_keeper = match self.managed_keys {
            Some(managed) => {
                let problem = self.policy.rotation_schedule.problem(self.policy.jwks_max_age);
                if let Some(problem) = problem {
                    return Err(configuration(problem));
                }
                let (stores, sealing) = (stores.clone(), sealing.clone());
                let (clock, keys) = (Arc::clone(&clock), keys.clone());
                Some(KeyKeeper::new(managed, clock, stores, sealing, keys, &self.policy))
            }
            None => None,
        };
        let parts = Parts {
            issuer: validator.issuer().to_owned(),
            audiences: self.audiences,
            keys,
            key_keeper,
            sealing,
            stores,
            clock,
            hashing: HashingPool::new(&self.policy, self.hashing_executor)?,
            throttle: Throttle::new(&self.policy),
            phantom_tokens: PhantomTokens::new(self.policy.phantom_token_lifetime),
            policy: self.policy,
            sender: self.sender,
            validator,
            edge_validator,
            revocations,
            last_heard: LastHeard::default(),
        };
        Ok(TokenService { parts: Arc::new(parts) })
    }
}

impl fmt::Debug for TokenServiceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenServiceBuilder")
            .field("issuer", &self.issuer)
            .field("audiences", &self.audiences)
            .field("keys", &self.keys)
            .field("managed_keys", &self.managed_keys)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

fn sealing(keys: Vec<SealingKey>, durable: bool) -> Result<SealingKeys, Error> {
    let mut keys = keys.into_iter();
    let first = match keys.next() {
        Some(first) => first,
        None if durable => {
            return Err(configuration("a store that lasts needs a sealing key that does, too"));
        }
        None => {
            tracing::warn!(
                "no sealing key was given: secrets are sealed with a random one, which ends with \
                 the process, as the store in memory does"
            );
            SealingKey::generate()?
        }
    };
    Ok(SealingKeys::new(first, keys.collect()))
}

fn configuration(problem: &'static str) -> Error {
    Error::new(ErrorKind::Configuration, problem)
}
