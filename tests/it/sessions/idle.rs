//! Sessions that end when they are not used.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use countersign::cookies::SessionCookie;
use countersign::sessions::Session;
use countersign::store::{MemoryStore, PageRequest};
use countersign::{
    Actor, AuthenticationToken, CustomerId, ErrorKind, ExchangeRequest, NewSession, Policy,
    RequestContext, Timestamp,
};

use crate::support::{AUDIENCE, Fixture, ISSUER, START, Server, clock_at_start};

const MINUTE: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_secs(15 * 60);
const SECOND: Duration = Duration::from_secs(1);

fn start() -> Timestamp {
    Timestamp::from_secs(START)
}

fn context() -> RequestContext {
    RequestContext::without_address()
}

fn policy() -> Policy {
    Policy::default().sessions(|sessions| sessions.idle_timeout(Some(IDLE)).max_per_customer(1))
}

fn fixture() -> Fixture {
    Fixture::with(|builder| builder.policy(policy()))
}

fn customer() -> NewSession {
    NewSession::of(CustomerId::new("cus_1").unwrap())
}

async fn session(fixture: &Fixture) -> AuthenticationToken {
    let started = fixture.tokens.start_session(Actor::Host, customer(), &context()).await.unwrap();
    started.token
}

async fn find(fixture: &Fixture, token: &AuthenticationToken) -> Result<Session, ErrorKind> {
    let found = fixture.tokens.find_session(token, &context()).await;
    found.and_then(countersign::sessions::SessionState::proven).map_err(|error| error.kind())
}

async fn use_it(fixture: &Fixture, token: &AuthenticationToken) -> Result<(), ErrorKind> {
    let request = ExchangeRequest::default().invalidate(false);
    fixture
        .tokens
        .exchange(token, request, &context())
        .await
        .map(drop)
        .map_err(|error| error.kind())
}

async fn count(fixture: &Fixture) -> usize {
    let page = PageRequest::first(10);
    fixture.tokens.list_sessions(Actor::Host, None, page, &context()).await.unwrap().total
}

/// A handler behind an `ExchangeLayer`.
async fn behind_an_exchange_layer(fixture: &Fixture) -> Server {
    let hello = get(|| async { "hello" }).route_layer(fixture.tokens.exchange_layer());
    Server::start(Router::new().route("/", hello)).await
}

#[tokio::test]
async fn a_session_that_was_not_used_for_so_long_is_gone_on_every_way() {
    let fixture = fixture();
    let server = behind_an_exchange_layer(&fixture).await;
    let token = session(&fixture).await;
    fixture.clock.set(start() + IDLE - SECOND);
    assert_eq!(find(&fixture, &token).await.unwrap().expires_at(), start() + IDLE);
    assert_eq!(count(&fixture).await, 1);
    let second = fixture.tokens.start_session(Actor::Host, customer(), &context()).await;
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Throttled, "it counts");

    // To find or list it was no use of it.
    fixture.clock.set(start() + IDLE);
    assert_eq!(find(&fixture, &token).await.unwrap_err(), ErrorKind::NotFound);
    assert_eq!(use_it(&fixture, &token).await.unwrap_err(), ErrorKind::NotFound);
    let request = ExchangeRequest::default();
    let exchanged = fixture.tokens.exchange(&token, request, &context()).await;
    assert_eq!(exchanged.unwrap_err().kind(), ErrorKind::NotFound);
    server.get("/", Some(token.expose())).await.expect(401);
    let sent = fixture.tokens.resend_one_time_password(&token, &context()).await;
    assert_eq!(sent.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(count(&fixture).await, 0);
    session(&fixture).await;
}

#[tokio::test]
async fn an_exchange_that_leaves_it_alive_gives_it_more_time_up_to_its_own_end() {
    let fixture = fixture();
    let token = session(&fixture).await;
    let end = start() + Duration::from_secs(86_400);
    let mut now = start();
    while now + IDLE < end {
        now = now + IDLE - SECOND;
        fixture.clock.set(now);
        use_it(&fixture, &token).await.unwrap();
        let used = find(&fixture, &token).await.unwrap();
        assert_eq!(used.expires_at(), (now + IDLE).min(end));
        assert_eq!(used.updated_at(), now);
        assert_eq!(used.latest_end(), end);
        assert_eq!(count(&fixture).await, 1, "it is listed for as long as it lives");
    }
    fixture.clock.set(end - SECOND);
    use_it(&fixture, &token).await.unwrap();
    fixture.clock.set(end);
    assert_eq!(find(&fixture, &token).await.unwrap_err(), ErrorKind::NotFound);
}

