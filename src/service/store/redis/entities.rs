//! Entities: a record each, and, of those that nobody may share a name with, that name.

use async_trait::async_trait;

use crate::service::model::entity::{Entity, EntityId};
use crate::service::store::redis::RedisStore;
use crate::service::store::redis::records::{Taken, VersionedRecord};
use crate::service::store::{EntityStore, StoreError, record};

#[async_trait]
impl EntityStore for RedisStore {
    async fn insert(&self, entity: Entity) -> Result<(), StoreError> {
        match entity.distinct_name() {
            Some(name) => self.insert_distinct(&entity, name).await,
            None => self.inner.records.insert(&self.entity_record(&entity)?).await,
        }
    }

    async fn get(&self, id: &EntityId) -> Result<Option<Entity>, StoreError> {
        let record = self.inner.records.get(&self.inner.keys.entity(id)).await?;
        record.as_deref().map(record::read_entity).transpose()
    }

    async fn replace(&self, entity: Entity, expected_version: u64) -> Result<(), StoreError> {
        let record = self.entity_record(&entity)?;
        self.inner.records.replace(&record, expected_version).await.map(drop)
    }

    async fn remove(&self, id: &EntityId) -> Result<bool, StoreError> {
        let key = self.inner.keys.entity(id);
        let taken = self.inner.records.take(&key, None, None).await?;
        let Taken::Record { text, id: claim } = taken else { return Ok(false) };
        if let Ok(removed) = record::read_entity(&text) {
            self.release(&removed, claim).await;
        }
        Ok(true)
    }
}

impl RedisStore {
    pub(super) fn entity_record(
        &self,
        entity: &Entity,
    ) -> Result<VersionedRecord<'static>, StoreError> {
        Ok(VersionedRecord {
            key: self.inner.keys.entity(entity.id()),
            version: entity.version(),
            text: record::write_entity(entity)?,
            id: "".into(),
            session: None,
        })
    }
}
