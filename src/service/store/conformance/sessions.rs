use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::service::model::authentication_token::AuthenticationToken;
use crate::service::model::session::Session;
use crate::service::store::conformance::{
    ALL, HOUR, PATIENCE, RACERS, drop_halfway, feed, now, race, session, session_of, unique, won,
};
use crate::service::store::{Cursor, SessionFilter, SessionStore, StoreError};
use crate::token::identifier::{CustomerId, SessionId, TokenId};

pub(super) async fn a_session_is_answered_as_it_was_written(store: &dyn SessionStore) {
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

pub(super) async fn a_key_is_taken_by_one_session(store: &Arc<dyn SessionStore>) {
    let contested = session();
    let winners = race(|| {
        let (store, session) = (Arc::clone(store), contested.clone());
        async move { won(store.insert(session, now()).await) }
    });
    assert_eq!(winners.await, 1, "of racing inserts one has to succeed");
}

pub(super) async fn of_racing_session_replaces_one_succeeds(store: &Arc<dyn SessionStore>) {
    let contested = session();
    store.insert(contested.clone(), now()).await.unwrap();
    let winners = race(|| {
        let (store, session) = (Arc::clone(store), contested.clone());
        let version = session.version();
        async move { won(store.replace(session.next_version(now()), version, now()).await) }
    });
    assert_eq!(winners.await, 1, "of racing replaces of one version one has to succeed");
}

pub(super) async fn of_racing_takes_one_gets_the_session(store: &Arc<dyn SessionStore>) {
    let contested = session();
    store.insert(contested.clone(), now()).await.unwrap();
    let winners = race(|| {
        let (store, key, version) = (Arc::clone(store), contested.key(), contested.version());
        async move { store.take(&key, version).await.unwrap().is_some() }
    });
    assert_eq!(winners.await, 1, "of racing takes one has to get the session");
}

pub(super) async fn a_take_and_a_replace_never_both_succeed(store: &Arc<dyn SessionStore>) {
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

pub(super) async fn a_stale_take_conflicts_and_takes_nothing(store: &dyn SessionStore) {
    let first = session();
    store.insert(first.clone(), now()).await.unwrap();
    let second = first.clone().next_version(now());
    store.replace(second, first.version(), now()).await.unwrap();
    let stale = store.take(&first.key(), first.version()).await;
    assert!(matches!(stale, Err(StoreError::Conflict)), "a stale take has to conflict");
    assert!(store.get(&first.key()).await.unwrap().is_some(), "and to leave the session");
}

pub(super) async fn what_was_taken_stays_gone(store: &dyn SessionStore) {
    let taken = session();
    store.insert(taken.clone(), now()).await.unwrap();
    assert!(store.take(&taken.key(), taken.version()).await.unwrap().is_some());
    let late = store.replace(taken.clone().next_version(now()), taken.version(), now());
    assert!(!won(late.await), "a replace of what is gone has to conflict");
    assert!(store.get(&taken.key()).await.unwrap().is_none(), "and must not bring it back");
    assert!(store.take(&taken.key(), taken.version()).await.unwrap().is_none());
}

pub(super) async fn a_take_that_is_dropped_halfway_takes_or_leaves(store: &dyn SessionStore) {
    for _ in 0..RACERS {
        let contested = session();
        store.insert(contested.clone(), now()).await.unwrap();
        drop_halfway(store.take(&contested.key(), contested.version()));
        let again = store.take(&contested.key(), contested.version()).await.unwrap();
        assert!(again.is_none_or(|session| session.id() == contested.id()));
        assert!(store.get(&contested.key()).await.unwrap().is_none());
    }
}

pub(super) async fn a_session_is_removed_by_its_id_once(store: &Arc<dyn SessionStore>) {
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

pub(super) async fn purging_removes_what_has_ended_alone(store: &dyn SessionStore) {
    let customer = CustomerId::new(unique()).unwrap();
    let ended = session_of(&customer, now() - HOUR * 2);
    let live = session_of(&customer, now());
    store.insert(ended.clone(), now() - HOUR * 2).await.unwrap();
    store.insert(live.clone(), now()).await.unwrap();
    while store.purge_expired(now()).await.unwrap() > 0 {}
    assert!(store.get(&ended.key()).await.unwrap().is_none(), "what has ended has to go");
    assert!(store.get(&live.key()).await.unwrap().is_some(), "what is live has to stay");
}

/// A store without a time of its own goes by what it is told.
pub(super) async fn what_a_clock_that_is_ahead_purges_has_ended_by_the_engines(
    store: &dyn SessionStore,
) {
    if store.time().await.unwrap().is_none() {
        return;
    }
    let (live, ended) = (session(), session_of(&CustomerId::new(unique()).unwrap(), now() - HOUR));
    store.insert(live.clone(), now()).await.unwrap();
    store.insert(ended.clone(), now() - HOUR).await.unwrap();
    let event = feed::event();
    store.publish(event.clone()).await.unwrap();
    while store.purge_expired(now() + 1_000 * HOUR).await.unwrap() > 0 {}
    assert!(store.get(&ended.key()).await.unwrap().is_none(), "what has ended has to go");
    let kept = store.get(&live.key()).await.unwrap();
    assert!(kept.is_some(), "a clock that is ahead has removed a session that is live");
    assert!(store.remove(live.id()).await.unwrap().is_some(), "it has to be found by its id");
    let (read, _) = feed::read_to_the_end(store, &Cursor::START).await;
    assert!(read.contains(&event), "a clock that is ahead has removed a revocation that matters");
}

/// A store without a time of its own goes by what it is told.
pub(super) async fn what_is_written_by_a_clock_that_is_ahead_is_kept(store: &dyn SessionStore) {
    if store.time().await.unwrap().is_none() {
        return;
    }
    let written = session();
    let ahead = now() + 1_000 * HOUR;
    store.insert(written.clone(), ahead).await.unwrap();
    let later = written.clone().next_version(ahead);
    store.replace(later, written.version(), ahead).await.unwrap();
    assert!(store.get(&written.key()).await.unwrap().is_some());
    assert!(store.remove(written.id()).await.unwrap().is_some(), "it has to be found by its id");
}

/// A token of its own for each: of two that are alike, a store could not tell whose record is there.
pub(super) fn used_up(session: &Session, until: Timestamp) -> Session {
    session.clone().used_up(TokenId::new(unique()).unwrap(), Some(until), now())
}

pub(super) async fn of_racing_exchanges_one_uses_the_session_up(store: &Arc<dyn SessionStore>) {
    let contested = session();
    store.insert(contested.clone(), now()).await.unwrap();
    let winners = race(|| {
        let (store, version) = (Arc::clone(store), contested.version());
        let used = used_up(&contested, now() + HOUR);
        async move { won(store.replace(used, version, now()).await) }
    });
    assert_eq!(winners.await, 1, "of racing exchanges one has to use the session up");
    assert!(store.get(&contested.key()).await.unwrap().is_some_and(|kept| kept.is_used_up()));
}

pub(super) async fn what_was_used_up_is_in_no_list_and_kept_while_its_tokens_live(
    store: &dyn SessionStore,
) {
    let customer = CustomerId::new(unique()).unwrap();
    let theirs = SessionFilter::all().of_customer(customer.clone());
    let written = session_of(&customer, now() - HOUR / 2);
    store.insert(written.clone(), now()).await.unwrap();
    let used = used_up(&written, now() + HOUR * 2);
    store.replace(used.clone(), written.version(), now()).await.unwrap();
    let listed = store.list(&theirs, &ALL, now()).await.unwrap();
    assert!(listed.sessions.is_empty() && listed.total == 0, "a list has what is live alone");
    while store.purge_expired(now()).await.unwrap() > 0 {}
    let kept = store.get(&used.key()).await.unwrap().expect("it is kept until its tokens are dead");
    assert!(kept.is_used_up() && kept.kept_until() == used.kept_until());
    assert!(store.take(&used.key(), used.version()).await.unwrap().is_some());

    let mut dead = session_of(&customer, now() - HOUR / 2);
    store.insert(dead.clone(), now()).await.unwrap();
    let version = dead.version();
    dead = used_up(&dead, now() - Duration::from_secs(1));
    store.replace(dead.clone(), version, now()).await.unwrap();
    // An index may be a moment behind.
    let purging = async {
        while store.get(&dead.key()).await.unwrap().is_some() {
            store.purge_expired(now()).await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, purging).await.expect("and no longer");
}

pub(super) async fn a_session_whose_end_has_moved_is_listed_and_counted_by_it(
    store: &dyn SessionStore,
) {
    let customer = CustomerId::new(unique()).unwrap();
    let began = now();
    // Whose tokens live on, so that it is kept for as long, wherever its end is.
    let first = Session { tokens_until: Some(began + 5 * HOUR), ..session_of(&customer, began) };
    let first = Session { expires_at: began + 3 * HOUR, ..first }.used_at(began, Some(HOUR));
    store.insert(first.clone(), began).await.unwrap();
    let theirs = SessionFilter::all().of_customer(customer);
    let live = async |at: Timestamp| {
        let listed = store.list(&theirs, &ALL, at).await.unwrap().total;
        assert_eq!(store.count(&first.subject(), at, 10).await.unwrap(), listed);
        listed
    };
    let half = HOUR / 2;
    assert_eq!((live(began + half).await, live(began + HOUR).await), (1, 0));
    let mut last = first.clone();
    // Ahead, up to its latest end, and back.
    for (used_at, timeout, end) in
        [(half, HOUR, 3 * half), (2 * HOUR, 2 * HOUR, 3 * HOUR), (half, half, HOUR)]
    {
        let version = last.version;
        last = last.used_at(began + used_at, Some(timeout)).next_version(began + used_at);
        store.replace(last.clone(), version, began + used_at).await.unwrap();
        let (before, at) = (began + end - Duration::from_secs(1), began + end);
        assert_eq!((live(before).await, live(at).await), (1, 0));
    }
    let kept = store.get(&first.key()).await.unwrap().unwrap();
    assert_eq!((kept.expires_at(), kept.latest_end()), (began + HOUR, began + 3 * HOUR));
    assert!(store.take(&last.key(), last.version).await.unwrap().is_some());
}

pub(super) async fn what_ended_is_kept_while_its_tokens_live(store: &dyn SessionStore) {
    let mut ended = session_of(&CustomerId::new(unique()).unwrap(), now() - HOUR);
    ended.tokens_until = Some(now() + HOUR);
    store.insert(ended.clone(), now() - HOUR).await.unwrap();
    while store.purge_expired(now()).await.unwrap() > 0 {}
    assert!(store.remove(ended.id()).await.unwrap().is_some(), "it has to be found by its id");
}
