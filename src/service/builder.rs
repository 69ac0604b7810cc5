use std::fmt;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use http::request::Parts;
use tokio::sync::watch;

use crate::clock::{Clock, SystemClock};
use crate::error::Error;
use crate::jose::KeyRing;
use crate::rejection::{IntoResponse, Rejection, RejectionHook};
use crate::service::customer_directory::CustomerDirectory;
use crate::service::hashing::{Executor, HashingPool};
use crate::service::keys::{KeyManager, KeySource, ManagedKeys};
use crate::service::model::sealing::{SealingKey, SealingKeys};
use crate::service::one_time_password_sender::OneTimePasswordSender;
use crate::service::phantom_token_cache::PhantomTokenCache;
use crate::service::policy::Policy;
use crate::service::recent_events::RecentEvents;
use crate::service::revocations::RevocationSet;
use crate::service::shared_clock::SharedClock;
use crate::service::store::{self, EntityCache, EntityStore, KeyStore, SessionStore};
use crate::service::stores::Stores;
use crate::service::telemetry;
use crate::service::throttle::Throttle;
use crate::service::token_service::{RouteHooks, TokenService, TokenServiceInner};
use crate::service::validators::Validators;
use crate::sync::SingleFlight;
use crate::validate::ValidatorBuilder;
use crate::validate::stages::{NeedsIssuer, NeedsKeys};

impl TokenService {
    /// Returns the first stage of the builder, which takes the issuer, then the audience, then the keys. See
    /// [`builder`](crate::builder).
    pub fn builder() -> NeedsIssuer<Self> {
        NeedsIssuer::new()
    }
}

impl NeedsKeys<TokenService> {
    /// Sets the keys that sign and verify tokens: a [`KeyRing`], which the host rotates, or [`ManagedKeys`], which
    /// the service generates and rotates itself.
    pub fn keys(self, keys: impl Into<KeySource>) -> TokenServiceBuilder {
        let (ring, managed_keys) = match keys.into() {
            KeySource::Ring(ring) => (ring, None),
            KeySource::Managed(managed) => (KeyRing::awaited(), Some(managed)),
        };
        TokenServiceBuilder {
            validators: ValidatorBuilder::new(self.issuer, self.audience, ring.clone()),
            ring,
            managed_keys,
            sealing_keys: Vec::new(),
            entities: None,
            cache: None,
            sessions: None,
            key_store: None,
            clock: Arc::new(SystemClock),
            policy: Policy::default(),
            sender: None,
            customer_directory: None,
            route_hooks: RouteHooks::default(),
            hashing_executor: None,
        }
    }
}

/// Puts a cache in front of a store.
type MakeCache = dyn FnOnce(Arc<dyn EntityStore>) -> Arc<dyn EntityCache> + Send + Sync;

/// Builds a [`TokenService`]: the optional settings, then [`build`](Self::build).
#[must_use]
pub struct TokenServiceBuilder {
    /// Holds the issuer, the audiences and the trusted issuers.
    pub(super) validators: ValidatorBuilder,
    ring: KeyRing,
    managed_keys: Option<ManagedKeys>,
    sealing_keys: Vec<SealingKey>,
    entities: Option<Arc<dyn EntityStore>>,
    cache: Option<Box<MakeCache>>,
    sessions: Option<Arc<dyn SessionStore>>,
    key_store: Option<Arc<dyn KeyStore>>,
    clock: Arc<dyn Clock>,
    policy: Policy,
    sender: Option<Arc<dyn OneTimePasswordSender>>,
    customer_directory: Option<Arc<dyn CustomerDirectory>>,
    route_hooks: RouteHooks,
    hashing_executor: Option<Arc<Executor>>,
}

