//! The suite that every store passes: ours, and one of your own.
//!
//! Each rule of the [contract](crate::store) is a case; one that is broken panics, naming the
//! rule. All keys are random, so a store that is shared or holds data may be used.
//!
//! ```
//! use std::sync::Arc;
//! use countersign::store::{MemoryStore, conformance};
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! conformance::check_entity_store(Arc::new(MemoryStore::new())).await;
//! conformance::check_session_store(Arc::new(MemoryStore::new())).await;
//! conformance::check_key_store(Arc::new(MemoryStore::new())).await;
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```

#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a broken rule is reported by a panic"
)]

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::domain::acl::Acl;
use crate::domain::claims::SubjectType;
use crate::domain::entity::{Entity, EntityId};
use crate::domain::identifier::{CustomerId, OrganizationId, SessionId};
use crate::domain::key_schedule::{KeySchedule, ScheduledKey};
use crate::domain::revocation::{Revocation, RevocationTarget};
use crate::domain::sealing::Sealed;
use crate::domain::session::{AuthenticationToken, Session, SessionKey};
use crate::store::{Cursor, EntityStore, KeyStore, Page, SessionFilter, SessionStore, StoreError};

const RACERS: usize = 64;
const HOUR: Duration = Duration::from_secs(3_600);
const ALL: Page = Page { offset: 0, limit: 1_000 };

/// Checks an [`EntityStore`].
///
/// # Panics
///
/// Where a rule is broken.
pub async fn check_entity_store(store: Arc<dyn EntityStore>) {
    an_entity_is_answered_as_it_was_written(&*store).await;
    an_id_is_registered_once(&*store).await;
    of_racing_inserts_one_succeeds(&store).await;
    of_racing_replaces_of_one_version_one_succeeds(&store).await;
    a_stale_or_late_replace_conflicts_and_resurrects_nothing(&*store).await;
    an_entity_is_removed_once(&store).await;
    what_was_written_through_a_store_is_recent_in_it(&*store).await;
    a_write_that_is_dropped_halfway_is_whole_or_not_there(&*store).await;
}

/// Checks a [`SessionStore`].
///
/// # Panics
///
/// Where a rule is broken.
pub async fn check_session_store(store: Arc<dyn SessionStore>) {
    a_session_is_answered_as_it_was_written(&*store).await;
    a_key_is_taken_by_one_session(&store).await;
    of_racing_session_replaces_one_succeeds(&store).await;
    of_racing_takes_one_gets_the_session(&store).await;
    a_take_and_a_replace_never_both_succeed(&store).await;
    a_stale_take_conflicts_and_takes_nothing(&*store).await;
    what_was_taken_stays_gone(&*store).await;
    a_take_that_is_dropped_halfway_takes_or_leaves(&*store).await;
    lists_are_of_live_sessions_in_order_filtered_and_paged(&*store).await;
    a_session_is_removed_by_its_id_once(&store).await;
    removing_a_subject_removes_its_sessions_alone(&*store).await;
    removing_a_subject_leaves_what_was_created_later(&*store).await;
    purging_removes_what_has_ended_alone(&*store).await;
    the_feed_answers_all_that_came_after_the_cursor(&*store).await;
    the_feed_wakes_a_reader_that_waits(&store).await;
    the_feed_gives_everything_to_each_reader(&*store).await;
    a_feed_that_is_followed_while_others_publish_loses_nothing(&store).await;
}

/// Checks a [`KeyStore`], one with no keys in it: what it writes is no key, and opens nowhere.
///
/// # Panics
///
/// Where a rule is broken.
pub async fn check_key_store(store: Arc<dyn KeyStore>) {
    of_racing_nodes_one_writes_the_first_keys(&store).await;
    keys_are_answered_as_they_were_written(&*store).await;
    of_racing_replaces_of_keys_one_succeeds(&store).await;
    a_stale_replace_of_keys_conflicts(&*store).await;
}

/// The present: purging what ended by a later time would take others' live sessions with it.
fn now() -> Timestamp {
    SystemClock.now()
}

fn unique() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn entity() -> Entity {
    Entity::entity(unique()).unwrap()
}

fn session_of(customer: &CustomerId, created_at: Timestamp) -> Session {
    let key = AuthenticationToken::generate().unwrap().key();
    let id = SessionId::new(unique()).unwrap();
    Session::new(key, id, customer.clone(), created_at, created_at + HOUR)
}

fn session() -> Session {
    session_of(&CustomerId::new(unique()).unwrap(), now())
}

/// Runs as many futures at once as there are racers, and answers how many were true.
async fn race<F>(mut runner: impl FnMut() -> F) -> usize
where
    F: Future<Output = bool> + Send + 'static,
{
    let running: Vec<_> = (0..RACERS).map(|_| tokio::spawn(runner())).collect();
    let mut winners = 0;
    for running in running {
        winners += usize::from(running.await.expect("a racer panicked"));
    }
    winners
}

/// Whether it succeeded; losing is a conflict and nothing else.
#[track_caller]
fn won(outcome: Result<(), StoreError>) -> bool {
    match outcome {
        Ok(()) => true,
        Err(StoreError::Conflict) => false,
        Err(error) => panic!("losing a race has to be a conflict, and was: {error:?}"),
    }
}

/// Polls once and drops, as a caller does that hangs up.
fn drop_halfway(future: impl Future) {
    let mut future = std::pin::pin!(future);
    let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

async fn an_entity_is_answered_as_it_was_written(store: &dyn EntityStore) {
    let organization = OrganizationId::new(unique()).ok();
    let written = entity().with_acl(Acl::everything()).with_organization(organization);
    store.insert(written.clone()).await.unwrap();
    let read = store.get(written.id()).await.unwrap().expect("what was inserted is there");
    assert_eq!(read.acl(), written.acl());
    assert_eq!(read.organization_id(), written.organization_id());
    assert_eq!(read.version(), written.version());
    let other_sort = EntityId::user(written.id().name()).unwrap();
    assert!(store.get(&other_sort).await.unwrap().is_none(), "names are told apart by sort");
}

async fn an_id_is_registered_once(store: &dyn EntityStore) {
    let first = entity().with_acl(Acl::everything());
    store.insert(first.clone()).await.unwrap();
    let second = first.clone().with_acl(Acl::default());
    assert!(!won(store.insert(second).await), "a second insert has to conflict");
    let read = store.get(first.id()).await.unwrap().unwrap();
    assert_eq!(read.acl(), first.acl(), "a failed insert has to change nothing");
}

async fn of_racing_inserts_one_succeeds(store: &Arc<dyn EntityStore>) {
    let contested = entity();
    let winners = race(|| {
        let (store, entity) = (Arc::clone(store), contested.clone());
        async move { won(store.insert(entity).await) }
    });
    assert_eq!(winners.await, 1, "of racing inserts one has to succeed");
}

async fn of_racing_replaces_of_one_version_one_succeeds(store: &Arc<dyn EntityStore>) {
    let contested = entity();
    store.insert(contested.clone()).await.unwrap();
    let winners = race(|| {
        let (store, entity) = (Arc::clone(store), contested.clone());
        let version = entity.version();
        async move { won(store.replace(entity.next_version(), version).await) }
    });
    assert_eq!(winners.await, 1, "of racing replaces of one version one has to succeed");
    let read = store.get(contested.id()).await.unwrap().unwrap();
    assert_eq!(read.version(), contested.next_version().version());
}

async fn a_stale_or_late_replace_conflicts_and_resurrects_nothing(store: &dyn EntityStore) {
    let first = entity();
    store.insert(first.clone()).await.unwrap();
    let second = first.clone().next_version();
    store.replace(second.clone(), first.version()).await.unwrap();
    let stale = store.replace(first.clone().next_version(), first.version());
    assert!(!won(stale.await), "a stale replace has to conflict");
    assert!(store.remove(first.id()).await.unwrap());
    let late = store.replace(second.clone().next_version(), second.version());
    assert!(!won(late.await), "a replace of what is gone has to conflict");
    assert!(store.get(first.id()).await.unwrap().is_none(), "and must not bring it back");
}

async fn an_entity_is_removed_once(store: &Arc<dyn EntityStore>) {
    let contested = entity();
    store.insert(contested.clone()).await.unwrap();
    let winners = race(|| {
        let (store, id) = (Arc::clone(store), contested.id().clone());
        async move { store.remove(&id).await.unwrap() }
    });
    assert_eq!(winners.await, 1, "of racing removals one has to have removed it");
}

async fn what_was_written_through_a_store_is_recent_in_it(store: &dyn EntityStore) {
    let entity = entity();
    let (id, version) = (entity.id().clone(), entity.version());
    let recent = async || {
        let now = now();
        let recent = store.get_recent(&id, now).await.unwrap();
        assert!(recent.as_ref().is_none_or(|recent| recent.read_at <= now));
        recent.map(|recent| recent.entity.version())
    };
    assert_eq!(recent().await, None);
    store.insert(entity.clone()).await.unwrap();
    assert_eq!((recent().await, recent().await), (Some(version), Some(version)));
    store.replace(entity.next_version(), version).await.unwrap();
    assert_eq!(recent().await, Some(version + 1), "what was there before is answered no more");
    store.forget(&id);
    assert_eq!(recent().await, Some(version + 1));
    assert!(store.remove(&id).await.unwrap());
    assert_eq!(recent().await, None, "what was removed is answered no more");
}

async fn a_write_that_is_dropped_halfway_is_whole_or_not_there(store: &dyn EntityStore) {
    for _ in 0..RACERS {
        let written = entity().with_acl(Acl::everything());
        drop_halfway(store.insert(written.clone()));
        // It may not have begun, be under way, or be done.
        let _ = won(store.insert(written.clone()).await);
        let read = store.get(written.id()).await.unwrap().expect("one of the two was written");
        assert_eq!(read.acl(), written.acl(), "half a record is none");
    }
}

async fn a_session_is_answered_as_it_was_written(store: &dyn SessionStore) {
    let written = session();
    store.insert(written.clone(), now()).await.unwrap();
    let read = store.get(&written.key()).await.unwrap().expect("what was inserted is there");
    assert_eq!(read.id(), written.id());
    assert_eq!(read.customer_id(), written.customer_id());
    assert_eq!(read.created_at(), written.created_at());
    assert_eq!(read.expires_at(), written.expires_at());
    assert_eq!(read.version(), written.version());
    let nobodys = AuthenticationToken::generate().unwrap().key();
    assert!(store.get(&nobodys).await.unwrap().is_none());
}

async fn a_key_is_taken_by_one_session(store: &Arc<dyn SessionStore>) {
    let contested = session();
    let winners = race(|| {
        let (store, session) = (Arc::clone(store), contested.clone());
        async move { won(store.insert(session, now()).await) }
    });
    assert_eq!(winners.await, 1, "of racing inserts one has to succeed");
}

async fn of_racing_session_replaces_one_succeeds(store: &Arc<dyn SessionStore>) {
    let contested = session();
    store.insert(contested.clone(), now()).await.unwrap();
    let winners = race(|| {
        let (store, session) = (Arc::clone(store), contested.clone());
        let version = session.version();
        async move { won(store.replace(session.next_version(now()), version, now()).await) }
    });
    assert_eq!(winners.await, 1, "of racing replaces of one version one has to succeed");
}

async fn of_racing_takes_one_gets_the_session(store: &Arc<dyn SessionStore>) {
    let contested = session();
    store.insert(contested.clone(), now()).await.unwrap();
    let winners = race(|| {
        let (store, key, version) = (Arc::clone(store), contested.key(), contested.version());
        async move { store.take(&key, version).await.unwrap().is_some() }
    });
    assert_eq!(winners.await, 1, "of racing takes one has to get the session");
}

async fn a_take_and_a_replace_never_both_succeed(store: &Arc<dyn SessionStore>) {
    for _ in 0..RACERS {
        let contested = session();
        store.insert(contested.clone(), now()).await.unwrap();
        let (key, version) = (contested.key(), contested.version());
        let taker = Arc::clone(store);
        let taking = tokio::spawn(async move { taker.take(&key, version).await });
        let replaced = won(store.replace(contested.next_version(now()), version, now()).await);
        let taken = match taking.await.expect("a racer panicked") {
            Ok(taken) => taken.is_some(),
            Err(StoreError::Conflict) => false,
            Err(error) => panic!("losing a race has to be a conflict, and was: {error:?}"),
        };
        assert!(replaced != taken, "of a take and a replace of one version one has to succeed");
        assert_eq!(store.get(&key).await.unwrap().is_some(), replaced);
    }
}

async fn a_stale_take_conflicts_and_takes_nothing(store: &dyn SessionStore) {
    let first = session();
    store.insert(first.clone(), now()).await.unwrap();
    let second = first.clone().next_version(now());
    store.replace(second, first.version(), now()).await.unwrap();
    let stale = store.take(&first.key(), first.version()).await;
    assert!(matches!(stale, Err(StoreError::Conflict)), "a stale take has to conflict");
    assert!(store.get(&first.key()).await.unwrap().is_some(), "and to leave the session");
}

async fn what_was_taken_stays_gone(store: &dyn SessionStore) {
    let taken = session();
    store.insert(taken.clone(), now()).await.unwrap();
    assert!(store.take(&taken.key(), taken.version()).await.unwrap().is_some());
    let late = store.replace(taken.clone().next_version(now()), taken.version(), now());
    assert!(!won(late.await), "a replace of what is gone has to conflict");
    assert!(store.get(&taken.key()).await.unwrap().is_none(), "and must not bring it back");
    assert!(store.take(&taken.key(), taken.version()).await.unwrap().is_none());
}

async fn a_take_that_is_dropped_halfway_takes_or_leaves(store: &dyn SessionStore) {
    for _ in 0..RACERS {
        let contested = session();
        store.insert(contested.clone(), now()).await.unwrap();
        drop_halfway(store.take(&contested.key(), contested.version()));
        let again = store.take(&contested.key(), contested.version()).await.unwrap();
        assert!(again.is_none_or(|session| session.id() == contested.id()));
        assert!(store.get(&contested.key()).await.unwrap().is_none());
    }
}

async fn lists_are_of_live_sessions_in_order_filtered_and_paged(store: &dyn SessionStore) {
    let customer = CustomerId::new(unique()).unwrap();
    let organization = OrganizationId::new(unique()).unwrap();
    let mut written = Vec::new();
    for age in [3_u32, 1, 4, 2] {
        let mut session = session_of(&customer, now() - Duration::from_secs(60) * age);
        if age == 1 {
            session.organization_id = Some(organization.clone());
        }
        store.insert(session.clone(), now()).await.unwrap();
        written.push(session);
    }
    let mut ended = session_of(&customer, now() - HOUR * 2);
    ended.expires_at = now();
    store.insert(ended, now() - HOUR).await.unwrap();
    store.insert(session(), now()).await.unwrap();
    written.sort_by_key(Session::created_at);
    let keys =
        |sessions: &[Session]| sessions.iter().map(Session::key).collect::<Vec<SessionKey>>();

    let theirs = SessionFilter::all().of_customer(customer);
    let all = store.list(&theirs, ALL, now()).await.unwrap();
    assert_eq!(all.total, 4, "a list has what is live, and all of it");
    assert_eq!(keys(&all.sessions), keys(&written), "a list begins with the oldest");
    let middle = store.list(&theirs, Page { offset: 1, limit: 2 }, now()).await.unwrap();
    assert_eq!(middle.total, 4, "the total is that of the list, not of the page");
    assert_eq!(keys(&middle.sessions), keys(&written[1..3]));
    let beyond = store.list(&theirs, Page { offset: 9, limit: 2 }, now()).await.unwrap();
    assert!(beyond.sessions.is_empty() && beyond.total == 4);
    let both = store.list(&theirs.of_organization(organization), ALL, now()).await.unwrap();
    assert_eq!(both.total, 1, "filters have to hold together");
}

async fn removing_a_subject_removes_its_sessions_alone(store: &dyn SessionStore) {
    let customer = CustomerId::new(unique()).unwrap();
    let other = session();
    store.insert(other.clone(), now()).await.unwrap();
    for _ in 0..3 {
        store.insert(session_of(&customer, now()), now()).await.unwrap();
    }
    let removed = store.remove_subject(&customer, Timestamp::MAX).await.unwrap();
    assert_eq!(removed.len(), 3, "those that were removed have to be answered");
    for session in removed {
        assert!(store.get(&session.key()).await.unwrap().is_none());
    }
    assert!(store.get(&other.key()).await.unwrap().is_some());
}

async fn removing_a_subject_leaves_what_was_created_later(store: &dyn SessionStore) {
    let customer = CustomerId::new(unique()).unwrap();
    let instant = now();
    let [early, late] =
        [session_of(&customer, instant - Duration::from_micros(1)), session_of(&customer, instant)];
    store.insert(early.clone(), now()).await.unwrap();
    store.insert(late.clone(), now()).await.unwrap();
    let removed = store.remove_subject(&customer, instant).await.unwrap();
    assert_eq!(removed.iter().map(Session::id).collect::<Vec<_>>(), [early.id()]);
    assert!(store.get(&early.key()).await.unwrap().is_none());
    assert!(store.get(&late.key()).await.unwrap().is_some(), "to the microsecond");
}

async fn a_session_is_removed_by_its_id_once(store: &Arc<dyn SessionStore>) {
    let written = session();
    store.insert(written.clone(), now()).await.unwrap();
    let nobodys = SessionId::new(unique()).unwrap();
    assert!(store.remove(&nobodys).await.unwrap().is_none());
    let later = written.clone().next_version(now());
    store.replace(later, written.version(), now()).await.unwrap();
    let winners = race(|| {
        let (store, id) = (Arc::clone(store), written.id().clone());
        async move { store.remove(&id).await.unwrap().is_some() }
    });
    assert_eq!(winners.await, 1, "of racing removals one has to get the session");
    assert!(store.get(&written.key()).await.unwrap().is_none());
}

async fn purging_removes_what_has_ended_alone(store: &dyn SessionStore) {
    let customer = CustomerId::new(unique()).unwrap();
    let ended = session_of(&customer, now() - HOUR);
    let live = session_of(&customer, now());
    store.insert(ended.clone(), now() - HOUR).await.unwrap();
    store.insert(live.clone(), now()).await.unwrap();
    while store.purge_expired(now()).await.unwrap() > 0 {}
    assert!(store.get(&ended.key()).await.unwrap().is_none(), "what has ended has to go");
    assert!(store.get(&live.key()).await.unwrap().is_some(), "what is live has to stay");
}

fn revocation() -> Revocation {
    let subject = unique();
    let target =
        RevocationTarget::SubjectBefore { subject_type: SubjectType::User, subject, before: now() };
    Revocation { target, until: now() + HOUR }
}

/// All that came after the cursor, in however many parts, and where to go on.
async fn read_to_the_end(store: &dyn SessionStore, after: &Cursor) -> (Vec<Revocation>, Cursor) {
    let (mut all, mut after) = (Vec::new(), after.clone());
    loop {
        let part = store.revocations(&after, Duration::ZERO).await.unwrap();
        all.extend(part.revocations);
        after = part.next;
        if part.is_complete {
            return (all, after);
        }
    }
}

async fn the_feed_answers_all_that_came_after_the_cursor(store: &dyn SessionStore) {
    let (first, second) = (revocation(), revocation());
    store.revoke(first.clone()).await.unwrap();
    let (read, next) = read_to_the_end(store, &Cursor::START).await;
    assert!(read.contains(&first), "the start is before everything");
    store.revoke(second.clone()).await.unwrap();
    let (missed, next) = read_to_the_end(store, &next).await;
    assert!(missed.contains(&second), "who comes back gets what they missed");
    let end = store.revocations(&next, Duration::from_millis(1)).await.unwrap();
    assert!(!end.revocations.contains(&second) || end.next == next);
}

async fn the_feed_wakes_a_reader_that_waits(store: &Arc<dyn SessionStore>) {
    let (_, mut cursor) = read_to_the_end(&**store, &Cursor::START).await;
    let wanted = revocation();
    let reader = Arc::clone(store);
    let published = wanted.clone();
    let reading = tokio::spawn(async move {
        loop {
            let read = reader.revocations(&cursor, HOUR).await.unwrap();
            if read.revocations.contains(&published) {
                return;
            }
            cursor = read.next;
        }
    });
    store.revoke(wanted).await.unwrap();
    let woken = tokio::time::timeout(Duration::from_secs(30), reading).await;
    woken.expect("a reader that waits has to be woken").expect("the reader panicked");
}

async fn the_feed_gives_everything_to_each_reader(store: &dyn SessionStore) {
    let (_, from) = read_to_the_end(store, &Cursor::START).await;
    let written: Vec<_> = (0..10).map(|_| revocation()).collect();
    for revocation in &written {
        store.revoke(revocation.clone()).await.unwrap();
    }
    for _ in 0..3 {
        let (read, _) = read_to_the_end(store, &from).await;
        assert!(written.iter().all(|revocation| read.contains(revocation)));
    }
}

/// How much one read answers is the store's own business: whoever goes on until that was all has
/// everything that was published before.
async fn a_feed_that_is_followed_while_others_publish_loses_nothing(store: &Arc<dyn SessionStore>) {
    let (_, mut after) = read_to_the_end(&**store, &Cursor::START).await;
    let publish = |_| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let published = [revocation(), revocation()];
            for revocation in &published {
                store.revoke(revocation.clone()).await.unwrap();
            }
            published
        })
    };
    let mut published = Vec::new();
    let mut heard = Vec::new();
    for publisher in (0..RACERS).map(publish).collect::<Vec<_>>() {
        published.extend(publisher.await.expect("a publisher panicked"));
        let (read, next) = read_to_the_end(&**store, &after).await;
        heard.extend(read);
        after = next;
        let missing = published.iter().filter(|revocation| !heard.contains(revocation)).count();
        assert_eq!(missing, 0, "what was published before a read has to be in it or before it");
    }
}

/// A schedule of one key, which is none.
fn keys() -> KeySchedule {
    KeySchedule::new(ScheduledKey {
        kid: unique(),
        sealed: Sealed::from_bytes(unique().into_bytes()),
        announced_at: now(),
        signs_from: now() + HOUR,
        retired_at: Some(now() + 2 * HOUR),
    })
}

async fn of_racing_nodes_one_writes_the_first_keys(store: &Arc<dyn KeyStore>) {
    assert!(store.get().await.unwrap().is_none(), "there are keys before any were written");
    let winners = race(|| {
        let store = Arc::clone(store);
        async move { won(store.insert(keys()).await) }
    });
    assert_eq!(winners.await, 1, "several nodes wrote the first keys");
}

async fn keys_are_answered_as_they_were_written(store: &dyn KeyStore) {
    let before = store.get().await.unwrap().expect("keys that were written are gone");
    let after = before.changed(|keys| keys.extend(self::keys().keys));
    store.replace(after.clone(), before.version()).await.unwrap();
    assert_eq!(store.get().await.unwrap(), Some(after), "keys are not what was written");
}

async fn of_racing_replaces_of_keys_one_succeeds(store: &Arc<dyn KeyStore>) {
    let before = store.get().await.unwrap().expect("keys that were written are gone");
    let winners = race(|| {
        let (store, before) = (Arc::clone(store), before.clone());
        async move {
            let after = before.changed(|keys| keys.extend(self::keys().keys));
            won(store.replace(after, before.version()).await)
        }
    });
    assert_eq!(winners.await, 1, "keys of one version were replaced more than once");
}

async fn a_stale_replace_of_keys_conflicts(store: &dyn KeyStore) {
    let there = store.get().await.unwrap().expect("keys that were written are gone");
    let late = store.replace(there.changed(|_| ()), there.version() - 1).await;
    assert!(matches!(late, Err(StoreError::Conflict)), "a stale replace was answered {late:?}");
    assert_eq!(store.get().await.unwrap(), Some(there), "a stale replace changed something");
}
