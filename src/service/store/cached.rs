//! Copies of entities in the memory of a node, in front of a store that nodes share.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use moka::future::Cache;
use tokio::sync::OnceCell;

use crate::clock::Timestamp;
use crate::service::model::entity::{Entity, EntityId};
use crate::service::store::{EntityCache, EntityStore, RecentEntity, Store, StoreError};
use crate::sync::epoch::Epoch;
use crate::sync::{FlightResult, SingleFlight};
use crate::token::claims::SubjectType;
use crate::token::identifier::OrganizationId;

const TIME_TO_LIVE: Duration = Duration::from_secs(5);
const CAPACITY: u64 = 10_000;
/// moka panics above a thousand years.
const LONGEST_TIME_TO_LIVE: Duration = Duration::from_secs(86_400 * 365);

/// Caches entities for a short time, so that machine clients log in without a read of the store.
///
/// Use it in front of a store over a network. It has no benefit for one in memory or in a file.
///
/// ```
/// # #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))] {
/// use countersign::store::{Cached, MemoryStore};
/// use countersign::{Algorithm, KeyRing, TokenService};
///
/// let store = MemoryStore::new(); // a `PostgresStore`, where it is to be of use
/// let tokens = TokenService::builder()
///     .issuer("https://auth.example.com")
///     .audience("https://api.example.com")
///     .keys(KeyRing::generate(Algorithm::EdDSA)?)
///     .store(store)
///     .cache_entities(Cached::new)
///     .build()?;
/// # }
/// # Ok::<(), countersign::Error>(())
/// ```
///
/// # What is read from a copy
///
/// [`get_recent`](EntityCache::get_recent) alone, which a [`TokenService`](crate::TokenService)
/// calls when a machine client logs in with its secret. It has to be given by
/// [`cache_entities`](crate::builder::TokenServiceBuilder::cache_entities): given as plain
/// [`entity_store`](crate::builder::TokenServiceBuilder::entity_store), no copy is ever read.
/// [`get`](EntityStore::get) always asks the store: it is what everything goes by that changes or
/// manages somebody. Passwords are not checked against copies either: hashing one takes a hundred
/// times as long as the read that a copy would save.
///
/// An unknown entity is looked up in the store each time. Concurrent calls for one entity share one read. An outage
/// of the store fails no call that a copy can serve.
///
/// # How old a copy can be
///
/// | an entity was changed | this node's copy is gone |
/// |---|---|
/// | on this node | at once |
/// | on another one, and the feed of revocations is heard | as soon as that is: see the [table of engines](crate::store#what-each-engine-promises) |
/// | on another one, and the feed is not heard | within the [time-to-live](Self::time_to_live), 5 seconds by default |
/// | past this crate, by a statement of SQL for example | within the time-to-live |
///
/// It takes [`start`](crate::TokenService::start), and a session store that
/// the nodes share, for the feed to be heard.
///
/// While a copy is old,
///
/// - a secret that was replaced elsewhere is still good here, as is that of a machine client
///   that was disabled. A token carries as its `iat` when the copy was read, so that what revokes the
///   client's tokens after that revokes this one, too, on each node.
/// - a new secret is good at once, and so is a machine client that was just registered or enabled: what
///   is rejected by a copy is judged again by the store.
/// - a new list or new custom claims are not in the tokens yet.
///
/// A token's lifetime is counted from its `iat`, which may be as old as the time-to-live.
pub struct Cached<S> {
    store: S,
    copies: Cache<EntityId, CachedEntity>,
    /// A read under way is shared by those who came as of the same epoch: after a change it is
    /// another, since the read may have seen the entity as it was before.
    flights: SingleFlight<(EntityId, u64), OnceCell<ReadResult>>,
    /// Whom nobody was found for, and as of which epoch. They are asked for anew each time, as
    /// those are who were found and rejected: so the time that it takes tells nothing.
    absences: Cache<EntityId, u64>,
    epochs: Epochs,
    time_to_live: Duration,
    capacity: u64,
}

