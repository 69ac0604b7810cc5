//! The indexes that entities are listed by: the ids of a sort, and those of an organization.
//!
//! The record is the truth, and the indexes are derived from it, as those of sessions are. But an entity has
//! no end at which purging would find what is left over. So index entries that lead to nothing are removed by
//! who lists them. For nobody to lose an entry by that who is being registered or moved just then, no two
//! writes share one:
//!
//! - Before the record is written, an entry announces it; after that another one confirms it, and the first is
//!   removed. So who is registered has a confirmed entry, or the announcing one where the writer died.
//! - A confirmed entry is as old as a record that was there. Where it leads to nothing, that is gone, and
//!   who was registered since has an entry of their own: it is removed at once.
//! - One that announces may be of a write under way. It is removed only if there is still nothing after a
//!   while.

use std::future::Future;
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use redis::Cmd;

use crate::service::model::entity::{Entity, EntityId};
use crate::service::store::redis::RedisStore;
use crate::service::store::redis::keys::read_entity_id;
use crate::service::store::redis::records::new_writer_id;
use crate::service::store::redis::sessions::AT_ONCE;
use crate::service::store::{EntityStore as _, StoreError};
use crate::token::claims::SubjectType;
use crate::token::identifier::OrganizationId;

/// How long a write is waited for that was announced: longer than a live one takes.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between the text of an id and what tells its entries apart. No id has it, and what follows an id sorts behind it.
const SEPARATOR: char = '\0';
/// Behind all entries of an id, and before those of every longer one.
const BEHIND: char = '\u{1}';
const ANNOUNCING: char = '~';

/// An entry of an index.
#[derive(Clone, Debug)]
pub(super) struct IndexEntry {
    index: String,
    member: String,
}

impl IndexEntry {
    pub(super) fn new(index: &str, id: &EntityId, tail: &str) -> Self {
        Self { index: index.to_owned(), member: format!("{}{SEPARATOR}{tail}", id.to_index_text()) }
    }

    fn id(&self, subject_type: SubjectType) -> Option<EntityId> {
        read_entity_id(subject_type, self.parts().0)
    }

    fn announces(&self) -> bool {
        self.parts().1.starts_with(ANNOUNCING)
    }

    fn parts(&self) -> (&str, &str) {
        self.member.split_once(SEPARATOR).unwrap_or((&self.member, ""))
    }

    pub(super) fn add(&self) -> Cmd {
        Cmd::zadd(&self.index, &self.member, 0)
    }

    fn remove(&self) -> Cmd {
        Cmd::zrem(&self.index, &self.member)
    }
}

/// What a part of an index leads to.
#[derive(Default)]
struct Found {
    entities: Vec<Entity>,
    /// Confirmed entries that lead to nothing.
    outdated: Vec<IndexEntry>,
    /// Announcing ones that do.
    announcing: Vec<IndexEntry>,
}

impl RedisStore {
    /// Writes a record, and the entries that it has in some indexes of its sort from then on.
    pub(super) async fn write_indexed(
        &self,
        id: &EntityId,
        organizations: &[Option<&OrganizationId>],
        writing: impl Future<Output = Result<(), StoreError>>,
    ) -> Result<(), StoreError> {
        let client = &self.inner.client;
        let writer = new_writer_id();
        let entries = |tail: &str| -> Vec<IndexEntry> {
            let indexes = organizations.iter();
            let indexes = indexes.map(|one| self.inner.keys.entities(id.subject_type(), *one));
            indexes.map(|index| IndexEntry::new(&index, id, tail)).collect()
        };
        let announcing = entries(&format!("{ANNOUNCING}{writer}"));
        let adding = announcing.iter().map(IndexEntry::add).collect::<Vec<_>>();
        client.query_all(&adding).await?;
        let written = writing.await;
        match &written {
            Ok(()) => {
                let confirmed = entries(&writer);
                let confirming = confirmed.into_iter().map(|entry| self.confirm_entry(entry));
                try_join_all(confirming).await?;
            }
            Err(StoreError::Conflict) => {}
            // It may have been written all the same.
            Err(_) => return written,
        }
        self.remove_index_entries(announcing).await;
        written
    }

    /// Adds an entry, also where the server's memory is full: the record is there.
    async fn confirm_entry(&self, entry: IndexEntry) -> Result<(), StoreError> {
        let IndexEntry { index, member } = entry;
        self.inner.client.run(&self.inner.index, &[&index], &["0".to_owned(), member]).await
    }