#[tokio::test]
async fn requests_through_an_exchange_layer_are_noted_once_a_minute() {
    let fixture = fixture();
    let server = behind_an_exchange_layer(&fixture).await;
    let token = session(&fixture).await;
    let request = async |after: Duration| {
        fixture.clock.set(start() + after);
        server.get("/", Some(token.expose())).await.expect(200);
        let used = find(&fixture, &token).await.unwrap();
        assert_eq!(used.expires_at(), used.updated_at() + IDLE);
        used.updated_at().saturating_since(start())
    };
    let seconds = Duration::from_secs;
    // The first one makes a token, which the session has to know of.
    assert_eq!(request(seconds(10)).await, seconds(10));
    for quiet in [11, 30, 69] {
        assert_eq!(request(seconds(quiet)).await, seconds(10));
    }
    assert_eq!(request(seconds(70)).await, seconds(70));
    assert_eq!(request(seconds(129)).await, seconds(70));
    assert_eq!(request(seconds(130)).await, seconds(130));
    // And as long as they come, it lives.
    for minutes in 4..60 {
        assert_eq!(request(MINUTE * minutes).await, MINUTE * minutes);
    }
    fixture.clock.set(start() + MINUTE * 59 + IDLE);
    server.get("/", Some(token.expose())).await.expect(401);
}

#[tokio::test]
async fn exchanges_within_a_minute_are_one_write() {
    let fixture = fixture();
    let token = session(&fixture).await;
    use_it(&fixture, &token).await.unwrap();
    let version = find(&fixture, &token).await.unwrap().version();
    fixture.clock.set(start() + MINUTE - SECOND);
    for _ in 0..3 {
        use_it(&fixture, &token).await.unwrap();
    }
    assert_eq!(find(&fixture, &token).await.unwrap().version(), version);
    fixture.clock.set(start() + MINUTE);
    for _ in 0..3 {
        use_it(&fixture, &token).await.unwrap();
    }
    assert_eq!(find(&fixture, &token).await.unwrap().version(), version + 1);
}

#[tokio::test]
async fn a_fresh_session_that_a_code_was_confirmed_for_has_its_time_from_then_on() {
    let fixture = fixture();
    let new = customer().otp_required(true);
    let started = fixture.tokens.start_session(Actor::Host, new, &context()).await.unwrap();
    fixture.clock.set(start() + MINUTE * 9);
    let code = fixture.outbox.last_code();
    let fresh = fixture.tokens.confirm_one_time_password(&started.token, code, &context()).await;
    let fresh = fresh.unwrap().session.proven().unwrap();
    assert_eq!(fresh.expires_at(), start() + MINUTE * 9 + IDLE);
    assert_eq!(fresh.latest_end(), start() + Duration::from_secs(86_400));
}

#[tokio::test]
async fn who_logs_out_after_that_still_ends_the_tokens_that_live() {
    let fixture = fixture();
    let token = session(&fixture).await;
    let request = ExchangeRequest::default().invalidate(false);
    let exchanged = fixture.tokens.exchange(&token, request, &context()).await.unwrap();
    let access_token = exchanged.token.access_token;
    fixture.clock.set(start() + IDLE);
    assert_eq!(find(&fixture, &token).await.unwrap_err(), ErrorKind::NotFound);
    fixture.tokens.validator().validate(access_token.expose()).unwrap();
    fixture.tokens.log_out_customer(&token, &context()).await.unwrap();
    assert!(fixture.tokens.validator().validate(access_token.expose()).is_err());
}

#[tokio::test]
async fn a_cookie_lives_as_long_as_the_session_may() {
    let fixture = fixture();
    let started = fixture.tokens.start_session(Actor::Host, customer(), &context()).await.unwrap();
    let cookie = started.cookie(&SessionCookie::new("__Host-session").unwrap());
    assert!(cookie.to_str().unwrap().contains("; Max-Age=86400;"), "{cookie:?}");
}

#[tokio::test]
async fn a_shorter_session_and_one_of_before_the_timeout_end_when_they_did() {
    let store = MemoryStore::new();
    let node = |policy: Policy| {
        let fixture = Fixture::with(|builder| builder.session_store(store.clone()).policy(policy));
        fixture.clock.set(start());
        fixture
    };
    let (before, after) =
        (node(Policy::default()), node(policy().sessions(|sessions| sessions.max_per_customer(9))));
    let new = customer().lifetime(MINUTE);
    let short = after.tokens.start_session(Actor::Host, new, &context()).await.unwrap();
    assert_eq!(short.session.proven().unwrap().expires_at(), start() + MINUTE);
    let token = session(&before).await;
    let hours = Duration::from_secs(3_600);
    let end = start() + hours * 24;
    for fixture in [&before, &after] {
        fixture.clock.set(start() + hours);
    }
    assert_eq!(find(&after, &token).await.unwrap().expires_at(), end, "until it is used");
    use_it(&after, &token).await.unwrap();
    assert_eq!(find(&before, &token).await.unwrap().expires_at(), start() + hours + IDLE);
    // Where there is no timeout any more, a use gives it all its time back.
    use_it(&before, &token).await.unwrap();
    assert_eq!(find(&after, &token).await.unwrap().expires_at(), end);
}

#[test]
fn a_timeout_that_is_too_short_to_be_kept_is_an_error() {
    let build = |timeout| {
        countersign::TokenService::builder()
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .keys(countersign::KeyRing::generate(countersign::Algorithm::EdDSA).unwrap())
            .clock(clock_at_start())
            .policy(Policy::default().sessions(|sessions| sessions.idle_timeout(Some(timeout))))
            .build()
    };
    let error = build(MINUTE * 2 - SECOND).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.message().contains("sessions.idle_timeout"), "{error}");
    assert!(build(MINUTE * 2).is_ok());
}
