//! Tokens for those who log in.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::domain::acl::Acl;
use crate::domain::claims::{AccessToken, Claims, SubjectType};
use crate::domain::entity::{Entity, EntityId, EntityKind};
use crate::domain::identifier::{OrganizationId, SessionId, TokenId};
use crate::domain::password::{Password, PasswordHash};
use crate::domain::secret::{Secret, SecretVerdict, Secrets};
use crate::error::{Error, ErrorKind, InvalidField};
use crate::service::token_service::TokenService;

/// A token that was just issued.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IssuedToken {
    /// The token.
    pub access_token: AccessToken,
    /// Its `jti`.
    pub token_id: TokenId,
    /// When it was issued, to the second.
    pub issued_at: Timestamp,
    /// When it ends, to the second.
    pub expires_at: Timestamp,
    /// What its owner should be told, as that the secret has expired.
    pub message: Option<&'static str>,
}

impl IssuedToken {
    /// How long it lives.
    #[must_use]
    pub fn expires_in(&self) -> Duration {
        self.expires_at.saturating_since(self.issued_at)
    }
}

/// What a token is to say, for hosts that have found out by their own means who somebody is.
#[derive(Clone, Debug)]
#[must_use]
pub struct Grant {
    pub(super) subject_type: SubjectType,
    pub(super) subject: String,
    pub(super) session_id: Option<SessionId>,
    pub(super) organization_id: Option<OrganizationId>,
    pub(super) acl: Acl,
    pub(super) custom_claims: Map<String, Value>,
    pub(super) lifetime: Option<Duration>,
}

impl Grant {
    /// A token for a principal of a sort. It allows nothing, unless told.
    pub fn new(subject_type: SubjectType, subject: impl Into<String>) -> Self {
        Self {
            subject_type,
            subject: subject.into(),
            session_id: None,
            organization_id: None,
            acl: Acl::default(),
            custom_claims: Map::new(),
            lifetime: None,
        }
    }

    /// A token for a user.
    pub fn user(name: impl Into<String>) -> Self {
        Self::new(SubjectType::User, name)
    }

    /// A token for a customer.
    pub fn customer(id: impl Into<String>) -> Self {
        Self::new(SubjectType::Customer, id)
    }

    /// What it allows.
    pub fn acl(mut self, acl: Acl) -> Self {
        self.acl = acl;
        self
    }

    /// What it carries under `customClaims`.
    pub fn custom_claims(mut self, custom_claims: Map<String, Value>) -> Self {
        self.custom_claims = custom_claims;
        self
    }

    /// The organization that it is bound to.
    pub fn organization(mut self, organization_id: OrganizationId) -> Self {
        self.organization_id = Some(organization_id);
        self
    }

    /// The session that it belongs to and ends with.
    pub fn session(mut self, session_id: SessionId) -> Self {
        self.session_id = Some(session_id);
        self
    }

    /// How long it lives; by default as the policy says. Whole seconds count.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// What a registered principal is entitled to.
    fn of(entity: &Entity) -> Self {
        let id = entity.id();
        Self {
            organization_id: entity.organization_id.clone(),
            acl: entity.acl.clone(),
            custom_claims: entity.custom_claims.clone(),
            ..Self::new(id.subject_type(), id.name())
        }
    }
}

impl TokenService {
    /// Logs a user in by name and password.
    ///
    /// Where the router is mounted below an organization, that is the `organization`, and only
    /// its own users get tokens.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidCredentials`] for an unknown name, a wrong password, a disabled user or
    /// one of another organization: which of them cannot be told, by the time taken neither.
    /// [`ErrorKind::Overloaded`] where too many log in at once, [`ErrorKind::Unavailable`] where
    /// the store is out of reach.
    pub async fn issue_user_token(
        &self,
        name: &str,
        password: Password,
        organization: Option<&OrganizationId>,
    ) -> Result<IssuedToken, Error> {
        let user = match EntityId::user(name) {
            Ok(id) => self.find_usable(&id, organization).await?,
            Err(_) => None,
        };
        let hash = user.as_ref().and_then(password_of).cloned();
        let verified = self.parts.hashing.verify(password.clone(), hash.clone()).await?;
        match (user, hash) {
            (Some(user), Some(hash)) if verified => {
                let token = self.issue(Grant::of(&user))?;
                if hash.is_weaker_than(self.parts.policy.password_cost) {
                    self.strengthen(user, password).await;
                }
                Ok(token)
            }
            _ => Err(Error::new(
                ErrorKind::InvalidCredentials,
                "Invalid username/password or password is expired",
            )),
        }
    }

    /// Logs an entity in by id and secret.
    ///
    /// # Errors
    ///
    /// Those of [`issue_user_token`](Self::issue_user_token).
    pub async fn issue_entity_token(
        &self,
        id: &str,
        secret: &Secret,
        organization: Option<&OrganizationId>,
    ) -> Result<IssuedToken, Error> {
        let entity = match EntityId::entity(id) {
            Ok(id) => self.find_usable(&id, organization).await?,
            Err(_) => None,
        };
        let nobodys = Secrets::default();
        let secrets = entity.as_ref().and_then(secrets_of).unwrap_or(&nobodys);
        let grace = self.parts.policy.secret_grace;
        let verdict = secrets.verify(&self.parts.sealing, secret, self.now(), grace);
        match (&entity, verdict) {
            (Some(entity), SecretVerdict::Valid) => self.issue(Grant::of(entity)),
            (Some(entity), SecretVerdict::WithinGrace) => {
                let mut token = self.issue(Grant::of(entity))?;
                token.message = Some("The secret is expired and within the grace period");
                Ok(token)
            }
            _ => Err(Error::new(
                ErrorKind::InvalidCredentials,
                "Invalid entity id/secret or secret is expired",
            )),
        }
    }