    /// Returns the entries that an id has.
    pub(super) async fn find_index_entries(
        &self,
        id: &EntityId,
        organization: Option<&OrganizationId>,
    ) -> Result<Vec<IndexEntry>, StoreError> {
        let (text, mut found) = (id.to_index_text(), Vec::new());
        for organization in [None].into_iter().chain(organization.map(Some)) {
            let index = self.inner.keys.entities(id.subject_type(), organization);
            let (first, end) = (format!("[{text}{SEPARATOR}"), format!("({text}{BEHIND}"));
            let members: Vec<String> =
                self.inner.client.read(&Cmd::zrangebylex(&index, first, end)).await?;
            let entries = members.into_iter();
            found.extend(entries.map(|member| IndexEntry { index: index.clone(), member }));
        }
        Ok(found)
    }

    /// Removes entries. Those that cannot be are left for who lists them.
    pub(super) async fn remove_index_entries(&self, entries: Vec<IndexEntry>) {
        let removing = entries.iter().map(IndexEntry::remove).collect::<Vec<_>>();
        if let Err(error) = self.inner.client.query_all(&removing).await {
            tracing::debug!(%error, "index entries of an entity are left for who lists them");
        }
    }

    pub(super) async fn list_indexed(
        &self,
        subject_type: SubjectType,
        organization: Option<&OrganizationId>,
        after: Option<&EntityId>,
        limit: usize,
    ) -> Result<Vec<Entity>, StoreError> {
        let index = self.inner.keys.entities(subject_type, organization);
        let after = after.map(EntityId::to_index_text);
        let mut from = after.map_or_else(|| "-".to_owned(), |after| format!("[{after}{BEHIND}"));
        let mut found = Found::default();
        while found.entities.len() < limit {
            let wanted = limit - found.entities.len();
            let part = isize::try_from(wanted).unwrap_or(isize::MAX);
            let reading = Cmd::zrangebylex_limit(&index, &from, "+", 0, part);
            let members: Vec<String> = self.inner.client.read(&reading).await?;
            let is_last = members.len() < wanted;
            if let Some(last) = members.last() {
                from = format!("({last}");
            }
            let entries = members.into_iter();
            let entries =
                entries.map(|member| IndexEntry { index: index.clone(), member }).collect();
            self.follow(subject_type, organization, entries, &mut found).await?;
            if is_last {
                break;
            }
        }
        if !found.outdated.is_empty() {
            self.remove_index_entries(found.outdated).await;
        }
        if !found.announcing.is_empty() {
            let (store, organization) = (self.clone(), organization.cloned());
            tokio::spawn(async move {
                tokio::time::sleep(PATIENCE).await;
                let mut found_later = Found::default();
                let organization = organization.as_ref();
                let following =
                    store.follow(subject_type, organization, found.announcing, &mut found_later);
                match following.await {
                    Ok(()) => store.remove_index_entries(found_later.announcing).await,
                    Err(error) => tracing::debug!(%error, "index entries of an entity are left"),
                }
            });
        }
        Ok(found.entities)
    }

    /// Reads what entries lead to, each entity once.
    async fn follow(
        &self,
        subject_type: SubjectType,
        organization: Option<&OrganizationId>,
        entries: Vec<IndexEntry>,
        found: &mut Found,
    ) -> Result<(), StoreError> {
        let reading = stream::iter(entries).map(async |entry| {
            let read = match entry.id(subject_type) {
                // What cannot be read is there all the same.
                Some(id) => match self.get(&id).await.map(Some) {
                    Err(StoreError::Corrupt(_)) => None,
                    read => read?,
                },
                None => Some(None),
            };
            let is_there = |entity: &Entity| {
                organization.is_none() || entity.organization_id() == organization
            };
            Ok::<_, StoreError>(read.map(|read| (entry, read.filter(is_there))))
        });
        let mut read = std::pin::pin!(reading.buffered(AT_ONCE));
        while let Some(read) = read.try_next().await? {
            let Some((entry, entity)) = read else { continue };
            match entity {
                // A write under way has two entries for a moment.
                Some(entity) => {
                    let is_another = |last: &Entity| last.id() != entity.id();
                    if found.entities.last().is_none_or(is_another) {
                        found.entities.push(entity);
                    }
                }
                None if entry.announces() => found.announcing.push(entry),
                None => found.outdated.push(entry),
            }
        }
        Ok(())
    }
}
