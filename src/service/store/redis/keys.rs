//! What is kept under which key.

use crate::jose::material::base64url;
use crate::service::model::authentication_token::SessionKey;
use crate::service::model::entity::{EntityId, SEPARATOR};
use crate::service::model::session::Session;
use crate::service::model::subject::Subject;
use crate::service::store::{SessionFilter, StoreError};
use crate::token::claims::SubjectType;
use crate::token::identifier::{CustomerId, OrganizationId, SessionId};

/// The names of all keys, which begin with the host's prefix.
#[derive(Clone, Debug)]
pub(super) struct RedisKeys {
    pub(super) prefix: String,
}

impl RedisKeys {
    pub(super) fn entity(&self, id: &EntityId) -> String {
        format!("{}entity:{}:{}", self.prefix, id.subject_type(), id.to_index_text())
    }

    /// The ids of the entities of a sort: of all, or of those of an organization.
    pub(super) fn entities(
        &self,
        subject_type: SubjectType,
        organization: Option<&OrganizationId>,
    ) -> String {
        match organization {
            None => format!("{}entities:{subject_type}", self.prefix),
            Some(id) => format!("{}entities-of:{subject_type}:{}", self.prefix, id.as_str()),
        }
    }

    /// A name that one entity of a sort may have: whose it is.
    pub(super) fn name(&self, subject_type: SubjectType, distinct_name: &str) -> String {
        format!("{}name:{subject_type}:{distinct_name}", self.prefix)
    }

    pub(super) fn session(&self, key: &str) -> String {
        format!("{}session:{key}", self.prefix)
    }

    /// Of a session's public id: its key.
    pub(super) fn session_id(&self, id: &SessionId) -> String {
        format!("{}session-id:{}", self.prefix, id.as_str())
    }

    /// The live sessions that a filter matches, by age.
    pub(super) fn list(&self, filter: &SessionFilter) -> String {
        let customer = filter.customer_id.as_ref().map(|id| id.as_str());
        let organization = filter.organization_id.as_ref().map(|id| id.as_str());
        let list = match (customer, organization) {
            (None, None) => "live-sessions".to_owned(),
            (Some(customer), None) => format!("live-sessions-of-customer:{customer}"),
            (None, Some(organization)) => format!("live-sessions-of-organization:{organization}"),
            // An id holds no control character.
            (Some(customer), Some(organization)) => {
                format!("live-sessions-of-both:{organization}\0{customer}")
            }
        };
        format!("{}{list}", self.prefix)
    }

    /// The sessions of a subject, by when they end: of a customer their own, of others those that they
    /// have started.
    pub(super) fn subject(&self, subject: &Subject) -> String {
        format!("{}subject:{}", self.prefix, subject.to_index_text())
    }

    /// All sessions, by what is next to be done about them: taken out of the lists at their expiry, purged at their end.
    pub(super) fn ends(&self) -> String {
        format!("{}session-ends", self.prefix)
    }

    /// The feed. What is in braces decides on the slot.
    pub(super) fn feed(&self) -> String {
        format!("{}{{revocations}}", self.prefix)
    }

    /// The feed's entries, by when they end; in the slot of the feed.
    pub(super) fn feed_ends(&self) -> String {
        format!("{}{{revocations}}-ends", self.prefix)
    }

    /// The signing keys that nodes share.
    pub(super) fn signing_keys(&self) -> String {
        format!("{}signing-keys", self.prefix)
    }

    /// What tells whether the sealing keys open what is stored.
    pub(super) fn sealing_check(&self) -> String {
        format!("{}sealing-check", self.prefix)
    }

    /// The version of all this.
    pub(super) fn version(&self) -> String {
        format!("{}version", self.prefix)
    }
}

/// Reads what [`EntityId::to_index_text`] wrote.
pub(super) fn read_entity_id(subject_type: SubjectType, text: &str) -> Option<EntityId> {
    let (name, organization) = match text.split_once(SEPARATOR) {
        None => (text, None),
        Some((name, organization)) => (name, Some(OrganizationId::new(organization).ok()?)),
    };
    Some(EntityId::new(subject_type, name).ok()?.organization(organization))
}

