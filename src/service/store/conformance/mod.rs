//! A test suite that every store has to pass: those of this crate, and your own.
//!
//! There is a case for each rule of the [contract](crate::store); a violated rule panics with its name. All keys are
//! random, so the store may be shared and may contain data.
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

mod entities;
mod feed;
mod keys;
mod session_lists;
mod sessions;
mod store;

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::service::model::authentication_token::AuthenticationToken;
use crate::service::model::entity::Entity;
use crate::service::model::session::Session;
use crate::service::store::{EntityStore, KeyStore, PageRequest, SessionStore, StoreError};
use crate::token::identifier::{CustomerId, SessionId};

const RACERS: usize = 64;
const HOUR: Duration = Duration::from_secs(3_600);
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
const ALL: PageRequest = PageRequest::first(1_000);

/// Checks an [`EntityStore`].
///
/// # Panics
///
/// If the store violates a rule.
pub async fn check_entity_store(store: Arc<dyn EntityStore>) {
    store::a_sealing_check_is_read_as_it_was_written_last(&*store).await;
    entities::an_entity_is_answered_as_it_was_written(&*store).await;
    entities::an_id_is_registered_once(&*store).await;
    entities::a_name_is_of_one_user_in_each_organization(&store).await;
    entities::of_racing_inserts_one_succeeds(&store).await;
    entities::of_racing_replaces_of_one_version_one_succeeds(&store).await;
    entities::a_stale_or_late_replace_conflicts_and_resurrects_nothing(&*store).await;
    entities::an_entity_is_removed_once(&store).await;
    entities::a_distinct_name_is_of_one_entity_of_its_sort(&*store).await;
    entities::of_racing_names_that_look_alike_one_is_registered(&store).await;
    entities::of_racing_inserts_of_one_id_with_a_distinct_name_one_succeeds(&store).await;
    entities::a_distinct_name_that_is_freed_while_others_want_it_is_of_one_again(&store).await;
    entities::entities_are_listed_by_name_in_pages(&*store).await;
    entities::a_list_has_what_is_there_and_as_it_is(&*store).await;
    entities::who_is_registered_while_others_list_is_in_every_list_after_that(&store).await;
    entities::an_id_that_is_removed_and_registered_at_once_is_listed_if_it_is_there(&store).await;
    entities::a_write_that_is_dropped_halfway_is_whole_or_not_there(&*store).await;
}

/// Checks a [`SessionStore`].
///
/// # Panics
///
/// If the store violates a rule.
pub async fn check_session_store(store: Arc<dyn SessionStore>) {
    store::a_sealing_check_is_read_as_it_was_written_last(&*store).await;
    sessions::a_session_is_answered_as_it_was_written(&*store).await;
    sessions::a_key_is_taken_by_one_session(&store).await;
    sessions::of_racing_session_replaces_one_succeeds(&store).await;
    sessions::of_racing_takes_one_gets_the_session(&store).await;
    sessions::a_take_and_a_replace_never_both_succeed(&store).await;
    sessions::a_stale_take_conflicts_and_takes_nothing(&*store).await;
    sessions::what_was_taken_stays_gone(&*store).await;
    sessions::a_take_that_is_dropped_halfway_takes_or_leaves(&*store).await;
    session_lists::lists_are_of_live_sessions_in_order_filtered_and_paged(&*store).await;
    session_lists::a_list_is_walked_page_by_page_whatever_ends_meanwhile(&*store).await;
    session_lists::what_is_listed_has_not_expired_also_before_it_is_purged(&*store).await;
    sessions::a_session_is_removed_by_its_id_once(&store).await;
    session_lists::a_customers_sessions_are_found_and_those_of_a_namesake_are_not(&*store).await;
    session_lists::what_a_subject_has_started_is_found_by_it(&*store).await;
    session_lists::the_sessions_of_a_subject_are_read_in_parts(&*store).await;
    sessions::purging_removes_what_has_ended_alone(&*store).await;
    sessions::what_a_clock_that_is_ahead_purges_has_ended_by_the_engines(&*store).await;
    sessions::what_is_written_by_a_clock_that_is_ahead_is_kept(&*store).await;
    sessions::of_racing_exchanges_one_uses_the_session_up(&store).await;
    sessions::what_was_used_up_is_in_no_list_and_kept_while_its_tokens_live(&*store).await;
    sessions::a_session_whose_end_has_moved_is_listed_and_counted_by_it(&*store).await;
    sessions::what_ended_is_kept_while_its_tokens_live(&*store).await;
    feed::the_feed_answers_all_that_came_after_the_cursor(&*store).await;
    feed::the_feed_wakes_a_reader_that_waits(&store).await;
    feed::the_feed_gives_everything_to_each_reader(&*store).await;
    feed::a_feed_that_is_followed_while_others_publish_loses_nothing(&store).await;
}

/// Checks a [`KeyStore`] that contains no keys. The keys that the suite writes are fake and cannot be opened.
///
/// # Panics
///
/// If the store violates a rule.
pub async fn check_key_store(store: Arc<dyn KeyStore>) {
    store::a_sealing_check_is_read_as_it_was_written_last(&*store).await;
    keys::of_racing_nodes_one_writes_the_first_keys(&store).await;
    keys::keys_are_answered_as_they_were_written(&*store).await;
    keys::of_racing_replaces_of_keys_one_succeeds(&store).await;
    keys::a_stale_replace_of_keys_conflicts(&*store).await;
}

/// The present: purging what ended by a later time would take others' live sessions with it.
fn now() -> Timestamp {
    SystemClock.now()
}

fn unique() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn entity() -> Entity {
    Entity::machine(unique()).unwrap()
}

/// A machine client of a name of its own that looks like all others given `name`.
fn look_alike(name: &str) -> Entity {
    Entity { distinct_name: Some(name.to_owned()), ..entity() }
}

fn session_of(customer: &CustomerId, created_at: Timestamp) -> Session {
    let key = AuthenticationToken::generate().unwrap().key();
    let id = SessionId::new(unique()).unwrap();
    Session::new(key, id, customer.clone(), created_at, created_at + HOUR)
}

fn session() -> Session {
    session_of(&CustomerId::new(unique()).unwrap(), now())
}

/// Runs as many futures at once as there are racers, and returns how many were true.
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

/// Returns whether it succeeded; losing is a conflict and nothing else.
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