impl TokenServiceBuilder {
    /// Adds an audience. Tokens are issued for all audiences, unless a [`Grant`](crate::Grant) or an
    /// [`Entity`](crate::Entity) names some of them. The service accepts a token that is for at least one.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.validators = self.validators.audience(audience);
        self
    }

    /// Adds a sealing key. The first one seals; all of them open. To rotate it on many nodes, add the new key
    /// second on all nodes, then make it the first on all nodes, and remove the old one once nothing is sealed
    /// with it: see [`guide::rotate_keys`](crate::guide::rotate_keys).
    ///
    /// Without one, a service whose stores are in memory generates a key, and [`build`](Self::build) fails for a
    /// durable store. [`start`](TokenService::start) fails if the store was used with a key that is not given here.
    pub fn sealing_key(mut self, key: SealingKey) -> Self {
        self.sealing_keys.push(key);
        self
    }

    /// Sets one store for everything: principals, sessions, the feed of revocations, and [`ManagedKeys`]. Default:
    /// in memory.
    ///
    /// To store some of it elsewhere, call [`entity_store`](Self::entity_store) or
    /// [`session_store`](Self::session_store) after it, or use [`ManagedKeys::store`].
    pub fn store(mut self, store: impl EntityStore + SessionStore + KeyStore) -> Self {
        let store = Arc::new(store);
        self.entities = Some(Arc::clone(&store) as Arc<dyn EntityStore>);
        self.sessions = Some(Arc::clone(&store) as Arc<dyn SessionStore>);
        self.key_store = Some(store);
        self
    }

    /// Sets the store of principals, if it differs from that of the rest.
    pub fn entity_store(mut self, store: impl EntityStore) -> Self {
        self.entities = Some(Arc::new(store));
        self
    }

    /// Caches principals in memory, in front of their store, such as by
    /// [`Cached::new`](crate::store::Cached::new).
    ///
    /// ```
    /// use std::time::Duration;
    /// use countersign::store::Cached;
    ///
    /// # fn example(builder: countersign::builder::TokenServiceBuilder) {
    /// let builder = builder.cache_entities(Cached::new);
    /// // Or with other settings than the usual ones.
    /// let builder = builder.cache_entities(|store| {
    ///     Cached::new(store).time_to_live(Duration::from_secs(1))
    /// });
    /// # }
    /// ```
    pub fn cache_entities<C: EntityCache>(
        mut self,
        cache: impl FnOnce(Arc<dyn EntityStore>) -> C + Send + Sync + 'static,
    ) -> Self {
        self.cache = Some(Box::new(|store| Arc::new(cache(store))));
        self
    }

    /// Sets the store of sessions and of the feed of revocations, if it differs from that of the rest.
    pub fn session_store(mut self, store: impl SessionStore) -> Self {
        self.sessions = Some(Arc::new(store));
        self
    }

    /// Sets a hook that makes the responses to requests that layers, extractors and handlers reject; see
    /// [`ValidatorBuilder::reject_with`]. The documented routes keep their error bodies, unless
    /// [`entity_routes_reject_with`](Self::entity_routes_reject_with) or
    /// [`session_routes_reject_with`](Self::session_routes_reject_with) sets a hook for them.
    pub fn reject_with<R: IntoResponse>(
        mut self,
        hook: impl Fn(&Rejection, &Parts) -> R + Send + Sync + 'static,
    ) -> Self {
        self.validators = self.validators.reject_with(hook);
        self
    }

    /// Sets a hook that makes the responses to requests that the routes for users and machine clients reject, in place
    /// of the documented envelope; see [`ValidatorBuilder::reject_with`].
    pub fn entity_routes_reject_with<R: IntoResponse>(
        mut self,
        hook: impl Fn(&Rejection, &Parts) -> R + Send + Sync + 'static,
    ) -> Self {
        self.route_hooks.entities = RejectionHook::new(hook);
        self
    }

    /// Sets a hook that makes the responses to requests that the routes for authentication tokens reject, in place of
    /// problem details; see [`ValidatorBuilder::reject_with`].
    pub fn session_routes_reject_with<R: IntoResponse>(
        mut self,
        hook: impl Fn(&Rejection, &Parts) -> R + Send + Sync + 'static,
    ) -> Self {
        self.route_hooks.sessions = RejectionHook::new(hook);
        self
    }

    /// Sets the clock. Default: the system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets the policy: limits, lifetimes and other choices. Default: [`Policy::default`].
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets the sender of one-time passwords. Without one, a session that requires a one-time password cannot be
    /// started.
    pub fn one_time_password_sender(mut self, sender: impl OneTimePasswordSender) -> Self {
        self.sender = Some(Arc::new(sender));
        self
    }

    /// Sets the directory that decides for which customers a bearer may start sessions. Without one, a bearer bound
    /// to an organization may start them only for the customers that a `customerId` scope of its ACL names.
    pub fn customer_directory(mut self, directory: impl CustomerDirectory) -> Self {
        self.customer_directory = Some(Arc::new(directory));
        self
    }

    /// Sets the executor that hashes passwords; each hash keeps a core busy for tens of milliseconds. Default:
    /// `passwords.hashing_permits` threads of the service's own, with a lower priority than the host's, so that a
    /// flood of logins does not slow down everything else.
    ///
    /// At most `passwords.hashing_permits` jobs are submitted at once. A job that is dropped fails its login. The
    /// executor must not run a job on the calling thread, which serves requests.
    ///
    /// ```
    /// # fn example(builder: countersign::builder::TokenServiceBuilder) {
    /// let builder = builder.hashing_executor(|work| {
    ///     tokio::task::spawn_blocking(work);
    /// });
    /// # }
    /// ```
    pub fn hashing_executor(
        mut self,
        executor: impl Fn(Box<dyn FnOnce() + Send>) + Send + Sync + 'static,
    ) -> Self {
        self.hashing_executor = Some(Arc::new(executor));
        self
    }

    /// Builds the service. This computes one password hash, to compare with in logins of unknown names.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the issuer or an audience is blank, no key
    /// signs, a managed key would sign before all nodes can have it, a durable store has no sealing key or the
    /// managed keys no durable store, a trusted proxy is not a network, or settings of the policy contradict each
    /// other.
    pub fn build(self) -> Result<TokenService, Error> {
        self.policy.check()?;
        let (ring, managed, clock) = (self.ring, self.managed_keys, self.clock);
        if managed.is_none() && ring.active().is_none() {
            return Err(Error::configuration("the key ring has no signing key"));
        }
        let entities = self.entities.unwrap_or_else(store::default_entities);
        let cache = self.cache.map(|cache| cache(Arc::clone(&entities)));
        let entities = cache.clone().map_or(entities, |cache| cache);
        let sessions = self.sessions.unwrap_or_else(store::default_sessions);
        let managed = managed.map(|keys| {
            let store = keys.store.clone().or(self.key_store);
            (keys, store.unwrap_or_else(store::default_keys))
        });
        let keys_last = managed.as_ref().map(|(_, store)| store.is_durable());
        if sessions.is_durable() && keys_last == Some(false) {
            return Err(Error::configuration(
                "the sessions are in a durable store and the managed keys are not: set a durable store \
                 for both by `store`, or for the keys by `ManagedKeys::store`",
            ));
        }
        let is_durable = entities.is_durable() || sessions.is_durable() || keys_last == Some(true);
        let sealing = sealing(&self.sealing_keys, is_durable)?;
        let tolerance = self.policy.tokens.rotation_schedule.clock_tolerance;
        let shared_clock = Arc::new(SharedClock::new(Arc::clone(&clock), tolerance));
        let deadline = self.policy.runtime.store_deadline;
        let stores = Stores::new(entities, cache, sessions, shared_clock, deadline);
        let revocations = Arc::new(RevocationSet::new(self.policy.longest_token_lifetime()));
        // The revocations of other nodes have not been read yet.
        let is_stale =
            stores.are_shared() && !self.policy.runtime.dangerous_accept_stale_revocations;
        revocations.set_stale(is_stale);
        revocations.set_start_missing(is_stale || managed.is_some());
        let audiences = self.validators.audiences.clone();
        let validators = Validators {
            settings: self.validators,
            policy: &self.policy,
            clock: &clock,
            revocations: &revocations,
        };
        let (validator, validator_with_trusted_issuers) = validators.build(sealing.audit_key())?;
        telemetry::describe();
        let manage = |(managed, store)| {
            let (clock, sealing) = (Arc::clone(&clock), sealing.clone());
            KeyManager::new(managed, store, clock, sealing, ring.clone(), &self.policy)
        };
        let inner = TokenServiceInner {
            issuer: validator.issuer().to_owned(),
            audiences,
            key_manager: managed.map(manage).transpose()?,
            keys: ring,
            sealing,
            stores,
            clock,
            hashing: HashingPool::new(&self.policy, self.hashing_executor)?,
            throttle: Throttle::new(&self.policy),
            exchanges: SingleFlight::new(RandomState::new()),
            phantom_tokens: PhantomTokenCache::new(self.policy.tokens.phantom_lifetime),
            revoking_failed_at: AtomicU64::default(),
            publications: AtomicUsize::default(),
            writes: watch::Sender::new(()),
            policy: self.policy,
            sender: self.sender,
            customer_directory: self.customer_directory,
            validator,
            validator_with_trusted_issuers,
            revocations,
            last_heard: Arc::default(),
            unpublished: Arc::default(),
            recent_events: RecentEvents::new(),
            route_hooks: self.route_hooks,
        };
        Ok(TokenService { inner: Arc::new(inner) })
    }
}

impl fmt::Debug for TokenServiceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenServiceBuilder")
            .field("validators", &self.validators)
            .field("managed_keys", &self.managed_keys)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

fn sealing(keys: &[SealingKey], durable: bool) -> Result<SealingKeys, Error> {
    let mut keys = keys.iter().cloned();
    let first = match keys.next() {
        Some(first) => first,
        None if durable => {
            return Err(Error::configuration(
                "a durable store needs a sealing key: set one by `sealing_key`",
            ));
        }
        None => {
            tracing::warn!(
                "sealing keys: none was given, secrets are sealed with a random key that is lost at exit, like the \
                 store in memory; set one by `sealing_key`"
            );
            SealingKey::generate()?
        }
    };
    Ok(SealingKeys::new(first, keys.collect()))
}
