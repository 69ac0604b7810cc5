//! Tokens for those who log in.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::domain::acl::Acl;
use crate::domain::claims::{AccessToken, Claims, SubjectType};
use crate::domain::entity::{Entity, EntityId};
use crate::domain::identifier::{OrganizationId, SessionId, TokenId};
use crate::domain::password::Password;
use crate::domain::secret::{Secret, SecretVerdict, Secrets};
use crate::domain::session::Session;
use crate::error::{Error, ErrorKind, InvalidField};
use crate::service::audit::{Attempt, Operation};
use crate::service::caller::Caller;
use crate::service::stores::unavailable;
use crate::service::token_service::TokenService;
use crate::store::RecentEntity;
use crate::telemetry;

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

    /// A token of a customer's session: with its list and claims, and ending with it.
    pub(super) fn of_session(session: &Session) -> Self {
        Self {
            session_id: Some(session.id.clone()),
            organization_id: session.organization_id.clone(),
            acl: session.acl.clone(),
            custom_claims: session.custom_claims.clone(),
            ..Self::new(SubjectType::Customer, session.customer_id.as_str())
        }
    }

    /// What a registered principal is entitled to.
    fn of_entity(entity: &Entity) -> Self {
        Self {
            organization_id: entity.organization_id.clone(),
            acl: entity.acl.clone(),
            custom_claims: entity.custom_claims.clone(),
            ..Self::new(entity.id().subject_type(), entity.subject())
        }
    }
}

impl TokenService {
    /// Logs a user in by name and password.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidCredentials`] for an unknown name, a wrong or expired password, a
    /// disabled user or one of another organization than the caller's: which of them cannot be
    /// told, by the time taken neither. [`ErrorKind::Throttled`] where too many such came before,
    /// [`ErrorKind::Overloaded`] where too many log in at once, [`ErrorKind::Unavailable`] where the
    /// store is out of reach.
    pub async fn issue_user_token(
        &self,
        name: &str,
        password: Password,
        caller: &Caller,
    ) -> Result<IssuedToken, Error> {
        let proven = self.verify_password(SubjectType::User, name, password, caller).await;
        let issued =
            proven.and_then(|proven| self.issue_at(Grant::of_entity(&proven.entity), proven.at));
        let operation = Operation::IssueUserToken;
        self.conclude_login(operation, (SubjectType::User, name), caller, &issued);
        issued
    }

    /// Logs an entity in by id and secret.
    ///
    /// Over a [`Cached`](crate::store::Cached) store, the token's life is counted from when the copy
    /// of the entity was read.
    ///
    /// # Errors
    ///
    /// Those of [`issue_user_token`](Self::issue_user_token) but [`ErrorKind::Overloaded`].
    pub async fn issue_entity_token(
        &self,
        id: &str,
        secret: &Secret,
        caller: &Caller,
    ) -> Result<IssuedToken, Error> {
        let issued = self.try_issue_entity_token(id, secret, caller).await;
        let operation = Operation::IssueEntityToken;
        self.conclude_login(operation, (SubjectType::Entity, id), caller, &issued);
        issued
    }

