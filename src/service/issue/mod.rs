//! Issues tokens: to principals that log in, and to those that the host has authenticated.

mod grant;
mod sign;

use std::borrow::Cow;
use std::time::Duration;

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::audit::{Attempt, Operation};
use crate::clock::Timestamp;
use crate::error::{Error, InvalidField};
use crate::service::audit::AuditDetails;
use crate::service::model::access_token::AccessToken;
use crate::service::model::entity::{Entity, EntityId, is_subject_id};
use crate::service::model::issue_time::IssueTime;
use crate::service::model::subject::SubjectRef;
use crate::service::principals::unknown_entity;
use crate::service::revoke::{disabled, other_organization};
use crate::service::token_service::TokenService;
use crate::token::claims::SubjectType;
use crate::token::identifier::TokenId;
use crate::token::organization::Organization;

pub use self::grant::Grant;
pub(in crate::service) use self::sign::too_long;

/// A newly issued token.
///
/// ```
/// use countersign::{Acl, Error, Grant, TokenService};
///
/// async fn token_for_reports(tokens: &TokenService) -> Result<String, Error> {
///     let issued = tokens.issue(Grant::user("jane@example.com").acl(Acl::everything())).await?;
///     println!("{} ends in {:?}", issued.token_id, issued.expires_in());
///     Ok(issued.access_token.expose().to_owned())
/// }
/// ```
///
/// A handler that returns a login serializes it, or has an [`IssueLayer`](crate::IssueLayer) do so.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IssuedToken {
    /// The token.
    pub access_token: AccessToken,
    /// The token's `jti`.
    pub token_id: TokenId,
    /// When the token was issued, in whole seconds.
    pub issued_at: Timestamp,
    /// When the token expires, in whole seconds.
    pub expires_at: Timestamp,
    /// A message for the token's owner, such as that the secret has expired.
    pub message: Option<&'static str>,
}

/// The members of the token response that a layer or handler sends: `accessToken`, `expiresIn` in seconds,
/// `tokenType`, which is `Bearer`, and `message` if there is one.
impl Serialize for IssuedToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("accessToken", self.access_token.expose())?;
        members.serialize_entry("expiresIn", &self.expires_in().as_secs())?;
        members.serialize_entry("tokenType", "Bearer")?;
        if let Some(message) = self.message {
            members.serialize_entry("message", message)?;
        }
        members.end()
    }
}

impl IssuedToken {
    /// Returns the lifetime of the token, counted from when it was issued.
    #[must_use]
    pub fn expires_in(&self) -> Duration {
        self.expires_at.saturating_since(self.issued_at)
    }
}

impl TokenService {
    /// Issues a token to a registered principal, with the ACL, claims and audiences of its registration. Use it to
    /// log in a principal that the host has authenticated itself.
    ///
    /// It checks no credential. For a customer's credential, it issues a token of the customer and starts no session.
    ///
    /// ```
    /// # async fn example(tokens: countersign::TokenService) -> Result<(), countersign::Error> {
    /// use countersign::EntityId;
    ///
    /// // The host has checked who it is.
    /// let issued = tokens.issue_for(&EntityId::user("jane@example.com")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if no principal with that id is registered;
    /// [`Disabled`](crate::ErrorKind::Disabled) if it is disabled or blocked;
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if the store is unreachable; and those of
    /// [`issue`](Self::issue) for the claims of its registration.
    pub async fn issue_for(&self, id: &EntityId) -> Result<IssuedToken, Error> {
        let normalized = self.normalized(id);
        let named = normalized.as_ref().unwrap_or(id).clone();
        let issuing = async {
            let id = normalized?;
            let read_at = self.now();
            let found = self.inner.stores.get_entity(&id).await?;
            let entity = found.ok_or_else(unknown_entity)?;
            if entity.is_disabled() {
                return Err(disabled());
            }
            self.issue_to(&entity, read_at)
        };
        self.audited_login(Attempt::new(Operation::ISSUE_TOKEN).of_entity(&named), issuing).await
    }

