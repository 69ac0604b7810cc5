//! Registered principals: users, machine clients and customers' credentials.
//!
//! `entity` on the wire is a machine client; [`Entity`] is any registered principal.

mod id;

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};

pub use self::id::EntityId;
#[cfg(feature = "redis")]
pub(in crate::service) use self::id::SEPARATOR;
use crate::clock::Timestamp;
use crate::custom_claims::custom_claims_of;
use crate::error::Error;
use crate::service::model::password::PasswordHash;
use crate::service::model::sealing::random_bytes;
use crate::service::model::secret::{StoredSecret, StoredSecrets};
use crate::token::acl::Acl;
use crate::token::identifier::{CustomerId, OrganizationId};
use crate::token::organization::Organization;

/// A registered principal: its credential, and the maximum that its tokens may grant.
///
/// ```
/// use countersign::{Acl, AclEntry, Entity};
///
/// #[derive(serde::Serialize)]
/// struct Tier {
///     tier: String,
/// }
///
/// let orders = Acl::new([AclEntry::anywhere(["GetOrders"])?]);
/// let machine = Entity::machine("aa-1")?.acl(orders).custom_claims(Tier { tier: "gold".to_owned() })?;
/// assert!(machine.acl.allows("GetOrders", &[]));
/// assert_eq!(machine.custom_claims["tier"], "gold");
/// # Ok::<(), countersign::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Entity {
    pub(crate) id: EntityId,
    pub(crate) distinct_name: Option<String>,
    pub(crate) subject_id: Option<String>,
    pub(crate) credential: Credential,
    /// The maximum that tokens issued to the principal may grant.
    pub acl: Acl,
    /// The `customClaims` of the principal's tokens.
    pub custom_claims: Map<String, Value>,
    /// The audiences of the principal's tokens, out of those of the service. `None` means all of them.
    pub audiences: Option<Vec<String>>,
    pub(crate) organization: Option<Organization>,
    pub(crate) disabled: bool,
    /// When the password was set, if the principal has a password and is registered.
    pub password_set_at: Option<Timestamp>,
    pub(crate) version: u64,
}

/// The kind of a principal, with its credential.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credential {
    /// A user with a password, who gets tokens and may manage machine clients' secrets.
    User {
        /// The hash of the password.
        password: PasswordHash,
    },
    /// A machine client with generated secrets.
    Machine {
        /// The secrets; empty until the first is generated.
        secrets: StoredSecrets,
    },
    /// The credential that a customer starts sessions with.
    Customer {
        /// The hash of the password.
        password: PasswordHash,
        /// The customer whose sessions it starts.
        customer_id: CustomerId,
        /// Whether those sessions require a one-time password.
        otp_required: bool,
    },
}

impl Entity {
    /// Creates a user with a password.
    ///
    /// # Errors
    ///
    /// Those of [`EntityId::new`].
    pub fn user(name: impl Into<String>, password: PasswordHash) -> Result<Self, Error> {
        Ok(Self::new(EntityId::user(name)?, Credential::User { password }))
    }

    /// Creates a machine client without a secret.
    ///
    /// # Errors
    ///
    /// Those of [`EntityId::new`].
    pub fn machine(id: impl Into<String>) -> Result<Self, Error> {
        let credential = Credential::Machine { secrets: StoredSecrets::default() };
        Ok(Self::new(EntityId::machine(id)?, credential))
    }

    /// Creates a customer's credential.
    ///
    /// # Errors
    ///
    /// Those of [`EntityId::new`].
    pub fn customer(
        name: impl Into<String>,
        password: PasswordHash,
        customer_id: CustomerId,
        otp_required: bool,
    ) -> Result<Self, Error> {
        let credential = Credential::Customer { password, customer_id, otp_required };
        Ok(Self::new(EntityId::customer(name)?, credential))
    }

    fn new(id: EntityId, credential: Credential) -> Self {
        Self {
            id,
            distinct_name: None,
            subject_id: None,
            credential,
            acl: Acl::default(),
            custom_claims: Map::new(),
            audiences: None,
            organization: None,
            disabled: false,
            password_set_at: None,
            version: 1,
        }
    }

