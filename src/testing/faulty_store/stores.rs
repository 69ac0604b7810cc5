//! The store traits of a `FaultyStore`: those of the store that it wraps.

use std::time::Duration;

use async_trait::async_trait;

use super::{FaultyStore, StoreVerb};
use crate::clock::Timestamp;
use crate::service::public::sessions::Session;
use crate::service::store::{
    Cursor, EntityStore, FeedEvent, FeedPage, KeyStore, PageRequest, SessionFilter, SessionPage,
    SessionStore, Store, StoreError, Subject, SubjectSessions,
};
use crate::service::store::{KeySchedule, SessionKey};
use crate::service::{Entity, EntityId};
use crate::token::claims::SubjectType;
use crate::token::identifier::{OrganizationId, SessionId};

#[async_trait]
impl<S: Store> Store for FaultyStore<S> {
    fn is_durable(&self) -> bool {
        self.is_durable.unwrap_or_else(|| self.inner().is_durable())
    }
    async fn is_current(&self) -> Result<bool, StoreError> {
        self.script.run(StoreVerb::IsCurrent, self.inner().is_current()).await
    }
    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        let time = async {
            match &self.clock {
                Some(clock) => Ok(Some(clock.now())),
                None => self.inner().time().await,
            }
        };
        self.script.run(StoreVerb::Time, time).await
    }
    async fn read_sealing_check(&self) -> Result<Option<String>, StoreError> {
        self.script.run(StoreVerb::ReadSealingCheck, self.inner().read_sealing_check()).await
    }
    async fn write_sealing_check(&self, check: &str) -> Result<(), StoreError> {
        let inner = self.inner();
        self.script.run(StoreVerb::WriteSealingCheck, inner.write_sealing_check(check)).await
    }
}

#[async_trait]
impl<S: EntityStore> EntityStore for FaultyStore<S> {
    async fn insert(&self, entity: Entity) -> Result<(), StoreError> {
        self.script.run(StoreVerb::InsertEntity, self.inner().insert(entity)).await
    }
    async fn get(&self, id: &EntityId) -> Result<Option<Entity>, StoreError> {
        self.script.run(StoreVerb::GetEntity, self.inner().get(id)).await
    }
    async fn replace(&self, entity: Entity, expected_version: u64) -> Result<(), StoreError> {
        let inner = self.inner();
        self.script.run(StoreVerb::ReplaceEntity, inner.replace(entity, expected_version)).await
    }
    async fn list(
        &self,
        subject_type: SubjectType,
        organization: Option<&OrganizationId>,
        after: Option<&EntityId>,
        limit: usize,
    ) -> Result<Vec<Entity>, StoreError> {
        let inner = self.inner();
        let call = inner.list(subject_type, organization, after, limit);
        self.script.run(StoreVerb::ListEntities, call).await
    }
    async fn remove(&self, id: &EntityId) -> Result<bool, StoreError> {
        self.script.run(StoreVerb::RemoveEntity, self.inner().remove(id)).await
    }
}

#[async_trait]
impl<S: SessionStore> SessionStore for FaultyStore<S> {
    async fn insert(&self, session: Session, now: Timestamp) -> Result<(), StoreError> {
        self.script.run(StoreVerb::InsertSession, self.inner().insert(session, now)).await
    }
    async fn get(&self, key: &SessionKey) -> Result<Option<Session>, StoreError> {
        self.script.run(StoreVerb::GetSession, self.inner().get(key)).await
    }
    async fn replace(
        &self,
        session: Session,
        expected_version: u64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let inner = self.inner();
        let call = inner.replace(session, expected_version, now);
        self.script.run(StoreVerb::ReplaceSession, call).await
    }
    async fn take(
        &self,
        key: &SessionKey,
        expected_version: u64,
    ) -> Result<Option<Session>, StoreError> {
        self.script.run(StoreVerb::TakeSession, self.inner().take(key, expected_version)).await
    }
    async fn remove(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        self.script.run(StoreVerb::RemoveSession, self.inner().remove(id)).await
    }
    async fn list(
        &self,
        filter: &SessionFilter,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<SessionPage, StoreError> {
        self.script.run(StoreVerb::ListSessions, self.inner().list(filter, page, now)).await
    }
    async fn count(
        &self,
        subject: &Subject,
        now: Timestamp,
        up_to: usize,
    ) -> Result<usize, StoreError> {
        self.script.run(StoreVerb::CountSessions, self.inner().count(subject, now, up_to)).await
    }
    async fn of_subject(
        &self,
        subject: &Subject,
        after: &Cursor,
        limit: usize,
    ) -> Result<SubjectSessions, StoreError> {
        let inner = self.inner();
        let call = inner.of_subject(subject, after, limit);
        self.script.run(StoreVerb::SessionsOfSubject, call).await
    }
    async fn publish(&self, event: FeedEvent) -> Result<(), StoreError> {
        self.script.run(StoreVerb::Publish, self.inner().publish(event)).await
    }
    async fn read_feed(&self, after: &Cursor, wait: Duration) -> Result<FeedPage, StoreError> {
        self.script.run(StoreVerb::ReadFeed, self.inner().read_feed(after, wait)).await
    }
    async fn purge_expired(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.script.run(StoreVerb::PurgeExpired, self.inner().purge_expired(now)).await
    }
}

#[async_trait]
impl<S: KeyStore> KeyStore for FaultyStore<S> {
    async fn get(&self) -> Result<Option<KeySchedule>, StoreError> {
        self.script.run(StoreVerb::GetKeys, self.inner().get()).await
    }
    async fn insert(&self, keys: KeySchedule) -> Result<(), StoreError> {
        self.script.run(StoreVerb::InsertKeys, self.inner().insert(keys)).await
    }
    async fn replace(&self, keys: KeySchedule, expected_version: u64) -> Result<(), StoreError> {
        let inner = self.inner();
        self.script.run(StoreVerb::ReplaceKeys, inner.replace(keys, expected_version)).await
    }
}
