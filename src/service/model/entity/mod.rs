//! Who is registered: users, machine clients and customers' credentials.
//!
//! `entity` on the wire is a machine client; [`Entity`] is any registered principal.

mod id;

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};

pub use self::id::EntityId;
use crate::clock::Timestamp;
use crate::custom_claims::custom_claims_of;
use crate::error::Error;
use crate::service::model::password::PasswordHash;
use crate::service::model::sealing::random_bytes;
use crate::service::model::secret::{StoredSecret, StoredSecrets};
use crate::token::acl::Acl;
use crate::token::identifier::{CustomerId, OrganizationId};
use crate::token::organization::Organization;

/// A registered principal: how it proves who it is, and the most that it may be given.
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
    /// The most that a token issued to it carries.
    pub acl: Acl,
    /// What its tokens carry under `customClaims`.
    pub custom_claims: Map<String, Value>,
    /// Those of the service's audiences that its tokens are for: all of them, where it is none.
    pub audiences: Option<Vec<String>>,
    pub(crate) organization: Option<Organization>,
    pub(crate) disabled: bool,
    /// When its password was set, where it has one and is registered.
    pub password_set_at: Option<Timestamp>,
    pub(crate) version: u64,
}

/// The three kinds of principals, each with its credential.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credential {
    /// A person with a password, who gets tokens and may manage machine clients' secrets.
    User {
        /// The hash of the password.
        password: PasswordHash,
    },
    /// A machine with generated secrets.
    Machine {
        /// Its secrets; none before the first is made.
        secrets: StoredSecrets,
    },
    /// The credential that a customer starts sessions with.
    Customer {
        /// The hash of the password.
        password: PasswordHash,
        /// Whose sessions it starts.
        customer_id: CustomerId,
        /// Whether those sessions need a one-time password.
        otp_required: bool,
    },
}

impl Entity {
    /// A user with a password.
    ///
    /// # Errors
    ///
    /// Those of [`EntityId::new`].
    pub fn user(name: impl Into<String>, password: PasswordHash) -> Result<Self, Error> {
        Ok(Self::new(EntityId::user(name)?, Credential::User { password }))
    }

    /// A machine that never had a secret.
    ///
    /// # Errors
    ///
    /// Those of [`EntityId::new`].
    pub fn machine(id: impl Into<String>) -> Result<Self, Error> {
        let credential = Credential::Machine { secrets: StoredSecrets::default() };
        Ok(Self::new(EntityId::machine(id)?, credential))
    }

    /// A customer's credential.
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

    /// The most that a token issued to it carries. Nothing, unless set.
    #[must_use]
    pub fn acl(mut self, acl: Acl) -> Self {
        self.acl = acl;
        self
    }

    /// What its tokens carry under `customClaims`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidFields`](crate::ErrorKind::InvalidFields) where it is no object in JSON.
    pub fn custom_claims(mut self, custom_claims: impl Serialize) -> Result<Self, Error> {
        self.custom_claims = custom_claims_of(custom_claims)?;
        Ok(self)
    }