    /// Issues a token to whomever the host vouches for. This checks no credential.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidFields`] where the subject is blank, the list uses wildcards that the
    /// policy does not allow, or the lifetime is longer than that of any token under the policy;
    /// [`ErrorKind::Internal`] where the token would be longer than the policy's `max_token_len`.
    pub fn issue(&self, grant: Grant) -> Result<IssuedToken, Error> {
        let policy = &self.parts.policy;
        let issued_at = self.now().floor_to_second();
        let lifetime = grant.lifetime.unwrap_or(policy.access_token_lifetime);
        if lifetime > policy.longest_token_lifetime() {
            // A revocation is remembered for as long as the policy lets tokens live.
            let message = "is longer than the policy lets any token live";
            return Err(Error::from_invalid_fields(vec![InvalidField::new("lifetime", message)]));
        }
        let expires_at = (issued_at + lifetime).floor_to_second();
        let token_id = TokenId::new(uuid::Uuid::new_v4().to_string())?;
        let access_token = self.sign(grant, token_id.clone(), issued_at, expires_at)?;
        if !self.fits(&access_token) {
            return Err(too_long());
        }
        Ok(IssuedToken { access_token, token_id, issued_at, expires_at, message: None })
    }

    pub(super) fn sign(
        &self,
        grant: Grant,
        token_id: TokenId,
        issued_at: Timestamp,
        expires_at: Timestamp,
    ) -> Result<AccessToken, Error> {
        let policy = &self.parts.policy;
        let invalid = |field: &str, message: &str| {
            Error::from_invalid_fields(vec![InvalidField::new(field, message)])
        };
        if grant.subject.trim().is_empty() {
            return Err(invalid("subject", "must not be blank"));
        }
        if grant.acl.uses_trailing_wildcards() && !policy.trailing_wildcards {
            return Err(invalid("acl", "must not use wildcards but `*` alone"));
        }
        let is_machine = grant.subject_type == SubjectType::Entity;
        if is_machine && grant.subject == policy.first_party_client_id {
            return Err(invalid(
                "subject",
                "is the first-party client id, which no entity may take",
            ));
        }
        let client_id =
            if is_machine { grant.subject.clone() } else { policy.first_party_client_id.clone() };
        let claims = Claims {
            iss: self.parts.issuer.clone(),
            sub: grant.subject,
            subject_type: grant.subject_type,
            aud: self.parts.audiences.clone(),
            iat: issued_at.as_secs(),
            nbf: Some(issued_at.as_secs()),
            exp: expires_at.as_secs(),
            jti: token_id,
            client_id,
            sid: grant.session_id,
            organization_id: grant.organization_id,
            acl: grant.acl,
            custom_claims: grant.custom_claims,
        };
        let payload = serde_json::to_vec(&claims).map_err(|error| {
            Error::new(ErrorKind::Internal, "claims cannot be written").with_source(error)
        })?;
        self.parts.signing_key.sign(&payload).map(AccessToken::new)
    }

    /// Whether a token is short enough to be accepted again.
    pub(super) fn fits(&self, token: &AccessToken) -> bool {
        token.expose().len() <= self.parts.policy.max_token_len
    }

    /// The principal of that id, where it may log in here. A disabled one, and one of another
    /// organization, is treated as unknown.
    pub(super) async fn find_usable(
        &self,
        id: &EntityId,
        organization: Option<&OrganizationId>,
    ) -> Result<Option<Entity>, Error> {
        let entity = self.within_deadline(self.parts.entities.get(id)).await?;
        Ok(entity.filter(|entity| {
            !entity.disabled && (organization.is_none() || organization == entity.organization_id())
        }))
    }

    /// Hashes a password anew at the policy's cost. A login does not fail for it.
    async fn strengthen(&self, mut user: Entity, password: Password) {
        let version = user.version();
        let stronger = self.parts.hashing.create(password).await;
        let written = match (stronger, &mut user.kind) {
            (
                Ok(stronger),
                EntityKind::User { password } | EntityKind::Customer { password, .. },
            ) => {
                *password = stronger;
                let replacing = self.parts.entities.replace(user.next_version(), version);
                self.within_deadline(replacing).await
            }
            (Err(error), _) => Err(error),
            (_, EntityKind::Entity { .. }) => Ok(()),
        };
        if let Err(error) = written {
            tracing::debug!(%error, "a password keeps its old hash until the next login");
        }
    }
}

/// What was registered is more than a token has room for: not the caller's fault.
pub(super) fn too_long() -> Error {
    Error::new(ErrorKind::Internal, "the token is longer than the policy's max_token_len")
}

fn password_of(entity: &Entity) -> Option<&PasswordHash> {
    match entity.kind() {
        EntityKind::User { password } | EntityKind::Customer { password, .. } => Some(password),
        EntityKind::Entity { .. } => None,
    }
}

fn secrets_of(entity: &Entity) -> Option<&Secrets> {
    match entity.kind() {
        EntityKind::Entity { secrets } => Some(secrets),
        EntityKind::User { .. } | EntityKind::Customer { .. } => None,
    }
}
