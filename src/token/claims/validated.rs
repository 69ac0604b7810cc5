use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::token::acl::Acl;
use crate::token::claims::{Claims, SubjectType};
use crate::token::identifier::{OrganizationId, SessionId, TokenId};
use crate::token::principal::Principal;

/// The claims of a validated token: its signature, times, issuer and audience were checked and, for the service's
/// own tokens, its revocation.
///
/// Only validation creates one, so holding it is proof that the token is valid.
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
    /// If the host mapped the claims from another issuer's token: the claim that its audiences were in.
    audience_claim: Option<Arc<str>>,
    /// The digest of the authentication token that it was exchanged for, for a request. Its holder has proved
    /// possession of that token, too.
    pub(crate) session_key: Option<[u8; 32]>,
}

impl Validated {
    pub(crate) fn new(claims: Claims, key: u64, audience_claim: Option<Arc<str>>) -> Self {
        let organization = claims.organization_id.clone();
        let principal = Principal::new(&claims.iss, organization, claims.subject_type, &claims.sub);
        Self { claims, principal, key, audience_claim, session_key: None }
    }

    /// Returns whether the host mapped the claims from another issuer's token. If so, they have no meaning for that
    /// issuer; if not, they have none for a host that maps them.
    pub(crate) fn is_mapped(&self) -> bool {
        self.audience_claim.is_some()
    }

    /// Returns the claim of the issuer's token that the audiences were in. For another validator, another claim may
    /// count.
    #[cfg(feature = "remote-jwks")]
    pub(crate) fn audience_claim(&self) -> Option<&str> {
        self.audience_claim.as_deref()
    }

    /// Returns the [identity](crate::jose::VerifyingKey) of the key that signed it.
    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    pub(crate) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Returns the principal, by which a host keys the data of its callers. It consists of `iss`, `organizationId`,
    /// `subject_type` and `sub`.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Returns `iss`: the issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.claims.iss
    }

    /// Returns `sub`, which does not identify a principal by itself: for comparisons among principals of one kind.
    pub(crate) fn subject(&self) -> &str {
        &self.claims.sub
    }

    /// Returns `subject_type`.
    pub(crate) fn subject_type(&self) -> SubjectType {
        self.claims.subject_type
    }

    /// Returns `aud`: the audiences.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        &self.claims.aud
    }

    /// Returns `iat`: the time of issue; 1970-01-01 if another issuer's token lacks it.
    #[must_use]
    pub fn issued_at(&self) -> Timestamp {
        Timestamp::from_secs(self.claims.iat)
    }

    /// Returns `exp`: the expiry.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_secs(self.claims.exp)
    }

    /// Returns `nbf`: the start of validity.
    #[must_use]
    pub fn not_before(&self) -> Option<Timestamp> {
        self.claims.nbf.map(Timestamp::from_secs)
    }

    /// Returns `jti`: the token's id.
    #[must_use]
    pub fn token_id(&self) -> &TokenId {
        &self.claims.jti
    }

    /// Returns `client_id`: the machine client's id, or the policy's id of first-party clients; for another issuer's
    /// token, the id that the host maps it to.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.claims.client_id
    }

    /// Returns `sid`: the session that it was exchanged from.
    #[must_use]
    pub fn session_id(&self) -> Option<&SessionId> {
        self.claims.sid.as_ref()
    }

    /// Returns `organizationId`: the organization that it is bound to.
    #[must_use]
    pub fn organization_id(&self) -> Option<&OrganizationId> {
        self.claims.organization_id.as_ref()
    }

    /// Returns the ACL: its claim `acl`, in which each entry of a token that is bound to an organization is scoped
    /// to that organization.
    #[must_use]
    pub fn acl(&self) -> Acl {
        self.claims.acl.within(self.organization_id())
    }

    /// Returns `customClaims`: the host's own claims.
    #[must_use]
    pub fn custom_claims(&self) -> &Map<String, Value> {
        &self.claims.custom_claims
    }

    /// Returns whether [`acl`](Self::acl) grants `permission` in a scope with these values.
    ///
    /// A token that is bound to an organization grants nothing outside it: the scope must name that organization, by
    /// the key `organizationId`.
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

    /// Returns whether its ACL would grant `permission` in this scope, and only its organization prevents that.
    pub(crate) fn is_kept_by_organization(&self, permission: &str, scope: &[(&str, &str)]) -> bool {
        !self.allows(permission, scope) && self.claims.acl.allows(permission, scope)
    }
}

/// Omits the digest of the authentication token.
impl fmt::Debug for Validated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validated")
            .field("claims", &self.claims)
            .field("principal", &self.principal)
            .field("key", &self.key)
            .field("is_mapped", &self.is_mapped())
            .field("stands_for_session", &self.session_key.is_some())
            .finish()
    }
}

impl Serialize for Validated {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.claims.serialize(serializer)
    }
}
