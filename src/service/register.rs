//! Registering principals.

use crate::domain::claims::SubjectType;
use crate::domain::entity::Entity;
use crate::error::{Error, ErrorKind};
use crate::service::token_service::TokenService;

impl TokenService {
    /// Registers a user, an entity or a customer's credential.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] where its id is registered already, [`ErrorKind::InvalidRequest`]
    /// where an entity takes the first-party client id, or the list uses wildcards that the policy
    /// does not allow.
    pub async fn register(&self, mut entity: Entity) -> Result<(), Error> {
        let policy = &self.parts.policy;
        let invalid = |problem: &'static str| Error::new(ErrorKind::InvalidRequest, problem);
        let id = entity.id();
        if id.subject_type() == SubjectType::Entity && id.name() == policy.first_party_client_id {
            return Err(invalid("no entity may take the first-party client id"));
        }
        if entity.acl().uses_trailing_wildcards() && !policy.trailing_wildcards {
            return Err(invalid("the policy allows no wildcards but `*` alone"));
        }
        if entity.password().is_some() && entity.password_set_at.is_none() {
            entity.password_set_at = Some(self.now());
        }
        self.parts.stores.insert_entity(entity).await
    }

    /// The registered principal of that id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] where the store is out of reach.
    pub async fn find(&self, id: &crate::EntityId) -> Result<Option<Entity>, Error> {
        self.parts.stores.get_entity(id).await
    }
}
