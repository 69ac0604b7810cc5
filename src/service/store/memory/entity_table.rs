//! Entities in memory, what they are listed by, and the names that are taken. All of it is behind one lock.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use crate::service::model::entity::{Entity, EntityId};
use crate::service::store::StoreError;
use crate::token::claims::SubjectType;
use crate::token::identifier::OrganizationId;

#[derive(Default)]
pub(super) struct EntityTable {
    /// By the index texts of their ids, those of each sort.
    entities: HashMap<SubjectType, BTreeMap<String, Arc<Entity>>>,
    organizations: HashMap<(SubjectType, OrganizationId), BTreeSet<String>>,
    distinct_names: HashSet<(SubjectType, String)>,
}

impl EntityTable {
    pub(super) fn len(&self) -> usize {
        self.entities.values().map(BTreeMap::len).sum()
    }

    pub(super) fn insert(&mut self, entity: Entity) -> Result<(), StoreError> {
        let id = entity.id();
        let entities = self.entities.entry(id.subject_type()).or_default();
        let Entry::Vacant(place) = entities.entry(id.to_index_text().into_owned()) else {
            return Err(StoreError::Conflict);
        };
        if distinct_name(&entity).is_some_and(|name| !self.distinct_names.insert(name)) {
            return Err(StoreError::Conflict);
        }
        let entity = Arc::new(entity);
        place.insert(Arc::clone(&entity));
        self.add_to_organization(&entity);
        Ok(())
    }

    pub(super) fn get(&self, id: &EntityId) -> Option<Arc<Entity>> {
        self.entities.get(&id.subject_type())?.get(&*id.to_index_text()).cloned()
    }

    pub(super) fn replace(
        &mut self,
        entity: Entity,
        expected_version: u64,
    ) -> Result<(), StoreError> {
        let id = entity.id();
        let entities = self.entities.get_mut(&id.subject_type());
        match entities.and_then(|entities| entities.get_mut(&*id.to_index_text())) {
            Some(there) if there.version() == expected_version => {
                let entity = Arc::new(entity);
                let before = std::mem::replace(there, Arc::clone(&entity));
                if before.organization_id() != entity.organization_id() {
                    self.remove_from_organization(&before);
                    self.add_to_organization(&entity);
                }
                Ok(())
            }
            _ => Err(StoreError::Conflict),
        }
    }

    pub(super) fn list(
        &self,
        subject_type: SubjectType,
        organization: Option<&OrganizationId>,
        after: Option<&EntityId>,
        limit: usize,
    ) -> Vec<Arc<Entity>> {
        let Some(entities) = self.entities.get(&subject_type) else { return Vec::new() };
        let after = after.map(EntityId::to_index_text);
        let range = (after.as_deref().map_or(Unbounded, Excluded), Unbounded);
        let Some(organization) = organization else {
            let listed = entities.range::<str, _>(range).take(limit);
            return listed.map(|(_, entity)| Arc::clone(entity)).collect();
        };
        let ids = self.organizations.get(&(subject_type, organization.clone()));
        let ids = ids.into_iter().flat_map(|ids| ids.range::<str, _>(range));
        ids.filter_map(|id| entities.get(id).cloned()).take(limit).collect()
    }

    pub(super) fn remove(&mut self, id: &EntityId) -> bool {
        let entities = self.entities.get_mut(&id.subject_type());
        let Some(removed) = entities.and_then(|entities| entities.remove(&*id.to_index_text()))
        else {
            return false;
        };
        self.remove_from_organization(&removed);
        if let Some(name) = distinct_name(&removed) {
            self.distinct_names.remove(&name);
        }
        true
    }

    fn add_to_organization(&mut self, entity: &Entity) {
        if let Some(organization) = organization(entity) {
            let ids = self.organizations.entry(organization).or_default();
            ids.insert(entity.id().to_index_text().into_owned());
        }
    }

    fn remove_from_organization(&mut self, entity: &Entity) {
        let Some(organization) = organization(entity) else { return };
        if let Some(ids) = self.organizations.get_mut(&organization) {
            ids.remove(&*entity.id().to_index_text());
            if ids.is_empty() {
                self.organizations.remove(&organization);
            }
        }
    }
}

fn organization(entity: &Entity) -> Option<(SubjectType, OrganizationId)> {
    let organization = entity.organization_id()?;
    Some((entity.id().subject_type(), organization.clone()))
}

fn distinct_name(entity: &Entity) -> Option<(SubjectType, String)> {
    let name = entity.distinct_name()?;
    Some((entity.id().subject_type(), name.into_owned()))
}
