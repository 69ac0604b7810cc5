//! What a store of sessions is asked, and what it returns.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::service::model::entity::EntityId;
use crate::service::model::revocation::Revocation;
use crate::service::model::session::Session;
use crate::service::model::session_position::SessionPosition;
use crate::token::identifier::{CustomerId, OrganizationId};

/// Which sessions to list; what is not set does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SessionFilter {
    /// Those of one customer.
    pub customer_id: Option<CustomerId>,
    /// Those of one organization.
    pub organization_id: Option<OrganizationId>,
}

impl SessionFilter {
    /// All sessions.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Restricts to those of one customer.
    #[must_use]
    pub fn of_customer(mut self, customer_id: CustomerId) -> Self {
        self.customer_id = Some(customer_id);
        self
    }

    /// Restricts to those of one organization.
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

    /// Returns whether `session` is one of them.
    #[must_use]
    pub fn matches(&self, session: &Session) -> bool {
        self.customer_id.as_ref().is_none_or(|id| id == session.customer_id())
            && self.organization_id.as_ref().is_none_or(|id| Some(id) == session.organization_id())
    }
}

/// Which part of a list of sessions to return.
///
/// A page behind a position costs the same wherever it begins; one with an offset also costs what it skips.
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
    /// The position behind which the page begins; the start of the list if there is none.
    pub after: Option<SessionPosition>,
    /// How many sessions to skip from there.
    pub offset: usize,
    /// How many sessions to return at most.
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

    /// Begins behind a session of an earlier page, whether or not that still lives.
    #[must_use]
    pub fn after(self, position: SessionPosition) -> Self {
        Self { after: Some(position), ..self }
    }

    /// Returns how far [`SessionPage::total`] is exact: up to 10,000 sessions behind the page, if the page begins
    /// at the start of the list.
    #[must_use]
    pub fn count_up_to(&self) -> usize {
        self.offset.saturating_add(self.limit).saturating_add(Self::COUNTED_BEHIND)
    }
}

/// A part of a list of sessions.
#[derive(Clone, Debug)]
pub struct SessionPage {
    /// The sessions of this part.
    pub sessions: Vec<Session>,
    /// How many sessions the filter matches, on whatever page: exact up to
    /// [`PageRequest::count_up_to`], and beyond that no less.
    pub total: usize,
}

/// The position of a reader in the feed, in a form of the store's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor(Option<Arc<str>>);

impl Cursor {
    /// Before everything.
    pub const START: Self = Self(None);

    /// A store's own mark.
    #[must_use]
    pub fn new(mark: &str) -> Self {
        Self(Some(mark.into()))
    }

    /// The mark that the store made, none for [`START`](Self::START).
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
    /// A principal has changed, so that copies of it are out of date. Nothing is revoked.
    EntityChanged {
        /// The principal.
        id: EntityId,
        /// When the entry may be forgotten.
        until: Timestamp,
    },
    /// An entry of a later release, which others leave out.
    Skipped,
    /// An entry that cannot be read. It is counted, logged once, and passed.
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
    /// Where to go on reading.
    pub next: Cursor,
    /// Whether that was all. Where it was not, the rest can be read at once.
    pub is_complete: bool,
    /// Whether the engine has lost the history that the cursor belonged to, as in a crash, a failover or
    /// a restore: what was published before may be gone. The page begins at the start, then. A store
    /// that loses nothing that it answered says `false`.
    pub history_changed: bool,
}
