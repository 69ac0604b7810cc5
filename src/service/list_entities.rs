//! Lists registered principals, page by page.

use crate::audit::{Attempt, Operation};
use crate::error::{Error, InvalidField};
use crate::service::model::entity::{Entity, EntityId};
use crate::service::token_service::TokenService;
use crate::token::claims::SubjectType;
use crate::token::identifier::OrganizationId;

/// The kinds of principals, in the order of [`EntityId`]s.
const KINDS: [SubjectType; 3] = [SubjectType::User, SubjectType::Machine, SubjectType::Customer];

/// A filter of registered principals. Fields that are not set do not restrict the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntityFilter {
    /// Only principals of this kind.
    pub subject_type: Option<SubjectType>,
    /// Only principals of this organization.
    pub organization_id: Option<OrganizationId>,
}

impl EntityFilter {
    /// Creates a filter that matches all registered principals.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Matches only principals of this kind.
    #[must_use]
    pub fn of_subject_type(mut self, subject_type: SubjectType) -> Self {
        self.subject_type = Some(subject_type);
        self
    }

    /// Matches only principals of this organization.
    #[must_use]
    pub fn of_organization(mut self, organization_id: OrganizationId) -> Self {
        self.organization_id = Some(organization_id);
        self
    }
}

/// A page of registered principals.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EntityList {
    /// The principals, in the order of their ids.
    pub entities: Vec<Entity>,
    /// The id to pass as `after` for the next page: that of this page's last principal. `None` if this is the last
    /// page.
    pub next: Option<EntityId>,
}

impl EntityList {
    /// The maximum number of principals on a page. At up to 10 KiB each, a store returns them well within a deadline.
    pub const MAX_LEN: usize = 1_000;
}

impl TokenService {
    /// Lists registered principals, including disabled ones, in the order of their [`EntityId`]s: users, machine
    /// clients, then customers' credentials, each by the bytes of the name, then of the organization. A page begins
    /// after
    /// the id `after`, which need not be registered any more.
    ///
    /// Reading all pages returns each principal exactly once that is registered throughout.
    ///
    /// ```
    /// # async fn example(tokens: countersign::TokenService) -> Result<(), countersign::Error> {
    /// use countersign::SubjectType;
    /// use countersign::entities::EntityFilter;
    ///
    /// let machines = EntityFilter::all().of_subject_type(SubjectType::Machine);
    /// let mut after = None;
    /// loop {
    ///     let page = tokens.list_entities(&machines, after.as_ref(), 100).await?;
    ///     for machine in &page.entities {
    ///         println!("{}", machine.id().name());
    ///     }
    ///     after = page.next;
    ///     if after.is_none() {
    ///         break;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidFields`](crate::ErrorKind::InvalidFields) if `limit` is not between 1 and [`EntityList::MAX_LEN`];
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if the store is unreachable.
    pub async fn list_entities(
        &self,
        filter: &EntityFilter,
        after: Option<&EntityId>,
        limit: usize,
    ) -> Result<EntityList, Error> {
        let attempt = Attempt {
            organization: filter.organization_id.as_ref(),
            ..Attempt::new(Operation::LIST_ENTITIES)
        };
        self.audited(attempt, self.try_list_entities(filter, after, limit)).await
    }

    async fn try_list_entities(
        &self,
        filter: &EntityFilter,
        after: Option<&EntityId>,
        limit: usize,
    ) -> Result<EntityList, Error> {
        if !(1..=EntityList::MAX_LEN).contains(&limit) {
            let message = format!("must be 1 to {}", EntityList::MAX_LEN);
            return Err(Error::from_invalid_fields(vec![InvalidField::new("limit", message)]));
        }
        let is_wanted = |sort: &SubjectType| {
            filter.subject_type.is_none_or(|wanted| wanted == *sort)
                && after.is_none_or(|after| after.subject_type() <= *sort)
        };
        // One more than requested, to learn whether there is a next page.
        let (mut entities, mut wanted) = (Vec::new(), limit + 1);
        for sort in KINDS.into_iter().filter(is_wanted) {
            let after = after.filter(|after| after.subject_type() == sort);
            let organization = filter.organization_id.as_ref();
            let listed = self.inner.stores.list_entities(sort, organization, after, wanted).await?;
            wanted = wanted.saturating_sub(listed.len());
            entities.extend(listed);
            if wanted == 0 {
                break;
            }
        }
        let is_more = entities.len() > limit;
        entities.truncate(limit);
        let next = entities.last().filter(|_| is_more).map(|last| last.id().clone());
        Ok(EntityList { entities, next })
    }
}