impl<S: EntityStore> Cached<S> {
    /// Caches up to 10,000 entities of `store`, for up to 5 seconds each.
    #[must_use]
    pub fn new(store: S) -> Self {
        let (time_to_live, capacity) = (TIME_TO_LIVE, CAPACITY);
        Self {
            store,
            copies: build_cache(time_to_live, capacity),
            flights: SingleFlight::new(RandomState::new()),
            absences: build_cache(time_to_live, capacity),
            epochs: Epochs::new(),
            time_to_live,
            capacity,
        }
    }

    /// Sets how long a copy is used: the age that it can reach while the feed is down. Choose it much shorter than
    /// the lifetime of a token. At most a year; zero disables the cache.
    #[must_use]
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = time_to_live.min(LONGEST_TIME_TO_LIVE);
        self.copies = build_cache(self.time_to_live, self.capacity);
        self.absences = build_cache(self.time_to_live, self.capacity);
        self
    }

    /// Sets the maximum number of copies. Above that, the least used ones are evicted.
    #[must_use]
    pub fn capacity(mut self, capacity: u64) -> Self {
        self.capacity = capacity;
        self.copies = build_cache(self.time_to_live, self.capacity);
        self.absences = build_cache(self.time_to_live, self.capacity);
        self
    }

    /// Returns the copy of an entity, where it is as of that epoch and not too old.
    async fn copy(&self, id: &EntityId, epoch: u64) -> Option<RecentEntity> {
        let kept = self.copies.get(id).await?;
        let is_of_use = kept.epoch == epoch && kept.read_began.elapsed() < self.time_to_live;
        is_of_use.then_some(kept.copy)
    }

    /// Reads an entity, and keeps a copy of it.
    async fn read(&self, id: &EntityId, epoch: u64, now: Timestamp) -> ReadResult {
        // It may have been read since it was looked for.
        if let Some(copy) = self.copy(id, epoch).await {
            return Ok(Some(copy));
        }
        let read_began = Instant::now();
        let Some(entity) = self.store.get(id).await? else {
            self.absences.insert(id.clone(), epoch).await;
            return Ok(None);
        };
        let recent = RecentEntity::just_read(entity, now);
        // What was read before a change must not take the place of what was read after it.
        if epoch == self.epochs.of(id) {
            let copy = RecentEntity { is_copy: true, ..recent.clone() };
            self.copies.insert(id.clone(), CachedEntity { copy, epoch, read_began }).await;
        }
        Ok(Some(recent))
    }

    async fn read_past_copies(
        &self,
        id: &EntityId,
        now: Timestamp,
    ) -> Result<Option<RecentEntity>, StoreError> {
        let Some(entity) = self.store.get(id).await? else { return Ok(None) };
        self.absences.invalidate(id).await;
        Ok(Some(RecentEntity::just_read(entity, now)))
    }

    /// Makes copies worthless when it is dropped: once a write has ended, whichever way. One that
    /// failed or was given up may have been carried out.
    fn invalidate_afterwards<'a>(&'a self, id: &'a EntityId) -> InvalidateOnDrop<'a> {
        InvalidateOnDrop { epochs: &self.epochs, id }
    }
}

fn build_cache<V: Clone + Send + Sync + 'static>(
    time_to_live: Duration,
    capacity: u64,
) -> Cache<EntityId, V> {
    Cache::builder().max_capacity(capacity).time_to_live(time_to_live).build()
}

#[async_trait]
impl<S: EntityStore> Store for Cached<S> {
    fn is_durable(&self) -> bool {
        self.store.is_durable()
    }

    async fn is_current(&self) -> Result<bool, StoreError> {
        self.store.is_current().await
    }

    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.store.time().await
    }

    async fn read_sealing_check(&self) -> Result<Option<String>, StoreError> {
        self.store.read_sealing_check().await
    }

    async fn write_sealing_check(&self, check: &str) -> Result<(), StoreError> {
        self.store.write_sealing_check(check).await
    }
}

