//! Waiting for the end of a token or of a session, as a WebSocket or a stream of events does.

mod keys;
mod outages;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use countersign::store::MemoryStore;
use countersign::testing::{FaultyStore, StoreVerb};
use countersign::tokens::TokenEnd;
use countersign::{
    Acl, AclEntry, Actor, Algorithm, AuthenticationToken, CustomerId, ExchangeRequest, Grant,
    KeyRing, NewSession, Organization, Policy, RequestContext, SubjectType, Validated,
};
use futures_util::FutureExt as _;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, Request, Response};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::support::{Fixture, issue_now};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// A stream that waits for its end.
struct Stream {
    waiting: Pin<Box<dyn Future<Output = TokenEnd> + Send>>,
    ended: Option<TokenEnd>,
}

impl Stream {
    fn open(fixture: &Fixture, caller: &Arc<Validated>) -> Self {
        let waiting = Box::pin(fixture.tokens.wait_for_end(caller));
        let mut stream = Self { waiting, ended: None };
        assert_eq!(stream.end(), None);
        stream
    }

    /// Returns why it has ended, where it has.
    fn end(&mut self) -> Option<TokenEnd> {
        if self.ended.is_none() {
            self.ended = self.waiting.as_mut().now_or_never();
        }
        self.ended
    }

    /// Lets time pass, and returns why it has ended meanwhile, where it has.
    async fn end_after(&mut self, fixture: &Fixture, time: Duration) -> Option<TokenEnd> {
        pass(fixture, time).await;
        self.end()
    }
}

async fn pass(fixture: &Fixture, time: Duration) {
    fixture.clock.advance(time);
    tokio::time::advance(time).await;
}

/// Returns whom a handler behind an `ExchangeLayer` finds in a request.
async fn caller(fixture: &Fixture, name: HeaderName, value: &str) -> Arc<Validated> {
    let handler = service_fn(async |request: Request<Body>| {
        let mut response = Response::new(Body::empty());
        let caller = request.extensions().get::<Arc<Validated>>().unwrap().clone();
        response.extensions_mut().insert(caller);
        Ok::<_, Infallible>(response)
    });
    let request = Request::builder().header(name, value).body(Body::empty()).unwrap();
    let response = fixture.tokens.exchange_layer().layer(handler).oneshot(request).await.unwrap();
    response.extensions().get::<Arc<Validated>>().expect("it was let through").clone()
}

async fn by_cookie(fixture: &Fixture, token: &AuthenticationToken) -> Arc<Validated> {
    caller(fixture, COOKIE, &format!("__Host-session={}", token.expose())).await
}

async fn session(fixture: &Fixture, lifetime: Duration) -> AuthenticationToken {
    let token = fixture.session(|new| new.lifetime(lifetime)).await;
    AuthenticationToken::from_text(token).unwrap()
}

fn context() -> RequestContext {
    RequestContext::without_address()
}

#[tokio::test(start_paused = true)]
async fn a_socket_learns_that_its_callers_token_has_ended() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let [revoked, logged_out, other, expiring] = [(); 4].map(|()| {
        let acl = Acl::new([AclEntry::anywhere(["GetOrders"]).unwrap()]);
        let grant = Grant::customer("cus_1").acl(acl).lifetime(Duration::from_secs(600));
        let token = issue_now(tokens, grant).unwrap().access_token;
        tokens.validator().validate(token.expose()).unwrap()
    });
    tokens.revoke_token(revoked.token_id()).await.unwrap();
    assert_eq!(tokens.wait_for_end(&revoked).now_or_never(), Some(TokenEnd::Revoked));
    assert_eq!(tokens.wait_for_end(&other).now_or_never(), None);

    let mut waiting = Box::pin(tokens.wait_for_end(&logged_out));
    assert_eq!((&mut waiting).now_or_never(), None);
    tokens.log_out(&logged_out).await.unwrap();
    assert_eq!(waiting.now_or_never(), Some(TokenEnd::Revoked));

    let waiting = tokio::spawn(tokens.wait_for_end(&expiring));
    tokio::task::yield_now().await;
    fixture.clock.advance(Duration::from_secs(600));
    tokio::time::advance(Duration::from_secs(600)).await;
    assert_eq!(waiting.await.unwrap(), TokenEnd::Expired);

    let customer = tokens.principal(SubjectType::Customer, "cus_1", Organization::All);
    fixture.clock.advance(Duration::from_secs(1));
    let late = issue_now(tokens, Grant::customer("cus_1")).unwrap().access_token;
    let late = tokens.validator().validate(late.expose()).unwrap();
    let mut waiting = Box::pin(tokens.wait_for_end(&late));
    assert_eq!((&mut waiting).now_or_never(), None);
    assert_eq!(tokens.revoke_subject(&customer, tokens.now()).await.unwrap().sessions, 0);
    assert_eq!(waiting.now_or_never(), Some(TokenEnd::Revoked));
}

