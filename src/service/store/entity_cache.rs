//! Stores that keep copies of principals.

use std::sync::Arc;

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::service::model::entity::{Entity, EntityId};
use crate::service::store::{EntityStore, StoreError};

/// An [`EntityStore`] that keeps copies of entities in memory; [`Cached`](super::Cached) is one.
///
/// `get` of such a store returns what is stored now. A service reads copies where it can tell that one
/// is out of date, and invalidates them when another node announces a change.
#[diagnostic::on_unimplemented(
    message = "`{Self}` keeps no copies of principals",
    label = "has to be an `EntityCache`",
    note = "`Cached::new(store)` is one over any `EntityStore`; a store itself is given to `entity_store`"
)]
#[async_trait]
pub trait EntityCache: EntityStore {
    /// Returns the entity of that id as it is, or a copy of it.
    ///
    /// `now` is the caller's present. `read_at` of the result is that of the call that read the
    /// entity from the store: this one or, for a copy, an earlier one.
    ///
    /// # Errors
    ///
    /// Those of [`get`](EntityStore::get).
    async fn get_recent(
        &self,
        id: &EntityId,
        now: Timestamp,
    ) -> Result<Option<RecentEntity>, StoreError>;

    /// Drops the copy of that entity: the next [`get_recent`](Self::get_recent) reads the store.
    fn invalidate(&self, id: &EntityId);
}

/// An entity as it is, or as it was a short while ago.
#[derive(Clone, Debug)]
pub struct RecentEntity {
    /// The entity.
    pub entity: Arc<Entity>,
    /// When it was read, or earlier: it may have changed since, and not before.
    pub read_at: Timestamp,
    /// Whether it was read for another call. A caller who cannot use it reads it again.
    pub is_copy: bool,
}

impl RecentEntity {
    /// An entity that was read for this call, which began at `now`.
    #[must_use]
    pub fn just_read(entity: Entity, now: Timestamp) -> Self {
        Self { entity: Arc::new(entity), read_at: now, is_copy: false }
    }
}
