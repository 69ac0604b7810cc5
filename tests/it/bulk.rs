//! Work on many sessions at once: in steps, each with a deadline of its own.

use std::time::Duration;

use countersign::store::{MemoryStore, SessionStore as _, Subject};
use countersign::testing::{Calls, FaultyStore, StoreFault, StoreVerb};
use countersign::{ErrorKind, Organization, Policy, SubjectType};

use crate::support::Fixture;

/// Sessions of one customer, and the store that they are in.
async fn with_sessions(count: usize) -> (Fixture, FaultyStore<MemoryStore>) {
    let store = FaultyStore::new(MemoryStore::new());
    let sessions = store.clone();
    let policy = Policy::default().sessions(|sessions| sessions.max_per_customer(1_000));
    let fixture = Fixture::with(|builder| builder.session_store(sessions).policy(policy));
    for _ in 0..count {
        fixture.session(|new| new).await;
    }
    (fixture, store)
}

async fn left(fixture: &Fixture, store: &FaultyStore<MemoryStore>) -> usize {
    let subject = Subject::new(SubjectType::Customer, "cus_1");
    store.inner().count(&subject, fixture.tokens.now(), 1_000).await.unwrap()
}

#[tokio::test]
async fn sessions_that_were_started_since_are_passed_over_in_steps() {
    let (fixture, store) = with_sessions(250).await;
    let long_ago = fixture.tokens.now() - Duration::from_secs(3_600);
    let customer = fixture.tokens.principal(SubjectType::Customer, "cus_1", Organization::All);
    let revoked = fixture.tokens.revoke_subject(&customer, long_ago).await.unwrap();
    assert_eq!(revoked.sessions, 0);
    assert_eq!(store.calls(StoreVerb::SessionsOfSubject), 6, "a hundred at a time, and once more");
    assert_eq!(left(&fixture, &store).await, 250);
}

#[tokio::test]
async fn a_session_that_cannot_be_ended_keeps_none_of_the_others_and_the_error_says_what_was_done()
{
    let (fixture, store) = with_sessions(250).await;
    store.fail(Calls::from(StoreVerb::TakeSession).take(1), StoreFault::unavailable("down"));
    let customer = fixture.tokens.principal(SubjectType::Customer, "cus_1", Organization::All);
    let now = fixture.tokens.now();
    let error = fixture.tokens.revoke_subject(&customer, now).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("the tokens are revoked"), "{error}");
    assert_eq!(left(&fixture, &store).await, 1);
    let again = fixture.tokens.revoke_subject(&customer, now).await.unwrap();
    assert_eq!(again.sessions, 1);
}
