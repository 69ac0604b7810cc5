/// A verb of one of the three store traits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreVerb {
    /// `Store::is_current`
    IsCurrent,
    /// `Store::time`
    Time,
    /// `Store::read_sealing_check`
    ReadSealingCheck,
    /// `Store::write_sealing_check`
    WriteSealingCheck,
    /// `EntityStore::insert`
    InsertEntity,
    /// `EntityStore::get`
    GetEntity,
    /// `EntityStore::replace`
    ReplaceEntity,
    /// `EntityStore::list`
    ListEntities,
    /// `EntityStore::remove`
    RemoveEntity,
    /// `SessionStore::insert`
    InsertSession,
    /// `SessionStore::get`
    GetSession,
    /// `SessionStore::replace`
    ReplaceSession,
    /// `SessionStore::take`
    TakeSession,
    /// `SessionStore::remove`
    RemoveSession,
    /// `SessionStore::list`
    ListSessions,
    /// `SessionStore::count`
    CountSessions,
    /// `SessionStore::of_subject`
    SessionsOfSubject,
    /// `SessionStore::publish`
    Publish,
    /// `SessionStore::read_feed`
    ReadFeed,
    /// `SessionStore::purge_expired`
    PurgeExpired,
    /// `KeyStore::get`
    GetKeys,
    /// `KeyStore::insert`
    InsertKeys,
    /// `KeyStore::replace`
    ReplaceKeys,
}

impl StoreVerb {
    fn is_read(self) -> bool {
        matches!(
            self,
            Self::IsCurrent
                | Self::Time
                | Self::ReadSealingCheck
                | Self::GetEntity
                | Self::ListEntities
                | Self::GetSession
                | Self::ListSessions
                | Self::CountSessions
                | Self::SessionsOfSubject
                | Self::ReadFeed
                | Self::GetKeys
        )
    }
}

/// Selects calls to a [`FaultyStore`](super::FaultyStore), counted from when they are scripted.
///
/// A [`StoreVerb`] converts into all calls of that verb, and an array of them into all calls of
/// any of them.
///
/// ```
/// use countersign::store::MemoryStore;
/// use countersign::testing::{Calls, FaultyStore, StoreFault, StoreVerb};
///
/// let store = FaultyStore::new(MemoryStore::new());
/// // A store that is read-only.
/// store.fail(Calls::writes(), StoreFault::unavailable("read-only"));
/// // The third call, whatever it is.
/// store.fail(Calls::all().skip(2).take(1), StoreFault::hang());
/// // Every replacement of a session comes too late.
/// store.fail(StoreVerb::ReplaceSession, StoreFault::conflict());
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Calls {
    verbs: Verbs,
    skip: usize,
    take: usize,
}

#[derive(Clone, Debug)]
enum Verbs {
    All,
    Writes,
    These(Vec<StoreVerb>),
}

impl Calls {
    /// Selects all calls.
    pub fn all() -> Self {
        Self::new(Verbs::All)
    }

    /// Selects the calls that can change what is stored.
    pub fn writes() -> Self {
        Self::new(Verbs::Writes)
    }

    fn new(verbs: Verbs) -> Self {
        Self { verbs, skip: 0, take: usize::MAX }
    }

    /// Leaves out the first `count` of the calls. By default, none.
    pub fn skip(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// Selects `count` calls at most, not counting those that [`skip`](Self::skip) leaves out. By
    /// default, any number.
    pub fn take(mut self, count: usize) -> Self {
        self.take = count;
        self
    }

    /// Counts a call, and returns whether it is selected.
    pub(super) fn select(&mut self, verb: StoreVerb) -> bool {
        if !self.include(verb) || self.take == 0 {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if self.take != usize::MAX {
            self.take -= 1;
        }
        true
    }

    /// How many calls are still to be selected: `usize::MAX` for any number.
    pub(super) fn left(&self) -> usize {
        self.take
    }

    fn include(&self, verb: StoreVerb) -> bool {
        match &self.verbs {
            Verbs::All => true,
            Verbs::Writes => !verb.is_read(),
            Verbs::These(verbs) => verbs.contains(&verb),
        }
    }
}

impl From<StoreVerb> for Calls {
    fn from(verb: StoreVerb) -> Self {
        Self::from([verb])
    }
}

impl<const N: usize> From<[StoreVerb; N]> for Calls {
    fn from(verbs: [StoreVerb; N]) -> Self {
        Self::new(Verbs::These(verbs.into()))
    }
}
