//! Registering principals.

use crate::domain::claims::SubjectType;
use crate::domain::entity::Entity;
use crate::domain::password::{Password, PasswordHash};
use crate::error::{Error, ErrorKind};
use crate::service::token_service::TokenService;

impl TokenService {
    /// Hashes a password at the policy's cost, off the executor's threads.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Overloaded`] where too many are hashed at once.
    pub async fn hash_password(&self, password: Password) -> Result<PasswordHash, Error> {
        self.parts.hashing.create(password).await
    }

    /// Registers a user, an entity or a customer's credential.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] where its id is registered already, [`ErrorKind::InvalidRequest`]
    /// where an entity takes the first-party client id, or the list uses wildcards that the policy
    /// does not allow.
    pub async fn register(&self, entity: Entity) -> Result<(), Error> {
        let policy = &self.parts.policy;
        let invalid = |problem: &'static str| Error::new(ErrorKind::InvalidRequest, problem);
        let id = entity.id();
        if id.subject_type() == SubjectType::Entity && id.name() == policy.first_party_client_id {
            return Err(invalid("no entity may take the first-party client id"));
        }
        if entity.acl().uses_trailing_wildcards() && !policy.trailing_wildcards {
            return Err(invalid("the policy allows no wildcards but `*` alone"));
        }
        self.within_deadline(self.parts.entities.insert(entity)).await
    }

    /// The registered principal of that id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] where the store is out of reach.
    pub async fn find(&self, id: &crate::EntityId) -> Result<Option<Entity>, Error> {
        self.within_deadline(self.parts.entities.get(id)).await
    }
}