    /// Sets the maximum that tokens issued to the principal may grant. Default: nothing.
    #[must_use]
    pub fn acl(mut self, acl: Acl) -> Self {
        self.acl = acl;
        self
    }

    /// Sets the `customClaims` of the principal's tokens.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidFields`](crate::ErrorKind::InvalidFields) if they do not serialize to a JSON object.
    pub fn custom_claims(mut self, custom_claims: impl Serialize) -> Result<Self, Error> {
        self.custom_claims = custom_claims_of(custom_claims)?;
        Ok(self)
    }

    /// Adds one of the service's audiences, to which the principal's tokens are then limited. Default: all audiences.
    ///
    /// The limit applies to the principal's own tokens and, for a customer's credential, to those exchanged from its
    /// sessions. Sessions that the principal starts as a bearer, and exchanges that it widens, yield no tokens for
    /// other audiences either. The service's own routes accept tokens for any of the service's audiences.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.get_or_insert_default().push(audience.into());
        self
    }

    /// Sets the organization that the principal belongs to and that its tokens are bound to, or
    /// [`Organization::All`]. It becomes a part of the [`id`](Self::id) of a user or of a customer's credential, so it
    /// cannot be changed after the registration; that of a machine client can.
    #[must_use]
    pub fn organization(mut self, organization: impl Into<Organization>) -> Self {
        let organization = organization.into();
        self.id = self.id.organization(organization.id().cloned());
        self.organization = Some(organization);
        self
    }

    /// Sets whether the principal is disabled. A disabled one stays registered, but its logins are rejected like
    /// those of an unknown one.
    #[must_use]
    pub fn disabled(mut self, disabled: bool) -> Self {
        self.disabled = disabled;
        self
    }

    /// Sets whether sessions of a customer's credential require a one-time password. It has no effect on other kinds.
    #[must_use]
    pub fn otp_required(mut self, required: bool) -> Self {
        if let Credential::Customer { otp_required, .. } = &mut self.credential {
            *otp_required = required;
        }
        self
    }

    /// Sets when the password was set, for a principal that is migrated from another system. Default: the time of the
    /// registration.
    #[must_use]
    pub fn password_set_at(mut self, set_at: Timestamp) -> Self {
        self.password_set_at = Some(set_at);
        self
    }

    /// Returns the kind and name of the principal, and the organization that the name is unique in.
    #[must_use]
    pub fn id(&self) -> &EntityId {
        &self.id
    }

    /// Returns the text that must be unique among the principals of this kind in a store: the same for all names that
    /// look alike, within the organization of the [`id`](Self::id). It is set when the principal is registered under the
    /// policy's [`principals.distinct_names`](crate::policy::Principals::distinct_names), and never changes. For a
    /// principal without one, only the id must be unique.
    #[must_use]
    pub fn distinct_name(&self) -> Option<Cow<'_, str>> {
        self.distinct_name.as_deref().map(|name| self.id.within_organization(name))
    }

    /// Returns the id that was generated when the user was registered: `usr_` and 128 random bits as hexadecimal
    /// digits. It is never reused, and stays the same until the user is removed. Under the policy's
    /// [`principals.opaque_subjects`](crate::policy::Principals::opaque_subjects), it is the `sub` of the user's
    /// tokens.
    ///
    /// It is `None` for machine clients, for customers' credentials, before the registration, and for users whom an
    /// earlier release has registered.
    #[must_use]
    pub fn subject_id(&self) -> Option<&str> {
        self.subject_id.as_deref()
    }

    /// Generates the id of a user that is to be registered.
    pub(crate) fn with_new_subject_id(self) -> Result<Self, Error> {
        let subject_id = match self.credential {
            Credential::User { .. } => Some(new_subject_id()?),
            Credential::Machine { .. } | Credential::Customer { .. } => None,
        };
        Ok(Self { subject_id, ..self })
    }

    /// Returns the credential, which also tells the kind of principal.
    #[must_use]
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Returns the organization that the principal belongs to.
    #[must_use]
    pub fn organization_id(&self) -> Option<&OrganizationId> {
        self.organization.as_ref().and_then(Organization::id)
    }

    /// Returns the password hash, if the principal has a password.
    pub(crate) fn password(&self) -> Option<&PasswordHash> {
        match &self.credential {
            Credential::User { password } | Credential::Customer { password, .. } => Some(password),
            Credential::Machine { .. } => None,
        }
    }

    /// Returns the secrets, if the principal is a machine client.
    pub(crate) fn secrets(&self) -> Option<&StoredSecrets> {
        match &self.credential {
            Credential::Machine { secrets } => Some(secrets),
            Credential::User { .. } | Credential::Customer { .. } => None,
        }
    }

    /// Replaces the password hash, if the principal has a password.
    pub(crate) fn replace_password(&mut self, hash: PasswordHash) {
        match &mut self.credential {
            Credential::User { password } | Credential::Customer { password, .. } => {
                *password = hash;
            }
            Credential::Machine { .. } => {}
        }
    }

    /// Returns whether it is the same principal as `other`, with the same credential.
    pub(crate) fn is_the_same_as(&self, other: &Self) -> bool {
        let is_same_kind = match (&self.credential, &other.credential) {
            (Credential::User { password: one }, Credential::User { password: other }) => {
                one.as_phc() == other.as_phc()
            }
            (
                Credential::Customer { password: one, customer_id, .. },
                Credential::Customer { password: other, customer_id: other_id, .. },
            ) => one.as_phc() == other.as_phc() && customer_id == other_id,
            (Credential::Machine { secrets: one }, Credential::Machine { secrets: other }) => {
                let ids = |secrets: &StoredSecrets| {
                    let id =
                        |secret: &Option<StoredSecret>| secret.as_ref().map(|it| it.id.clone());
                    (id(&secrets.current), id(&secrets.previous))
                };
                ids(one) == ids(other)
            }
            _ => false,
        };
        self.id == other.id && is_same_kind && self.password_set_at == other.password_set_at
    }

    /// Returns whether its sessions require a one-time password.
    pub(crate) fn asks_for_code(&self) -> bool {
        matches!(self.credential, Credential::Customer { otp_required: true, .. })
    }

    /// Returns whether `other`, a later copy of the same principal, may still log in with this copy's password.
    pub(crate) fn has_the_credential_of(&self, other: &Self) -> bool {
        let asks_for_more = other.asks_for_code() && !self.asks_for_code();
        !other.disabled && other.password_set_at == self.password_set_at && !asks_for_more
    }

    /// Returns the subject of its tokens: for a customer's credential, the customer; for a user, the opaque id, if
    /// the user has one and the policy sets that, or else the name.
    pub(crate) fn subject(&self, is_opaque: bool) -> &str {
        match (&self.credential, &self.subject_id) {
            (Credential::Customer { customer_id, .. }, _) => customer_id.as_str(),
            (Credential::User { .. }, Some(id)) if is_opaque => id,
            (Credential::User { .. } | Credential::Machine { .. }, _) => self.id.name(),
        }
    }

    /// Returns every subject that its tokens may have, whatever the policy was when they were issued.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &str> {
        [self.subject(false)].into_iter().chain(self.subject_id())
    }

    /// Returns whether the principal is disabled.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.disabled
    }

    /// Returns the version of the record. A store keeps the number that it is given, and compares it with the number
    /// that a later caller expects; it never generates one.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Returns the record with the next version.
    #[must_use]
    pub fn next_version(mut self) -> Self {
        self.version = self.version.wrapping_add(1);
        self
    }
}

const SUBJECT_ID_PREFIX: &str = "usr_";
const SUBJECT_ID_BYTES: usize = 16;

fn new_subject_id() -> Result<String, Error> {
    let mut id = SUBJECT_ID_PREFIX.to_owned();
    for byte in *random_bytes::<SUBJECT_ID_BYTES>()? {
        let _ = write!(id, "{byte:02x}");
    }
    Ok(id)
}

/// Returns whether a text has the form of a user's opaque id.
pub(crate) fn is_subject_id(text: &str) -> bool {
    text.strip_prefix(SUBJECT_ID_PREFIX).is_some_and(|digits| {
        digits.len() == SUBJECT_ID_BYTES * 2 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}
