use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::token::acl::Acl;
use crate::token::claims::{Claims, SubjectType};
use crate::token::identifier::{OrganizationId, SessionId, TokenId};

/// The claims of a token that has been checked: signature, times, issuer, audience, and, of one's own,
/// revocation.
///
/// There is no way to make one but to have a token validated, so holding it is the proof.
///
/// ```compile_fail
/// let forged: countersign::Validated = Default::default();
/// ```
#[derive(Debug)]
pub struct Validated {
    claims: Claims,
    /// The identity of the key that signed it.
    key: u64,
    /// Whether the claims are what a host made of another issuer's token.
    is_mapped: bool,
}

impl Validated {
    pub(crate) fn new(claims: Claims, key: u64, is_mapped: bool) -> Self {
        Self { claims, key, is_mapped }
    }

    /// Returns whether the claims are what a host made of another issuer's token. Where they are,
    /// they mean nothing to the issuer itself; where they are not, they mean nothing to who maps
    /// them.
    pub(crate) fn is_mapped(&self) -> bool {
        self.is_mapped
    }

    /// Returns the [identity](crate::jose::VerifyingKey) of the key that signed it.
    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    pub(crate) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// `iss`: who issued it.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.claims.iss
    }

    /// `sub`: the user's name, the machine client's id or the customer's id, as
    /// [`subject_type`](Self::subject_type) says.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.claims.sub
    }

    /// `subject_type`: what sort of principal the subject is.
    #[must_use]
    pub fn subject_type(&self) -> SubjectType {
        self.claims.subject_type
    }

    /// `aud`: whom it is meant for.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        &self.claims.aud
    }

    /// `iat`: when it was issued; 1970-01-01 where another issuer's token does not say.
    #[must_use]
    pub fn issued_at(&self) -> Timestamp {
        Timestamp::from_secs(self.claims.iat)
    }

    /// `exp`: when it ends.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_secs(self.claims.exp)
    }

    /// `nbf`: when it begins.
    #[must_use]
    pub fn not_before(&self) -> Option<Timestamp> {
        self.claims.nbf.map(Timestamp::from_secs)
    }

    /// `jti`: its own id.
    #[must_use]
    pub fn token_id(&self) -> &TokenId {
        &self.claims.jti
    }

    /// `client_id`: the machine client's id, or the policy's id of first-party clients; of another
    /// issuer's token, what the host makes of it.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.claims.client_id
    }

    /// `sid`: the session that it was exchanged from.
    #[must_use]
    pub fn session_id(&self) -> Option<&SessionId> {
        self.claims.sid.as_ref()
    }

    /// `organizationId`: the organization that it is bound to.
    #[must_use]
    pub fn organization_id(&self) -> Option<&OrganizationId> {
        self.claims.organization_id.as_ref()
    }

    /// `acl`: what it allows.
    #[must_use]
    pub fn acl(&self) -> &Acl {
        &self.claims.acl
    }

    /// `customClaims`: the host's own.
    #[must_use]
    pub fn custom_claims(&self) -> &Map<String, Value> {
        &self.claims.custom_claims
    }

    /// Returns whether [`acl`](Self::acl) grants `permission` at these scope values.
    #[must_use]
    pub fn allows(&self, permission: &str, scope: &[(&str, &str)]) -> bool {
        self.claims.acl.allows(permission, scope)
    }
}

impl Serialize for Validated {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.claims.serialize(serializer)
    }
}