    /// One of the service's audiences that its tokens are for; called again, one more. Unless it is called,
    /// they are for all of them.
    ///
    /// It restricts what it is issued, and, of a customer's credential, what its sessions are exchanged
    /// for. A session that it starts as a bearer, or an exchange that it widens, yields no token for
    /// another audience either. The service's own routes accept tokens for any of its audiences.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.get_or_insert_default().push(audience.into());
        self
    }

    /// The organization that it belongs to, and that its tokens are bound to; or
    /// [`Organization::All`].
    #[must_use]
    pub fn organization(mut self, organization: impl Into<Organization>) -> Self {
        self.organization = Some(organization.into());
        self
    }

    /// Whether it is disabled: registered, and rejected like an unknown one.
    #[must_use]
    pub fn disabled(mut self, disabled: bool) -> Self {
        self.disabled = disabled;
        self
    }

    /// Whether sessions of a customer's credential need a one-time password. Others have none.
    #[must_use]
    pub fn otp_required(mut self, required: bool) -> Self {
        if let Credential::Customer { otp_required, .. } = &mut self.credential {
            *otp_required = required;
        }
        self
    }

    /// When its password was set, for one that is moved over from another system. Left out, it is
    /// when it is registered.
    #[must_use]
    pub fn password_set_at(mut self, set_at: Timestamp) -> Self {
        self.password_set_at = Some(set_at);
        self
    }

    /// Its sort and name.
    #[must_use]
    pub fn id(&self) -> &EntityId {
        &self.id
    }

    /// Returns what no other entity of its sort in a store may have: one text for all names that look
    /// alike, of 43 ASCII characters. It is set when the entity is registered under the policy's
    /// [`principals.distinct_names`](crate::policy::Principals::distinct_names), and stays the same. An entity that has none is
    /// held to its id alone.
    #[must_use]
    pub fn distinct_name(&self) -> Option<&str> {
        self.distinct_name.as_deref()
    }

    /// Returns the id of a user that was made when it was registered: `usr_` and 128 random bits as
    /// hexadecimal digits. Nobody else ever has it, and the user has it until it is removed. Under the
    /// policy's [`principals.opaque_subjects`](crate::policy::Principals::opaque_subjects), it is the `sub` of the user's tokens.
    ///
    /// Machine clients and customers' credentials have none, nor has a user before it is registered, or who
    /// was registered by an earlier release.
    #[must_use]
    pub fn subject_id(&self) -> Option<&str> {
        self.subject_id.as_deref()
    }

    /// Makes the id of a user that is to be registered.
    pub(crate) fn with_new_subject_id(self) -> Result<Self, Error> {
        let subject_id = match self.credential {
            Credential::User { .. } => Some(new_subject_id()?),
            Credential::Machine { .. } | Credential::Customer { .. } => None,
        };
        Ok(Self { subject_id, ..self })
    }

    /// Returns the credential, which also says of which kind the principal is.
    #[must_use]
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The organization that it belongs to.
    #[must_use]
    pub fn organization_id(&self) -> Option<&OrganizationId> {
        self.organization.as_ref().and_then(Organization::id)
    }

    /// The hash of its password, where it is one that has a password.
    pub(crate) fn password(&self) -> Option<&PasswordHash> {
        match &self.credential {
            Credential::User { password } | Credential::Customer { password, .. } => Some(password),
            Credential::Machine { .. } => None,
        }
    }

    /// Its secrets, where it is one that has secrets.
    pub(crate) fn secrets(&self) -> Option<&StoredSecrets> {
        match &self.credential {
            Credential::Machine { secrets } => Some(secrets),
            Credential::User { .. } | Credential::Customer { .. } => None,
        }
    }

    /// Puts another hash in its place, where it is one that has a password.
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

    /// Returns whether its sessions need a one-time password.
    pub(crate) fn asks_for_code(&self) -> bool {
        matches!(self.credential, Credential::Customer { otp_required: true, .. })
    }

    /// Returns whether `other`, a later reading of the same principal, may still log in by the
    /// password that this one has.
    pub(crate) fn has_the_credential_of(&self, other: &Self) -> bool {
        let asks_for_more = other.asks_for_code() && !self.asks_for_code();
        !other.disabled && other.password_set_at == self.password_set_at && !asks_for_more
    }

    /// Returns what its tokens name it by: a customer's credential yields tokens of the customer, and a
    /// user's name it by an opaque id where it has one, and that is asked for.
    pub(crate) fn subject(&self, is_opaque: bool) -> &str {
        match (&self.credential, &self.subject_id) {
            (Credential::Customer { customer_id, .. }, _) => customer_id.as_str(),
            (Credential::User { .. }, Some(id)) if is_opaque => id,
            (Credential::User { .. } | Credential::Machine { .. }, _) => self.id.name(),
        }
    }

    /// Returns all that its tokens may name it by, whatever the policy was when they were issued.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &str> {
        [self.subject(false)].into_iter().chain(self.subject_id())
    }

    /// Returns whether it is disabled.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.disabled
    }

    /// Which writing of it this is. A store keeps the number that it is given and compares it
    /// with the number that a later caller expects; it never makes one up.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The next writing of it.
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

/// Returns whether a text is of the form of a user's opaque id.
pub(crate) fn is_subject_id(text: &str) -> bool {
    text.strip_prefix(SUBJECT_ID_PREFIX).is_some_and(|digits| {
        digits.len() == SUBJECT_ID_BYTES * 2 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}
