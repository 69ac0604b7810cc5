//! A store behind an `Arc` is the store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::service::model::entity::{Entity, EntityId};
use crate::service::model::key_schedule::KeySchedule;
use crate::service::model::revocation::Revocation;
use crate::service::model::session::{Session, SessionKey};
use crate::service::store::{
    Cursor, EntityStore, KeyStore, Page, RecentEntity, Revocations, SessionFilter, SessionPage,
    SessionStore, StoreError,
};
use crate::token::identifier::{CustomerId, SessionId};

#[async_trait]
impl<T: EntityStore + ?Sized> EntityStore for Arc<T> {
    async fn insert(&self, entity: Entity) -> Result<(), StoreError> {
        (**self).insert(entity).await
    }
    async fn get(&self, id: &EntityId) -> Result<Option<Entity>, StoreError> {
        (**self).get(id).await
    }
    async fn get_recent(
        &self,
        id: &EntityId,
        now: Timestamp,
    ) -> Result<Option<RecentEntity>, StoreError> {
        (**self).get_recent(id, now).await
    }
    fn forget(&self, id: &EntityId) {
        (**self).forget(id);
    }
    async fn replace(&self, entity: Entity, expected_version: u64) -> Result<(), StoreError> {
        (**self).replace(entity, expected_version).await
    }
    async fn remove(&self, id: &EntityId) -> Result<bool, StoreError> {
        (**self).remove(id).await
    }
    fn is_durable(&self) -> bool {
        (**self).is_durable()
    }
}

#[async_trait]
impl<T: SessionStore + ?Sized> SessionStore for Arc<T> {
    async fn insert(&self, session: Session, now: Timestamp) -> Result<(), StoreError> {
        (**self).insert(session, now).await
    }
    async fn get(&self, key: &SessionKey) -> Result<Option<Session>, StoreError> {
        (**self).get(key).await
    }
    async fn replace(
        &self,
        session: Session,
        expected_version: u64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        (**self).replace(session, expected_version, now).await
    }
    async fn take(
        &self,
        key: &SessionKey,
        expected_version: u64,
    ) -> Result<Option<Session>, StoreError> {
        (**self).take(key, expected_version).await
    }
    async fn list(
        &self,
        filter: &SessionFilter,
        page: Page,
        now: Timestamp,
    ) -> Result<SessionPage, StoreError> {
        (**self).list(filter, page, now).await
    }
    async fn remove(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        (**self).remove(id).await
    }
    async fn remove_subject(
        &self,
        customer_id: &CustomerId,
        before: Timestamp,
    ) -> Result<Vec<Session>, StoreError> {
        (**self).remove_subject(customer_id, before).await
    }
    async fn revoke(&self, revocation: Revocation) -> Result<(), StoreError> {
        (**self).revoke(revocation).await
    }
    async fn revocations(&self, after: &Cursor, wait: Duration) -> Result<Revocations, StoreError> {
        (**self).revocations(after, wait).await
    }
    async fn purge_expired(&self, now: Timestamp) -> Result<u64, StoreError> {
        (**self).purge_expired(now).await
    }
    fn is_durable(&self) -> bool {
        (**self).is_durable()
    }
}

#[async_trait]
impl<T: KeyStore + ?Sized> KeyStore for Arc<T> {
    async fn get(&self) -> Result<Option<KeySchedule>, StoreError> {
        (**self).get().await
    }
    async fn insert(&self, keys: KeySchedule) -> Result<(), StoreError> {
        (**self).insert(keys).await
    }
    async fn replace(&self, keys: KeySchedule, expected_version: u64) -> Result<(), StoreError> {
        (**self).replace(keys, expected_version).await
    }
    fn is_durable(&self) -> bool {
        (**self).is_durable()
    }
}
