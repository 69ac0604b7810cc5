//! A store behind an `Arc` is the store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::service::model::authentication_token::SessionKey;
use crate::service::model::entity::{Entity, EntityId};
use crate::service::model::key_schedule::KeySchedule;
use crate::service::model::session::Session;
use crate::service::model::subject::Subject;
use crate::service::store::{
    Cursor, EntityCache, EntityStore, FeedEvent, FeedPage, KeyStore, PageRequest, RecentEntity,
    SessionFilter, SessionPage, SessionStore, Store, StoreError, SubjectSessions,
};
use crate::token::claims::SubjectType;
use crate::token::identifier::{OrganizationId, SessionId};

#[async_trait]
impl<T: Store + ?Sized> Store for Arc<T> {
    fn is_durable(&self) -> bool {
        (**self).is_durable()
    }
    async fn is_current(&self) -> Result<bool, StoreError> {
        (**self).is_current().await
    }
    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        (**self).time().await
    }
    async fn read_sealing_check(&self) -> Result<Option<String>, StoreError> {
        (**self).read_sealing_check().await
    }
    async fn write_sealing_check(&self, check: &str) -> Result<(), StoreError> {
        (**self).write_sealing_check(check).await
    }
}

#[async_trait]
impl<T: EntityStore + ?Sized> EntityStore for Arc<T> {
    async fn insert(&self, entity: Entity) -> Result<(), StoreError> {
        (**self).insert(entity).await
    }
    async fn get(&self, id: &EntityId) -> Result<Option<Entity>, StoreError> {
        (**self).get(id).await
    }
    async fn replace(&self, entity: Entity, expected_version: u64) -> Result<(), StoreError> {
        (**self).replace(entity, expected_version).await
    }
    async fn list(
        &self,
        subject_type: SubjectType,
        organization: Option<&OrganizationId>,
        after: Option<&EntityId>,
        limit: usize,
    ) -> Result<Vec<Entity>, StoreError> {
        (**self).list(subject_type, organization, after, limit).await
    }
    async fn remove(&self, id: &EntityId) -> Result<bool, StoreError> {
        (**self).remove(id).await
    }
}

#[async_trait]
impl<T: EntityCache + ?Sized> EntityCache for Arc<T> {
    async fn get_recent(
        &self,
        id: &EntityId,
        now: Timestamp,
    ) -> Result<Option<RecentEntity>, StoreError> {
        (**self).get_recent(id, now).await
    }
    fn invalidate(&self, id: &EntityId) {
        (**self).invalidate(id);
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
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<SessionPage, StoreError> {
        (**self).list(filter, page, now).await
    }
    async fn remove(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        (**self).remove(id).await
    }
    async fn count(
        &self,
        subject: &Subject,
        now: Timestamp,
        up_to: usize,
    ) -> Result<usize, StoreError> {
        (**self).count(subject, now, up_to).await
    }
    async fn of_subject(
        &self,
        subject: &Subject,
        after: &Cursor,
        limit: usize,
    ) -> Result<SubjectSessions, StoreError> {
        (**self).of_subject(subject, after, limit).await
    }
    async fn publish(&self, event: FeedEvent) -> Result<(), StoreError> {
        (**self).publish(event).await
    }
    async fn read_feed(&self, after: &Cursor, wait: Duration) -> Result<FeedPage, StoreError> {
        (**self).read_feed(after, wait).await
    }
    async fn purge_expired(&self, now: Timestamp) -> Result<u64, StoreError> {
        (**self).purge_expired(now).await
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
}
