//! What a store of sessions is asked, and what it returns.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::service::model::entity::EntityId;
use crate::service::model::revocation::Revocation;
use crate::service::model::session::Session;
use crate::service::model::session_position::SessionPosition;
use crate::token::identifier::{CustomerId, OrganizationId};

/// A filter of sessions. Fields that are not set do not restrict the list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SessionFilter {
    /// Only sessions of this customer.
    pub customer_id: Option<CustomerId>,
    /// Only sessions of this organization.
    pub organization_id: Option<OrganizationId>,
}

impl SessionFilter {
    /// Creates a filter that matches all sessions.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Matches only sessions of this customer.
    #[must_use]
    pub fn of_customer(mut self, customer_id: CustomerId) -> Self {
        self.customer_id = Some(customer_id);
        self
    }

    /// Matches only sessions of this organization.
    #[must_use]
    pub fn of_organization(mut self, organization_id: OrganizationId) -> Self {
        self.organization_id = Some(organization_id);
        self
    }

    /// Returns the filters that match a session of these: each has a list of its own.
    pub(super) fn matching(
        customer_id: &CustomerId,
        organization_id: Option<&OrganizationId>,
    ) -> impl Iterator<Item = Self> + use<> {
        let all = Self::all();
        let of_customer = all.clone().of_customer(customer_id.clone());
        let of_organization = organization_id.map(|id| {
            [all.clone(), of_customer.clone()].map(|filter| filter.of_organization(id.clone()))
        });
        [all, of_customer].into_iter().chain(of_organization.into_iter().flatten())
    }

    /// Returns whether the filter matches `session`.
    #[must_use]
    pub fn matches(&self, session: &Session) -> bool {
        self.customer_id.as_ref().is_none_or(|id| id == session.customer_id())
            && self.organization_id.as_ref().is_none_or(|id| Some(id) == session.organization_id())
    }
}

/// The part of a list of sessions to return.
///
/// The cost of a page after a position does not depend on the position; a page with an offset also costs what it
/// skips.
///
/// ```
/// use countersign::store::PageRequest;
/// # use countersign::{Actor, Error, RequestContext, TokenService};
/// # async fn use_it(tokens: TokenService, context: RequestContext) -> Result<(), Error> {
/// // All sessions, a hundred at a time, each once:
/// let mut page = PageRequest::first(100);
/// loop {
///     let listed = tokens.list_sessions(Actor::Host, None, page, &context).await?;
///     for session in &listed.sessions {
///         println!("{}", session.position().id);
///     }
///     let Some(last) = listed.sessions.last() else { break };
///     page = PageRequest::first(100).after(last.position());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PageRequest {
    /// The position after which the page begins; `None` for the start of the list.
    pub after: Option<SessionPosition>,
    /// The number of sessions to skip from there.
    pub offset: usize,
    /// The maximum number of sessions to return.
    pub limit: usize,
}

impl PageRequest {
    /// How many sessions behind a page are counted.
    const COUNTED_BEHIND: usize = 10_000;

    /// Creates a request for the first page.
    #[must_use]
    pub const fn first(limit: usize) -> Self {
        Self { after: None, offset: 0, limit }
    }

    /// Skips `offset` sessions.
    #[must_use]
    pub fn offset(self, offset: usize) -> Self {
        Self { offset, ..self }
    }

    /// Sets the position after which the page begins; that session need not exist any more.
    #[must_use]
    pub fn after(self, position: SessionPosition) -> Self {
        Self { after: Some(position), ..self }
    }

    /// Returns up to which number [`SessionPage::total`] is exact: up to 10,000 sessions after the page, if the page
    /// begins at the start of the list.
    #[must_use]
    pub fn count_up_to(&self) -> usize {
        self.offset.saturating_add(self.limit).saturating_add(Self::COUNTED_BEHIND)
    }
}

/// A part of a list of sessions.
#[derive(Clone, Debug)]
pub struct SessionPage {
    /// The sessions of this page.
    pub sessions: Vec<Session>,
    /// The number of sessions on all pages that the filter matches: exact up to [`PageRequest::count_up_to`], and
    /// never less than that if there are more.
    pub total: usize,
}

/// A part of the sessions of a subject.
#[derive(Clone, Debug)]
pub struct SubjectSessions {
    /// The sessions of this part, in no particular order.
    pub sessions: Vec<Session>,
    /// Where the next part begins; `None` if this is the last one.
    pub next: Option<Cursor>,
}

/// The position of a reader in the feed or among the sessions of a subject, in a format of the store's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor(Option<Arc<str>>);

impl Cursor {
    /// The position before everything.
    pub const START: Self = Self(None);

    /// Creates a cursor from the store's own mark.
    #[must_use]
    pub fn new(mark: &str) -> Self {
        Self(Some(mark.into()))
    }

    /// Returns the mark that the store made; `None` for [`START`](Self::START).
    #[must_use]
    pub fn mark(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// An entry of the feed that nodes share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FeedEvent {
    /// Tokens were revoked.
    Revoked(Revocation),
    /// A principal has changed, so cached copies of it are outdated. Nothing is revoked.
    EntityChanged {
        /// The principal.
        id: EntityId,
        /// When the entry may be forgotten.
        until: Timestamp,
    },
    /// An entry of a later release, which this release may ignore.
    Skipped,
    /// An entry that cannot be read. It is counted, logged once and skipped.
    Unreadable {
        /// Where it stands in the feed.
        position: Arc<str>,
        /// Why it cannot be read, with nothing of its content.
        reason: String,
    },
}

impl FeedEvent {
    /// Returns when the entry may be forgotten.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        match self {
            Self::Revoked(revocation) => revocation.until,
            Self::EntityChanged { until, .. } => *until,
            Self::Skipped | Self::Unreadable { .. } => Timestamp::MIN,
        }
    }
}

impl From<Revocation> for FeedEvent {
    fn from(revocation: Revocation) -> Self {
        Self::Revoked(revocation)
    }
}

/// A part of the feed.
#[derive(Clone, Debug)]
pub struct FeedPage {
    /// The entries, in no particular order.
    pub events: Vec<FeedEvent>,
    /// The cursor for the next read.
    pub next: Cursor,
    /// Whether the page reaches the end of the feed. If not, the rest can be read at once.
    pub is_complete: bool,
    /// Whether the engine has lost the history of the cursor, as in a crash, a failover or a restore, so that earlier
    /// events may be missing. The page then begins at the start of the feed. A store that never loses a confirmed
    /// write returns `false`.
    pub history_changed: bool,
}
