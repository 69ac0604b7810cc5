use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::token::acl::Acl;
use crate::token::claims::{Claims, SubjectType};
use crate::token::identifier::{OrganizationId, SessionId, TokenId};
use crate::token::principal::Principal;

/// The claims of a token that has been checked: signature, times, issuer, audience, and, of one's own,
/// revocation.
///
/// There is no way to make one but to have a token validated, so holding it is the proof.
///
/// ```compile_fail
/// let forged: countersign::Validated = Default::default();
/// ```
#[derive(Clone)]
pub struct Validated {
    claims: Claims,
    principal: Principal,
    /// The identity of the key that signed it.
    key: u64,
    /// Whether the claims are what a host made of another issuer's token.
    is_mapped: bool,
    /// The digest of the authentication token in whose place it was made for a request. Its holder has
    /// proved to hold that, too.
    pub(crate) session_key: Option<[u8; 32]>,
}

impl Validated {
    pub(crate) fn new(claims: Claims, key: u64, is_mapped: bool) -> Self {
        let organization = claims.organization_id.clone();
        let principal = Principal::new(&claims.iss, organization, claims.subject_type, &claims.sub);
        Self { claims, principal, key, is_mapped, session_key: None }
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

    /// Returns who it speaks for: the key of whatever a host keeps for its callers. It joins `iss`,
    /// `organizationId`, `subject_type` and `sub`.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// `iss`: who issued it.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.claims.iss
    }

    /// `sub`, which is nobody by itself: for comparisons among principals of one kind.
    pub(crate) fn subject(&self) -> &str {
        &self.claims.sub
    }

    /// `subject_type`.
    pub(crate) fn subject_type(&self) -> SubjectType {
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

    /// Returns what it allows: its claim `acl`, in which each entry of a token that is bound to an
    /// organization is scoped to that organization.
    #[must_use]
    pub fn acl(&self) -> Acl {
        self.claims.acl.within(self.organization_id())
    }

    /// `customClaims`: the host's own.
    #[must_use]
    pub fn custom_claims(&self) -> &Map<String, Value> {
        &self.claims.custom_claims
    }

    /// Returns whether [`acl`](Self::acl) grants `permission` at these scope values.
    ///
    /// A token that is bound to an organization grants nothing outside it. So it grants only what is
    /// asked for at a scope that names that organization, by the key `organizationId`.
    ///
    /// ```
    /// # #[cfg(all(feature = "testing", any(feature = "aws-lc-rs", feature = "rust-crypto")))] {
    /// # let issuer = countersign::testing::TestIssuer::new();
    /// // Its list has an entry without a scope.
    /// let token = issuer.token().user("jane").organization("org_1").allow("GetOrders").sign();
    /// let jane = issuer.validator().validate(&token)?;
    /// assert!(jane.allows("GetOrders", &[("organizationId", "org_1")]));
    /// assert!(!jane.allows("GetOrders", &[("organizationId", "org_2")]));
    /// assert!(!jane.allows("GetOrders", &[]));
    /// # }
    /// # Ok::<(), countersign::faults::TokenFault>(())
    /// ```
    #[must_use]
    pub fn allows(&self, permission: &str, scope: &[(&str, &str)]) -> bool {
        self.claims.acl.allows_within(self.organization_id(), permission, scope)
    }

    /// Returns whether its list grants `permission` there, and its organization is what keeps it from
    /// being granted.
    pub(crate) fn is_kept_by_organization(&self, permission: &str, scope: &[(&str, &str)]) -> bool {
        !self.allows(permission, scope) && self.claims.acl.allows(permission, scope)
    }
}

/// Without the digest of what it was made for.
impl fmt::Debug for Validated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validated")
            .field("claims", &self.claims)
            .field("principal", &self.principal)
            .field("key", &self.key)
            .field("is_mapped", &self.is_mapped)
            .field("stands_for_session", &self.session_key.is_some())
            .finish()
    }
}

impl Serialize for Validated {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.claims.serialize(serializer)
    }
}
