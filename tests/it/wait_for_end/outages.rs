//! Streams while a store is out of reach.

use std::time::Duration;

use countersign::claims::TokenId;
use countersign::store::MemoryStore;
use countersign::testing::{Calls, FaultyStore, StoreFault, StoreVerb};
use countersign::tokens::TokenEnd;
use countersign::{Grant, Policy, SealingKey};

use super::{HOUR, MINUTE, SECOND, Stream, by_cookie, session};
use crate::support::{Fixture, issue_now};

#[tokio::test(start_paused = true)]
async fn an_outage_ends_a_stream_once_it_has_lasted_for_the_staleness_that_is_put_up_with() {
    for fault in [StoreFault::unavailable("connection refused"), StoreFault::hang()] {
        let store = FaultyStore::new(MemoryStore::new());
        let fixture = Fixture::with(|builder| builder.session_store(store.clone()));
        let token = session(&fixture, 48 * HOUR).await;
        let mut stream = Stream::open(&fixture, &by_cookie(&fixture, &token).await);
        store.fail(Calls::all(), fault.clone());
        assert_eq!(stream.end_after(&fixture, 5 * MINUTE).await, None);
        for _ in 0..50 {
            assert_eq!(stream.end_after(&fixture, SECOND).await, None);
        }
        store.clear_faults();
        for _ in 0..3 * 60 {
            assert_eq!(stream.end_after(&fixture, SECOND).await, None, "it is over in time");
        }
        store.fail(Calls::all(), fault);
        let mut lasted = Duration::ZERO;
        let end = loop {
            lasted += SECOND;
            if let Some(end) = stream.end_after(&fixture, SECOND).await {
                break end;
            }
        };
        assert_eq!(end, TokenEnd::Expired);
        assert!(lasted > MINUTE && lasted < 8 * MINUTE, "{lasted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_a_stream_reads_its_session_no_more_often_however_much_is_revoked() {
    let store = FaultyStore::new(MemoryStore::new());
    let fixture = Fixture::with(|builder| builder.session_store(store.clone()));
    let token = session(&fixture, 48 * HOUR).await;
    let caller = by_cookie(&fixture, &token).await;
    let mut stream = Stream::open(&fixture, &caller);
    store.fail(StoreVerb::GetSession, StoreFault::unavailable("connection refused"));
    let before = store.calls(StoreVerb::GetSession);
    assert_eq!(stream.end_after(&fixture, 5 * MINUTE).await, None);
    for second in 0..50 {
        let other = TokenId::new(format!("jti-{second}")).unwrap();
        fixture.tokens.revoke_token(&other).await.unwrap();
        assert_eq!(stream.end_after(&fixture, SECOND).await, None);
    }
    let reads = store.calls(StoreVerb::GetSession) - before;
    assert!((2..=6).contains(&reads), "{reads}");
    // What ends the session is heard all the same.
    fixture.tokens.end_session(caller.session_id().unwrap()).await.unwrap();
    assert_eq!(stream.end(), Some(TokenEnd::Revoked));
}

/// Opens a stream of a JWT, and one of a session, over a store that other nodes may share.
async fn two_streams(policy: Policy) -> (Fixture, [Stream; 2]) {
    let store = FaultyStore::new(MemoryStore::new()).durable(true);
    let fixture = Fixture::with(|builder| {
        builder.session_store(store).sealing_key(SealingKey::from_bytes([7; 32])).policy(policy)
    });
    fixture.tokens.catch_up().await.unwrap();
    let token = session(&fixture, 48 * HOUR).await;
    let jwt = issue_now(&fixture.tokens, Grant::user("ops")).unwrap().access_token;
    let jwt = fixture.tokens.validator().validate(jwt.expose()).unwrap();
    let streams =
        [Stream::open(&fixture, &jwt), Stream::open(&fixture, &by_cookie(&fixture, &token).await)];
    (fixture, streams)
}

/// Lets time pass in steps, since others wait for it, too.
async fn pass_slowly(fixture: &Fixture, streams: &mut [Stream; 2], time: Duration) {
    for _ in 0..time.as_secs() {
        super::pass(fixture, SECOND).await;
        tokio::task::yield_now().await;
        let _ends = streams.each_mut().map(Stream::end);
    }
}

#[tokio::test(start_paused = true)]
async fn streams_end_where_nothing_was_heard_of_other_nodes_for_too_long() {
    let (fixture, mut streams) = two_streams(Policy::default()).await;
    // A minute is put up with, and another by those who wait.
    pass_slowly(&fixture, &mut streams, 110 * SECOND).await;
    assert_eq!(streams.each_mut().map(Stream::end), [None, None]);
    pass_slowly(&fixture, &mut streams, 90 * SECOND).await;
    assert_eq!(streams.each_mut().map(Stream::end), [Some(TokenEnd::Expired); 2]);
}

#[tokio::test(start_paused = true)]
async fn streams_outlive_a_silence_of_other_nodes_that_ends_in_time() {
    let (fixture, mut streams) = two_streams(Policy::default()).await;
    for _ in 0..5 {
        pass_slowly(&fixture, &mut streams, 100 * SECOND).await;
        fixture.tokens.catch_up().await.unwrap();
    }
    assert_eq!(streams.each_mut().map(Stream::end), [None, None]);
}

#[tokio::test(start_paused = true)]
async fn where_the_policy_lets_tokens_pass_unheard_streams_go_on() {
    let policy =
        Policy::default().runtime(|runtime| runtime.dangerous_accept_stale_revocations(true));
    let (fixture, mut streams) = two_streams(policy).await;
    pass_slowly(&fixture, &mut streams, 4 * MINUTE).await;
    assert_eq!(streams.each_mut().map(Stream::end), [None, None]);
}