    async fn try_issue_entity_token(
        &self,
        id: &str,
        secret: &Secret,
        caller: &Caller,
    ) -> Result<IssuedToken, Error> {
        let began_at = self.now();
        let judged = match EntityId::entity(id) {
            Ok(id) => self.verify_entity_secret(&id, secret, caller, began_at).await?,
            Err(_) => self.verify_secret_against(None, secret, caller),
        };
        let is_good = judged.is_good();
        let JudgedSecret { entity, verdict } = judged;
        // A generated secret cannot be guessed, so that whoever has it is let through: others'
        // guesses must not keep a machine from its work. All else waits its turn.
        let is_generated = matches!(
            verdict,
            SecretVerdict::Valid { is_generated: true }
                | SecretVerdict::WithinGrace { is_generated: true }
        );
        if entity.is_err() || !is_generated {
            let throttle = &self.parts.throttle;
            let suspect = throttle.suspect(SubjectType::Entity, id, caller.address);
            let admission = throttle.admit(suspect, began_at)?;
            if is_good {
                throttle.succeeded(&admission);
            } else {
                throttle.confirm(&admission);
            }
        }
        let reason = match (entity, verdict) {
            (Ok(found), SecretVerdict::Valid { .. }) => {
                return self.issue_at(Grant::of_entity(&found.entity), found.read_at);
            }
            (Ok(found), SecretVerdict::WithinGrace { .. }) => {
                let mut token = self.issue_at(Grant::of_entity(&found.entity), found.read_at)?;
                token.message = Some("The secret is expired and within the grace period");
                return Ok(token);
            }
            (Ok(_), SecretVerdict::Expired) => "expired_secret",
            (Ok(_), SecretVerdict::Invalid) => "wrong_secret",
            (Err(unusable), _) => unusable,
        };
        let message = "Invalid entity id/secret or secret is expired";
        Err(Error::new(ErrorKind::InvalidCredentials, message).with_reason(reason))
    }

    /// Judges a secret by a copy of its entity, where there is one and it is good by that. All else
    /// is judged by what the store says now: nobody is refused for a copy that is old.
    ///
    /// A secret that is refused costs as many reads of the store, and two judgements, whether or not
    /// there is such an entity, or a copy of it.
    async fn verify_entity_secret(
        &self,
        id: &EntityId,
        secret: &Secret,
        caller: &Caller,
        began_at: Timestamp,
    ) -> Result<JudgedSecret, Error> {
        let stores = &self.parts.stores;
        let recent = stores.get_recent_entity(id, began_at).await?;
        let judged = self.verify_secret_against(recent.clone(), secret, caller);
        if judged.is_good() {
            let ended = |copy: &RecentEntity| {
                self.parts.revocations.ended(SubjectType::Entity, id.name(), copy.read_at)
            };
            // A token that came of it would have been taken back before it was issued.
            if !recent.as_ref().is_some_and(|recent| recent.is_copy && ended(recent)) {
                return Ok(judged);
            }
            stores.entities.forget(id);
        }
        let found = if recent.as_ref().is_some_and(|recent| recent.is_copy) {
            let now = self.now();
            let entity = stores.get_entity(id).await?;
            entity.map(|entity| RecentEntity::just_read(entity, now))
        } else {
            recent
        };
        // Also where nothing was read anew: a refusal has to take as long for a known id as for an
        // unknown one.
        Ok(self.verify_secret_against(found, secret, caller))
    }

    fn verify_secret_against(
        &self,
        found: Option<RecentEntity>,
        secret: &Secret,
        caller: &Caller,
    ) -> JudgedSecret {
        let found = found.ok_or(UNKNOWN);
        let entity = found.and_then(|found| usable(&found.entity, caller).map(|()| found));
        let nobodys = Secrets::default();
        let secrets = entity.as_ref().ok().and_then(|found| found.entity.secrets());
        let (sealing, grace) = (&self.parts.sealing, self.parts.policy.secret_grace);
        let verdict = secrets.unwrap_or(&nobodys).verify(sealing, secret, self.now(), grace);
        JudgedSecret { entity, verdict }
    }

    fn conclude_login(
        &self,
        operation: Operation,
        subject: (SubjectType, &str),
        caller: &Caller,
        issued: &Result<IssuedToken, Error>,
    ) {
        let attempt = Attempt {
            subject: Some(subject),
            token: issued.as_ref().ok().map(|token| &token.token_id),
            ..caller.attempt(operation)
        };
        if issued.is_ok() {
            telemetry::issued(operation.as_str());
        }
        self.audit(&attempt, issued);
    }