#[tokio::test(start_paused = true)]
async fn a_stream_behind_a_session_lives_as_long_as_the_session_and_no_longer() {
    let fixture = Fixture::new();
    let token = session(&fixture, HOUR).await;
    let by_bearer = format!("Bearer {}", token.expose());
    for caller in
        [by_cookie(&fixture, &token).await, caller(&fixture, AUTHORIZATION, &by_bearer).await]
    {
        assert_eq!(caller.expires_at(), fixture.tokens.now() + 5 * MINUTE);
        fixture.tokens.validator().recheck(&caller).unwrap();
    }
    let mut stream = Stream::open(&fixture, &by_cookie(&fixture, &token).await);
    for _ in 0..59 {
        assert_eq!(stream.end_after(&fixture, MINUTE).await, None);
    }
    assert_eq!(stream.end_after(&fixture, MINUTE - SECOND).await, None);
    assert_eq!(stream.end_after(&fixture, SECOND).await, Some(TokenEnd::Expired));
}

#[tokio::test(start_paused = true)]
async fn what_ends_a_session_ends_its_streams_at_once_however_long_they_have_waited() {
    for waited in [Duration::ZERO, 12 * MINUTE, 50 * HOUR] {
        for way in ["log_out_customer", "end_session", "log_out", "revoke_subject", "block"] {
            let fixture = Fixture::new();
            let tokens = &fixture.tokens;
            let token = session(&fixture, 100 * HOUR).await;
            let other = session(&fixture, 100 * HOUR).await;
            let caller = by_cookie(&fixture, &token).await;
            let mut stream = Stream::open(&fixture, &caller);
            let mut another = Stream::open(&fixture, &by_cookie(&fixture, &other).await);
            let mut left = waited;
            while !left.is_zero() {
                let step = left.min(MINUTE);
                left -= step;
                assert_eq!(stream.end_after(&fixture, step).await, None);
                assert_eq!(another.end(), None);
            }
            let customer = tokens.principal(SubjectType::Customer, "cus_1", Organization::All);
            let ends_all = match way {
                "log_out_customer" => {
                    tokens.log_out_customer(&token, &context()).await.unwrap();
                    false
                }
                "end_session" => {
                    tokens.end_session(caller.session_id().unwrap()).await.unwrap();
                    false
                }
                "log_out" => {
                    tokens.log_out(&*by_cookie(&fixture, &token).await).await.unwrap();
                    false
                }
                "revoke_subject" => {
                    tokens.revoke_subject(&customer, tokens.now() + SECOND).await.unwrap();
                    true
                }
                _ => {
                    tokens.block_subject(&customer, tokens.now() + HOUR).await.unwrap();
                    true
                }
            };
            assert_eq!(stream.end(), Some(TokenEnd::Revoked), "{way} after {waited:?}");
            assert_eq!(another.end().is_some(), ends_all, "{way} after {waited:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_out_on_another_node_ends_the_streams_here_once_it_is_heard() {
    let store = MemoryStore::new();
    let keys = KeyRing::generate(Algorithm::EdDSA).unwrap();
    let node = || Fixture::with_keys(keys.clone(), |builder| builder.session_store(store.clone()));
    let (here, there) = (node(), node());
    let token = session(&here, HOUR).await;
    let mut stream = Stream::open(&here, &by_cookie(&here, &token).await);
    assert_eq!(stream.end_after(&here, 6 * MINUTE).await, None);
    there.tokens.log_out_customer(&token, &context()).await.unwrap();
    here.tokens.catch_up().await.unwrap();
    assert_eq!(stream.end(), Some(TokenEnd::Revoked));
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_a_session_that_is_left_unused_and_is_no_use_of_it() {
    let policy = Policy::default().sessions(|sessions| sessions.idle_timeout(Some(15 * MINUTE)));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let token = session(&fixture, 48 * HOUR).await;
    let mut stream = Stream::open(&fixture, &by_cookie(&fixture, &token).await);
    for _ in 0..14 {
        assert_eq!(stream.end_after(&fixture, MINUTE).await, None);
    }
    // A request gives the session another fifteen minutes, and so the stream.
    by_cookie(&fixture, &token).await;
    for _ in 0..14 {
        assert_eq!(stream.end_after(&fixture, MINUTE).await, None);
    }
    assert_eq!(stream.end_after(&fixture, MINUTE).await, Some(TokenEnd::Expired));
}

#[tokio::test(start_paused = true)]
async fn a_stream_reads_its_session_once_per_life_of_a_phantom_token_at_most() {
    let store = FaultyStore::new(MemoryStore::new());
    let fixture = Fixture::with(|builder| builder.session_store(store.clone()));
    let token = session(&fixture, 48 * HOUR).await;
    let mut stream = Stream::open(&fixture, &by_cookie(&fixture, &token).await);
    let (reads, writes) =
        (store.calls(StoreVerb::GetSession), store.calls(StoreVerb::ReplaceSession));
    for _ in 0..60 {
        assert_eq!(stream.end_after(&fixture, MINUTE).await, None);
    }
    assert_eq!(store.calls(StoreVerb::GetSession) - reads, 12);
    assert_eq!(store.calls(StoreVerb::ReplaceSession), writes);
    // Where requests have looked at the session lately, it need not.
    let mut by_requests = 0;
    let reads = store.calls(StoreVerb::GetSession);
    for _ in 0..60 {
        let before = store.calls(StoreVerb::GetSession);
        by_cookie(&fixture, &token).await;
        by_requests += store.calls(StoreVerb::GetSession) - before;
        assert_eq!(stream.end_after(&fixture, MINUTE).await, None);
    }
    assert_eq!(store.calls(StoreVerb::GetSession) - reads, by_requests);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_gone_without_a_revocation_ends_its_streams_with_their_phantom_token() {
    let policy = Policy::default().sessions(|sessions| sessions.revoke_tokens_on_end(false));
    for is_used_up in [false, true] {
        let fixture = Fixture::with(|builder| builder.policy(policy.clone()));
        let token = session(&fixture, 48 * HOUR).await;
        let mut stream = Stream::open(&fixture, &by_cookie(&fixture, &token).await);
        if is_used_up {
            let request = ExchangeRequest::default();
            fixture.tokens.exchange(&token, request, &context()).await.unwrap();
        } else {
            fixture.tokens.log_out_customer(&token, &context()).await.unwrap();
        }
        assert_eq!(stream.end_after(&fixture, 4 * MINUTE).await, None);
        assert_eq!(stream.end_after(&fixture, MINUTE).await, Some(TokenEnd::Revoked));
    }
}

#[tokio::test(start_paused = true)]
async fn the_session_of_the_next_holder_of_a_known_token_is_not_taken_for_the_one_before() {
    let policy = Policy::default().sessions(|sessions| sessions.revoke_tokens_on_end(false));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let token = AuthenticationToken::generate().unwrap();
    let start = async |customer: &str| {
        let new = NewSession::of(CustomerId::new(customer).unwrap()).dangerous_token(token.clone());
        fixture.tokens.start_session(Actor::Host, new, &context()).await.unwrap();
    };
    start("cus_1").await;
    let mut stream = Stream::open(&fixture, &by_cookie(&fixture, &token).await);
    fixture.tokens.log_out_customer(&token, &context()).await.unwrap();
    start("cus_2").await;
    assert_eq!(by_cookie(&fixture, &token).await.principal().id(), "cus_2");
    assert_eq!(stream.end_after(&fixture, 5 * MINUTE).await, Some(TokenEnd::Revoked));
}

#[tokio::test(start_paused = true)]
async fn a_jwt_of_a_session_ends_its_stream_at_its_own_time() {
    let fixture = Fixture::new();
    let token = session(&fixture, 48 * HOUR).await;
    let request = ExchangeRequest::default().invalidate(false);
    let exchanged = fixture.tokens.exchange(&token, request, &context()).await.unwrap();
    let exchanged = format!("Bearer {}", exchanged.token.access_token.expose());
    let mut of_exchange =
        Stream::open(&fixture, &caller(&fixture, AUTHORIZATION, &exchanged).await);
    // A thief of a request's short-lived token has no more than that.
    let handler = service_fn(async |request: Request<Body>| {
        let authorization = request.headers()[AUTHORIZATION].clone();
        Ok::<_, Infallible>(
            Response::builder().header(AUTHORIZATION, authorization).body(Body::empty()).unwrap(),
        )
    });
    let request = Request::builder().header(COOKIE, format!("__Host-session={}", token.expose()));
    let layer = fixture.tokens.exchange_layer();
    let response =
        layer.layer(handler).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let phantom = response.headers()[AUTHORIZATION].to_str().unwrap();
    let mut of_phantom = Stream::open(&fixture, &caller(&fixture, AUTHORIZATION, phantom).await);
    assert_eq!(of_phantom.end_after(&fixture, 5 * MINUTE).await, Some(TokenEnd::Expired));
    assert_eq!(of_exchange.end_after(&fixture, 54 * MINUTE).await, None);
    assert_eq!(of_exchange.end_after(&fixture, MINUTE).await, Some(TokenEnd::Expired));
}
