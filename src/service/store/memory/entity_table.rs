//! Entities in memory, and the names that are taken. Both are behind one lock.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::service::model::entity::{Entity, EntityId};
use crate::service::store::StoreError;
use crate::token::claims::SubjectType;

#[derive(Default)]
pub(super) struct EntityTable {
    entities: HashMap<EntityId, Arc<Entity>>,
    distinct_names: HashSet<(SubjectType, String)>,
}

impl EntityTable {
    pub(super) fn len(&self) -> usize {
        self.entities.len()
    }

    pub(super) fn insert(&mut self, entity: Entity) -> Result<(), StoreError> {
        let Entry::Vacant(place) = self.entities.entry(entity.id().clone()) else {
            return Err(StoreError::Conflict);
        };
        if distinct_name(&entity).is_some_and(|name| !self.distinct_names.insert(name)) {
            return Err(StoreError::Conflict);
        }
        place.insert(Arc::new(entity));
        Ok(())
    }

    pub(super) fn get(&self, id: &EntityId) -> Option<Arc<Entity>> {
        self.entities.get(id).cloned()
    }

    pub(super) fn replace(
        &mut self,
        entity: Entity,
        expected_version: u64,
    ) -> Result<(), StoreError> {
        match self.entities.get_mut(entity.id()) {
            Some(there) if there.version() == expected_version => {
                *there = Arc::new(entity);
                Ok(())
            }
            _ => Err(StoreError::Conflict),
        }
    }

    pub(super) fn remove(&mut self, id: &EntityId) -> bool {
        let Some(removed) = self.entities.remove(id) else { return false };
        if let Some(name) = distinct_name(&removed) {
            self.distinct_names.remove(&name);
        }
        true
    }
}

fn distinct_name(entity: &Entity) -> Option<(SubjectType, String)> {
    let name = entity.distinct_name()?;
    Some((entity.id().subject_type(), name.to_owned()))
}