/// A session's key as text. All are of one length.
pub(super) fn text_of(key: &SessionKey) -> String {
    base64url(key.as_bytes())
}

/// Length of 32 bytes in base64.
const KEY_LEN: usize = 43;

/// A session as the indexes by subject have it: its key, and its public id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SubjectIndexEntry {
    pub(super) key: String,
    pub(super) id: String,
}

impl SubjectIndexEntry {
    pub(super) fn parse(member: &str) -> Option<Self> {
        let (key, id) = member.split_at_checked(KEY_LEN)?;
        Some(Self { key: key.to_owned(), id: id.to_owned() })
    }

    pub(super) fn to_member(&self) -> String {
        format!("{}{}", self.key, self.id)
    }
}

/// A session as the lists have it. Of one instant, the server orders them by this text: by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListEntry {
    pub(super) id: String,
    pub(super) key: String,
}

impl ListEntry {
    pub(super) fn parse(member: &str) -> Option<Self> {
        let (id, key) = member.split_once('\0')?;
        Some(Self { id: id.to_owned(), key: key.to_owned() })
    }

    /// No id holds a control character.
    pub(super) fn to_member(&self) -> String {
        format!("{}\0{}", self.id, self.key)
    }
}

/// A session as the index of ends has it: with all that is needed to clean the other indexes,
/// although the session itself is gone.
#[derive(Clone, Debug)]
pub(super) struct EndIndexEntry {
    pub(super) key: String,
    pub(super) session_id: SessionId,
    pub(super) customer_id: CustomerId,
    pub(super) organization_id: Option<OrganizationId>,
    pub(super) starter: Option<Subject>,
}

type Ids = (SessionId, CustomerId, Option<OrganizationId>);
type StarterParts = (String, Option<OrganizationId>, String);

impl EndIndexEntry {
    pub(super) fn of(session: &Session) -> Self {
        Self {
            key: text_of(&session.key),
            session_id: session.id.clone(),
            customer_id: session.customer_id.clone(),
            organization_id: session.organization_id.clone(),
            starter: session.started_by().cloned(),
        }
    }

    pub(super) fn parse(member: &str) -> Option<Self> {
        let (key, rest) = member.split_at_checked(KEY_LEN)?;
        let ((session_id, customer_id, organization_id), starter) =
            serde_json::from_str::<(Ids, Option<StarterParts>)>(rest).ok()?;
        let starter = match starter {
            Some((subject_type, organization, id)) => Some(
                Subject::new(SubjectType::parse(&subject_type)?, id).organization(organization),
            ),
            None => None,
        };
        Some(Self { key: key.to_owned(), session_id, customer_id, organization_id, starter })
    }

    /// The customer in their organization.
    pub(super) fn subject(&self) -> Subject {
        Subject::new(SubjectType::Customer, self.customer_id.as_str())
            .organization(self.organization_id.clone())
    }

    /// The same session, as the indexes by subject have it.
    pub(super) fn of_subject(&self) -> SubjectIndexEntry {
        SubjectIndexEntry { key: self.key.clone(), id: self.session_id.as_str().to_owned() }
    }

    /// The same session, as the lists have it.
    pub(super) fn listed(&self) -> ListEntry {
        ListEntry { id: self.session_id.as_str().to_owned(), key: self.key.clone() }
    }

    /// The filters whose lists it is in.
    pub(super) fn filters(&self) -> impl Iterator<Item = SessionFilter> + use<> {
        SessionFilter::matching(&self.customer_id, self.organization_id.as_ref())
    }

    pub(super) fn to_member(&self) -> Result<String, StoreError> {
        let ids = (&self.session_id, &self.customer_id, &self.organization_id);
        let starter = self.starter.as_ref().map(|starter| {
            (starter.subject_type().as_str(), starter.organization_id(), starter.id())
        });
        let rest = serde_json::to_string(&(ids, starter));
        let rest = rest.map_err(|_| StoreError::corrupt("a session's ids cannot be written"))?;
        Ok(format!("{}{rest}", self.key))
    }
}
