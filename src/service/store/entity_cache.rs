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
    /// Returns the entity with that id, or a recent copy of it.
    ///
    /// `now` is the caller's time. `read_at` in the result is the `now` of the call that read the entity from the
    /// store: this one or, for a copy, an earlier one.
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

/// An entity, or a recent copy of it.
#[derive(Clone, Debug)]
pub struct RecentEntity {
    /// The entity.
    pub entity: Arc<Entity>,
    /// A time at or before the read: the entity may have changed after it, but not before.
    pub read_at: Timestamp,
    /// Whether it was read for another call. A caller that cannot use a copy reads the entity again.
    pub is_copy: bool,
}

impl RecentEntity {
    /// Creates the result of a read for this call, which began at `now`.
    #[must_use]
    pub fn just_read(entity: Entity, now: Timestamp) -> Self {
        Self { entity: Arc::new(entity), read_at: now, is_copy: false }
    }
}