    /// Issues a token for a principal that the host has authenticated; it checks no credential. For a registered
    /// principal, prefer [`issue_for`](Self::issue_for), which uses the claims of its registration.
    ///
    /// # Errors
    ///
    /// [`InvalidFields`](crate::ErrorKind::InvalidFields) if the subject is blank, a user's opaque id or a name that the
    /// policy's `principals.normalize_names` does not accept, the ACL uses
    /// wildcards that the policy does not allow, the grant lacks an organization that the policy requires or names
    /// another one than the registered machine client of that id has, it names an audience that the service
    /// or that principal does not have, the custom claims are longer than the policy's
    /// `tokens.max_custom_claims_len`, or the lifetime is longer than that of any token under the policy;
    /// [`Disabled`](crate::ErrorKind::Disabled) if a user or machine client of that name is registered and disabled,
    /// or the subject is [blocked](Self::block_subject); [`Unavailable`](crate::ErrorKind::Unavailable) if the store
    /// is unreachable; [`Internal`](crate::ErrorKind::Internal) if the token would be longer than the policy's
    /// `tokens.max_len`.
    pub async fn issue(&self, mut grant: Grant) -> Result<IssuedToken, Error> {
        let kind = grant.subject_type;
        let normalized = (kind == SubjectType::User)
            .then(|| self.name_normalized_for_good(kind, &grant.subject).map(Cow::into_owned));
        let is_normalized = normalized != Some(None);
        if let Some(name) = normalized.flatten() {
            grant.subject = name;
        }
        let subject = (grant.subject_type, grant.subject.clone());
        let (organization, session) = (grant.organization.clone(), grant.session_id.clone());
        let attempt = Attempt {
            subject: Some((subject.0, &subject.1)),
            organization: organization.as_ref().and_then(Organization::id),
            session: session.as_ref(),
            ..Attempt::new(Operation::ISSUE_TOKEN)
        };
        self.audited_login(attempt, self.try_issue(grant, is_normalized)).await
    }

    async fn try_issue(&self, mut grant: Grant, is_normalized: bool) -> Result<IssuedToken, Error> {
        let policy = &self.inner.policy;
        let claims = policy.custom_claims_fault(&grant.custom_claims);
        let mut invalid: Vec<_> = claims.into_iter().collect();
        invalid.extend(policy.organization_fault(grant.organization.as_ref()));
        if !is_normalized {
            let message = "cannot be normalized as the policy requires";
            invalid.push(InvalidField::new("subject", message));
        }
        if grant.audiences.as_ref().is_some_and(|asked| !self.has_audiences(asked)) {
            invalid.push(InvalidField::new("audience", "is not an audience of the service"));
        }
        if !invalid.is_empty() {
            return Err(Error::from_invalid_fields(invalid));
        }
        if grant.subject_type == SubjectType::User && is_subject_id(&grant.subject) {
            // An opaque id is no name, so the check for disabled users would not find the user.
            let message = "is a user's opaque id: use `issue_for` with the name";
            return Err(Error::from_invalid_fields(vec![InvalidField::new("subject", message)]));
        }
        let asked_at = self.now();
        let asked = grant.organization.as_ref().and_then(Organization::id);
        // A customer is registered under the names of its credentials, not under its id.
        if grant.subject_type != SubjectType::Customer
            && let Ok(id) = EntityId::new(grant.subject_type, &*grant.subject)
                .map(|id| id.organization(asked.cloned()))
            && let Some(entity) = self.inner.stores.get_entity(&id).await?
        {
            if entity.is_disabled() {
                return Err(disabled());
            }
            // Also blocked under its opaque id.
            SubjectRef::each_of(&entity).try_for_each(|subject| self.check_blocked(subject))?;
            // A revocation of this principal names its organization, and has to cover the token.
            if asked != entity.organization_id() {
                return Err(other_organization());
            }
            grant.audiences = allowed_audiences(grant.audiences, &entity)?;
        }
        self.issue_at(grant, asked_at)
    }