#[async_trait]
impl<S: EntityStore> EntityStore for Cached<S> {
    async fn insert(&self, entity: Entity) -> Result<(), StoreError> {
        let id = entity.id().clone();
        let _invalidation = self.invalidate_afterwards(&id);
        self.store.insert(entity).await
    }

    async fn get(&self, id: &EntityId) -> Result<Option<Entity>, StoreError> {
        self.store.get(id).await
    }

    async fn replace(&self, entity: Entity, expected_version: u64) -> Result<(), StoreError> {
        let id = entity.id().clone();
        let _invalidation = self.invalidate_afterwards(&id);
        self.store.replace(entity, expected_version).await
    }

    async fn list(
        &self,
        subject_type: SubjectType,
        organization: Option<&OrganizationId>,
        after: Option<&EntityId>,
        limit: usize,
    ) -> Result<Vec<Entity>, StoreError> {
        self.store.list(subject_type, organization, after, limit).await
    }

    async fn remove(&self, id: &EntityId) -> Result<bool, StoreError> {
        let _invalidation = self.invalidate_afterwards(id);
        self.store.remove(id).await
    }
}

#[async_trait]
impl<S: EntityStore> EntityCache for Cached<S> {
    async fn get_recent(
        &self,
        id: &EntityId,
        now: Timestamp,
    ) -> Result<Option<RecentEntity>, StoreError> {
        let epoch = self.epochs.of(id);
        if self.absences.get(id).await == Some(epoch) {
            return self.read_past_copies(id, now).await;
        }
        if let Some(copy) = self.copy(id, epoch).await {
            return Ok(Some(copy));
        }
        match self.flights.join((id.clone(), epoch), self.read(id, epoch, now)).await {
            FlightResult::Own(Ok(found)) => Ok(found),
            FlightResult::Shared(Ok(Some(read))) => {
                Ok(Some(RecentEntity { is_copy: true, ..read }))
            }
            // Whoever looked may have done so before it was registered, and this caller come after.
            FlightResult::Shared(Ok(None)) => self.read_past_copies(id, now).await,
            FlightResult::Own(Err(error)) | FlightResult::Shared(Err(error)) => Err(error.shared()),
        }
    }

    fn invalidate(&self, id: &EntityId) {
        self.epochs.next(id);
    }
}

/// The store, and how much is kept of it: nothing of anybody.
impl<S: fmt::Debug> fmt::Debug for Cached<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("store", &self.store)
            .field("copies", &self.copies.entry_count())
            .field("time_to_live", &self.time_to_live)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// Who was found; or why the read failed, for all who waited.
type ReadResult = Result<Option<RecentEntity>, Arc<StoreError>>;

#[derive(Clone)]
struct CachedEntity {
    copy: RecentEntity,
    /// That of its stripe before it was read.
    epoch: u64,
    /// From when on its age counts: moka's counts from when it was kept.
    read_began: Instant,
}

const STRIPES: usize = 256;

/// A number for each stripe of ids, which grows when one of them changes. Two ids that share a
/// stripe cost each other a read.
struct Epochs {
    hasher: RandomState,
    stripes: Box<[Epoch; STRIPES]>,
}

impl Epochs {
    fn new() -> Self {
        let stripes = Box::new(std::array::from_fn(|_| Epoch::new()));
        Self { hasher: RandomState::new(), stripes }
    }

    fn of(&self, id: &EntityId) -> u64 {
        self.stripe(id).current()
    }

    fn next(&self, id: &EntityId) {
        self.stripe(id).advance();
    }

    fn stripe(&self, id: &EntityId) -> &Epoch {
        let [stripe, ..] = self.hasher.hash_one(id).to_ne_bytes();
        &self.stripes[usize::from(stripe)]
    }
}

struct InvalidateOnDrop<'a> {
    epochs: &'a Epochs,
    id: &'a EntityId,
}

impl Drop for InvalidateOnDrop<'_> {
    fn drop(&mut self) {
        self.epochs.next(self.id);
    }
}
