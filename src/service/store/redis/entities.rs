//! Entities: a record each, and, of those that nobody may share a name with, that name. What they are listed
//! by is in [`entity_index`](super::entity_index).

use async_trait::async_trait;

use crate::service::model::entity::{Entity, EntityId};
use crate::service::store::redis::RedisStore;
use crate::service::store::redis::records::{Taken, VersionedRecord};
use crate::service::store::{EntityStore, StoreError, record};
use crate::token::claims::SubjectType;
use crate::token::identifier::OrganizationId;

#[async_trait]
impl EntityStore for RedisStore {
    async fn insert(&self, entity: Entity) -> Result<(), StoreError> {
        match entity.distinct_name() {
            Some(name) => self.insert_distinct(&entity, &name).await,
            None => {
                let record = self.entity_record(&entity)?;
                // Before anything is written: a server whose memory is full says of who is registered that they are.
                if self.is_registered(&record.key).await? {
                    return Err(StoreError::Conflict);
                }
                self.insert_indexed(&entity, &record).await
            }
        }
    }

    async fn get(&self, id: &EntityId) -> Result<Option<Entity>, StoreError> {
        let record = self.inner.records.get(&self.inner.keys.entity(id)).await?;
        record.as_deref().map(record::read_entity).transpose()
    }

    async fn replace(&self, entity: Entity, expected_version: u64) -> Result<(), StoreError> {
        let before = EntityStore::get(self, entity.id()).await?;
        let before = before.filter(|before| before.version() == expected_version);
        let before = before.ok_or(StoreError::Conflict)?;
        let record = self.entity_record(&entity)?;
        let replacing =
            async { self.inner.records.replace(&record, expected_version).await.map(drop) };
        match entity.organization_id() {
            // What its former one has of it is removed by who lists that.
            Some(organization) if before.organization_id() != Some(organization) => {
                self.write_indexed(entity.id(), &[Some(organization)], replacing).await
            }
            _ => replacing.await,
        }
    }

    async fn list(
        &self,
        subject_type: SubjectType,
        organization: Option<&OrganizationId>,
        after: Option<&EntityId>,
        limit: usize,
    ) -> Result<Vec<Entity>, StoreError> {
        self.list_indexed(subject_type, organization, after, limit).await
    }

    async fn remove(&self, id: &EntityId) -> Result<bool, StoreError> {
        let key = self.inner.keys.entity(id);
        let Some(text) = self.inner.records.get(&key).await? else { return Ok(false) };
        let found = record::read_entity(&text).ok();
        let organization = found.as_ref().and_then(Entity::organization_id);
        // Before the record is removed: what is there after that may be of somebody who was registered since.
        let entries = self.find_index_entries(id, organization).await?;
        let taken = self.inner.records.take(&key, None, None).await?;
        let Taken::Record { text, id: claim } = taken else { return Ok(false) };
        self.remove_index_entries(entries).await;
        let removed = record::read_entity(&text).ok();
        if let Some(name) = removed.as_ref().and_then(Entity::distinct_name) {
            self.release(id.subject_type(), &name, claim).await;
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

    /// Inserts the record of an entity, with its index entries.
    pub(super) async fn insert_indexed(
        &self,
        entity: &Entity,
        record: &VersionedRecord<'_>,
    ) -> Result<(), StoreError> {
        let organization = entity.organization_id();
        let indexes = [None].into_iter().chain(organization.map(Some)).collect::<Vec<_>>();
        self.write_indexed(entity.id(), &indexes, self.inner.records.insert(record)).await
    }
}
