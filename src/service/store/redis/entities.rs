//! Entities: a record each, and nothing beside it.

use async_trait::async_trait;

use crate::service::model::entity::{Entity, EntityId};
use crate::service::store::redis::RedisStore;
use crate::service::store::redis::documents::{Document, Taken};
use crate::service::store::{EntityStore, StoreError, record};

#[async_trait]
impl EntityStore for RedisStore {
    async fn insert(&self, entity: Entity) -> Result<(), StoreError> {
        self.inner.documents.insert(&self.entity_document(&entity)?).await
    }

    async fn get(&self, id: &EntityId) -> Result<Option<Entity>, StoreError> {
        let record = self.inner.documents.record(&self.inner.keys.entity(id)).await?;
        record.as_deref().map(record::read_entity).transpose()
    }

    async fn replace(&self, entity: Entity, expected_version: u64) -> Result<(), StoreError> {
        let document = self.entity_document(&entity)?;
        self.inner.documents.replace(&document, expected_version).await.map(drop)
    }

    async fn remove(&self, id: &EntityId) -> Result<bool, StoreError> {
        let key = self.inner.keys.entity(id);
        let taken = self.inner.documents.take(&key, None, None).await?;
        Ok(matches!(taken, Taken::Record(_)))
    }

    fn is_durable(&self) -> bool {
        true
    }
}

impl RedisStore {
    fn entity_document(&self, entity: &Entity) -> Result<Document<'static>, StoreError> {
        Ok(Document {
            key: self.inner.keys.entity(entity.id()),
            version: entity.version(),
            record: record::write_entity(entity)?,
            session: None,
        })
    }
}