    /// Issues a token to whomever the host vouches for. This checks no credential.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidFields`] where the subject is blank, the list uses wildcards that the
    /// policy does not allow, or the lifetime is longer than that of any token under the policy;
    /// [`ErrorKind::Internal`] where the token would be longer than the policy's `max_token_len`.
    pub fn issue(&self, grant: Grant) -> Result<IssuedToken, Error> {
        let subject = (grant.subject_type, grant.subject.clone());
        let (organization, session) = (grant.organization_id.clone(), grant.session_id.clone());
        let issued = self.issue_at(grant, self.now());
        let operation = Operation::IssueToken;
        let attempt = Attempt {
            subject: Some((subject.0, &subject.1)),
            organization: organization.as_ref(),
            session: session.as_ref(),
            token: issued.as_ref().ok().map(|token| &token.token_id),
            ..Attempt::new(operation)
        };
        if issued.is_ok() {
            telemetry::issued(operation.as_str());
        }
        self.audit(&attempt, &issued);
        issued
    }

    /// Issues a token to somebody whose credential was read at `proven_at`. What takes their tokens
    /// back after that takes this one back, too, though it is signed later.
    pub(super) fn issue_at(
        &self,
        grant: Grant,
        proven_at: Timestamp,
    ) -> Result<IssuedToken, Error> {
        let policy = &self.parts.policy;
        let lifetime = grant.lifetime.unwrap_or(policy.access_token_lifetime);
        if lifetime > policy.longest_token_lifetime() {
            // A revocation is remembered for as long as the policy lets tokens live.
            let message = "is longer than the policy lets any token live";
            return Err(Error::from_invalid_fields(vec![InvalidField::new("lifetime", message)]));
        }
        let issued_at = self.issue_time(&grant, proven_at);
        let expires_at = (issued_at + lifetime).floor_to_second();
        let token_id = TokenId::new(uuid::Uuid::new_v4().to_string())?;
        let access_token = self.sign(grant, token_id.clone(), issued_at, expires_at)?;
        if !self.fits(&access_token) {
            return Err(too_long());
        }
        Ok(IssuedToken { access_token, token_id, issued_at, expires_at, message: None })
    }

    /// See [`RevocationSet::issue_time`](crate::domain::revocation::RevocationSet::issue_time).
    pub(super) fn issue_time(&self, grant: &Grant, proven_at: Timestamp) -> Timestamp {
        self.parts.revocations.issue_time(grant.subject_type, &grant.subject, proven_at)
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
        let none = || {
            if self.parts.keys.are_awaited() {
                unavailable("the signing keys have not come yet")
            } else {
                Error::new(ErrorKind::Internal, "no key signs")
            }
        };
        let key = self.parts.keys.active().ok_or_else(none)?;
        key.sign(&payload).map(AccessToken::new)
    }

    /// Whether a token is short enough to be accepted again.
    pub(super) fn fits(&self, token: &AccessToken) -> bool {
        token.expose().len() <= self.parts.policy.max_token_len
    }

    /// The principal of that id, where it may log in here; or why it is treated as unknown.
    pub(super) async fn find_usable(
        &self,
        id: &EntityId,
        caller: &Caller,
    ) -> Result<Result<Entity, &'static str>, Error> {
        let entity = self.parts.stores.get_entity(id).await?;
        Ok(entity.ok_or(UNKNOWN).and_then(|entity| usable(&entity, caller).map(|()| entity)))
    }
}

/// What was said of a secret, and by which reading of its entity; or why that is treated as unknown.
struct JudgedSecret {
    entity: Result<RecentEntity, &'static str>,
    verdict: SecretVerdict,
}

impl JudgedSecret {
    fn is_good(&self) -> bool {
        self.entity.is_ok() && self.verdict.is_good()
    }
}

const UNKNOWN: &str = "unknown_name";

/// Whether an entity may log in here; or why it is treated as unknown.
fn usable(entity: &Entity, caller: &Caller) -> Result<(), &'static str> {
    if entity.disabled {
        Err("disabled")
    } else if !caller.may_see(entity.organization_id()) {
        Err("other_organization")
    } else {
        Ok(())
    }
}

/// What was registered is more than a token has room for: not the caller's fault.
pub(super) fn too_long() -> Error {
    Error::new(ErrorKind::Internal, "the token is longer than the policy's max_token_len")
}
