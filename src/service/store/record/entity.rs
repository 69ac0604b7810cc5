use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::service::model::entity::{Credential, Entity};
use crate::service::model::password::PasswordHash;
use crate::service::model::sealing::Sealed;
use crate::service::model::secret::{StoredSecret, StoredSecrets};
use crate::service::store::record::{FORM, Form, RecordFault, base64, entity_id, keyed_digest};
use crate::token::acl::Acl;
use crate::token::claims::SubjectType;
use crate::token::identifier::{CustomerId, OrganizationId};
use crate::token::organization::Organization;

#[derive(Serialize, Deserialize)]
pub(super) struct EntityForm<'a> {
    form: u32,
    subject_type: Cow<'a, str>,
    name: Cow<'a, str>,
    /// Absent in older records, and where the policy asks for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    distinct_name: Option<Cow<'a, str>>,
    /// Absent in older records, and of others than users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject_id: Option<Cow<'a, str>>,
    credential: CredentialForm<'a>,
    acl: Cow<'a, Acl>,
    custom_claims: Cow<'a, Map<String, Value>>,
    /// Absent in older records, and where it is all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audiences: Option<Cow<'a, [String]>>,
    organization_id: Option<Cow<'a, OrganizationId>>,
    /// Whether it was said to be bound to none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    in_all_organizations: bool,
    disabled: bool,
    password_set_at: Option<u64>,
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CredentialForm<'a> {
    Password(Cow<'a, str>),
    Secrets { current: Option<SecretForm<'a>>, previous: Option<SecretForm<'a>> },
    Customer { password: Cow<'a, str>, customer_id: Cow<'a, CustomerId>, otp_required: bool },
}

#[derive(Serialize, Deserialize)]
struct SecretForm<'a> {
    id: Cow<'a, str>,
    #[serde(with = "base64")]
    sealed: Vec<u8>,
    #[serde(with = "base64")]
    digest: Vec<u8>,
    is_generated: bool,
    created_at: u64,
    expires_at: u64,
}

impl<'a> EntityForm<'a> {
    pub(super) fn of(entity: &'a Entity) -> Self {
        let credential = match &entity.credential {
            Credential::User { password } => CredentialForm::Password(password.as_phc().into()),
            Credential::Machine { secrets } => CredentialForm::Secrets {
                current: secrets.current.as_ref().map(SecretForm::of),
                previous: secrets.previous.as_ref().map(SecretForm::of),
            },
            Credential::Customer { password, customer_id, otp_required } => {
                CredentialForm::Customer {
                    password: password.as_phc().into(),
                    customer_id: Cow::Borrowed(customer_id),
                    otp_required: *otp_required,
                }
            }
        };
        Self {
            form: FORM,
            subject_type: entity.id.subject_type().as_str().into(),
            name: entity.id.name().into(),
            distinct_name: entity.distinct_name.as_deref().map(Cow::Borrowed),
            subject_id: entity.subject_id().map(Cow::Borrowed),
            credential,
            acl: Cow::Borrowed(&entity.acl),
            custom_claims: Cow::Borrowed(&entity.custom_claims),
            audiences: entity.audiences.as_deref().map(Cow::Borrowed),
            organization_id: entity.organization_id().map(Cow::Borrowed),
            in_all_organizations: entity.organization == Some(Organization::All),
            disabled: entity.disabled,
            password_set_at: entity.password_set_at.map(Timestamp::as_micros),
            version: entity.version,
        }
    }

    pub(super) fn into_entity(self) -> Result<Entity, RecordFault> {
        let id = entity_id(&self.subject_type, self.name)?;
        let hash = |phc: Cow<'_, str>| {
            PasswordHash::from_phc(phc).map_err(|_| RecordFault::Value("a password's hash"))
        };
        let credential = match (id.subject_type(), self.credential) {
            (SubjectType::User, CredentialForm::Password(phc)) => {
                Credential::User { password: hash(phc)? }
            }
            (SubjectType::Machine, CredentialForm::Secrets { current, previous }) => {
                let current = current.map(SecretForm::into_secret).transpose()?;
                let previous = previous.map(SecretForm::into_secret).transpose()?;
                Credential::Machine { secrets: StoredSecrets { current, previous } }
            }
            (
                SubjectType::Customer,
                CredentialForm::Customer { password, customer_id, otp_required },
            ) => {
                let customer_id = customer_id.into_owned();
                Credential::Customer { password: hash(password)?, customer_id, otp_required }
            }
            _ => return Err(RecordFault::Value("the credential")),
        };
        let organization = match self.organization_id.map(Cow::into_owned) {
            Some(id) => Some(Organization::One(id)),
            None => self.in_all_organizations.then_some(Organization::All),
        };
        let id = id.organization(organization.as_ref().and_then(Organization::id).cloned());
        Ok(Entity {
            id,
            distinct_name: self.distinct_name.map(Cow::into_owned),
            subject_id: self.subject_id.map(Cow::into_owned),
            credential,
            acl: self.acl.into_owned(),
            custom_claims: self.custom_claims.into_owned(),
            audiences: self.audiences.map(Cow::into_owned),
            organization,
            disabled: self.disabled,
            password_set_at: self.password_set_at.map(Timestamp::from_micros),
            version: self.version,
        })
    }
}

impl<'a> SecretForm<'a> {
    fn of(secret: &'a StoredSecret) -> Self {
        Self {
            id: secret.id.as_str().into(),
            sealed: secret.sealed.as_bytes().to_vec(),
            digest: secret.digest.to_bytes().to_vec(),
            is_generated: secret.is_generated,
            created_at: secret.created_at.as_micros(),
            expires_at: secret.expires_at.as_micros(),
        }
    }

    fn into_secret(self) -> Result<StoredSecret, RecordFault> {
        Ok(StoredSecret {
            id: self.id.into_owned(),
            sealed: Sealed::from_bytes(self.sealed),
            digest: keyed_digest(self.digest)?,
            is_generated: self.is_generated,
            created_at: Timestamp::from_micros(self.created_at),
            expires_at: Timestamp::from_micros(self.expires_at),
        })
    }
}

impl Form for EntityForm<'_> {
    fn number(&self) -> u32 {
        self.form
    }
}