    /// Audits an operation that issues a token.
    pub(super) async fn audited_login(
        &self,
        attempt: Attempt<'_>,
        login: impl Future<Output = Result<IssuedToken, Error>>,
    ) -> Result<IssuedToken, Error> {
        let details = AuditDetails::default();
        let login = async { login.await.inspect(|issued| details.issued(&issued.token_id)) };
        self.audited_with(attempt, &details, login).await
    }

    /// Issues a token to a registered principal whose credential was read at `proven_at`.
    pub(super) fn issue_to(
        &self,
        entity: &Entity,
        proven_at: Timestamp,
    ) -> Result<IssuedToken, Error> {
        self.check_organization(entity)?;
        SubjectRef::each_of(entity).try_for_each(|subject| self.check_blocked(subject))?;
        let is_opaque = self.inner.policy.principals.opaque_subjects;
        self.issue_at(Grant::of_entity(entity, is_opaque), proven_at)
    }

    /// Checks that a registered principal has an organization if the policy requires it: it may have been registered
    /// before the policy did.
    pub(super) fn check_organization(&self, entity: &Entity) -> Result<(), Error> {
        match self.inner.policy.organization_fault(entity.organization.as_ref()) {
            None => Ok(()),
            Some(_) => Err(Error::configuration(format!(
                "{} is registered without an organization, and the policy requires one: register it \
                 anew, with one or with `Organization::All`",
                entity.id()
            ))),
        }
    }

    /// Issues a token to a principal whose credential was read at `proven_at`. A revocation of the principal's
    /// tokens after that instant includes this token, though it is signed later.
    pub(super) fn issue_at(
        &self,
        grant: Grant,
        proven_at: Timestamp,
    ) -> Result<IssuedToken, Error> {
        let policy = &self.inner.policy;
        let lifetime = grant.lifetime.unwrap_or_else(|| policy.token_lifetime(grant.subject_type));
        if lifetime > policy.longest_token_lifetime() {
            // A revocation is stored only for the longest lifetime that the policy allows.
            let message = "is longer than the policy allows for any token";
            return Err(Error::from_invalid_fields(vec![InvalidField::new("lifetime", message)]));
        }
        self.check_blocked(grant.subject_ref())?;
        let issued = self.issue_time(&grant, proven_at);
        let issued_at = issued.at.floor_to_second();
        let expires_at = (issued_at + lifetime).floor_to_second();
        let token_id = TokenId::new(uuid::Uuid::new_v4().to_string())?;
        let access_token = self.sign(grant, token_id.clone(), issued, expires_at)?;
        if !self.fits(&access_token) {
            return Err(too_long());
        }
        Ok(IssuedToken { access_token, token_id, issued_at, expires_at, message: None })
    }

    /// See [`RevocationSet::issue_time`](crate::service::revocations::RevocationSet::issue_time).
    pub(super) fn issue_time(&self, grant: &Grant, proven_at: Timestamp) -> IssueTime {
        self.inner.revocations.issue_time(grant.subject_ref(), proven_at)
    }
}

/// Returns the audiences of a grant for a registered principal, which must be among the principal's own.
fn allowed_audiences(
    asked: Option<Vec<String>>,
    entity: &Entity,
) -> Result<Option<Vec<String>>, Error> {
    match (asked, &entity.audiences) {
        (Some(asked), Some(allowed)) if !asked.iter().all(|one| allowed.contains(one)) => {
            let message = "is not an audience of the principal";
            Err(Error::from_invalid_fields(vec![InvalidField::new("audience", message)]))
        }
        (Some(asked), _) => Ok(Some(asked)),
        (None, allowed) => Ok(allowed.clone()),
    }
}

/// Returns a new id for a JWT that an authentication token is exchanged for.
pub(in crate::service) fn new_session_token_id() -> Result<TokenId, Error> {
    TokenId::new(format!("jwt_{}", uuid::Uuid::new_v4().simple()))
}
