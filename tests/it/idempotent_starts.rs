//! A start that is repeated by its `Idempotency-Key`: whatever fails meanwhile, it is done once, and returned
//! where its customer has a code.

use std::sync::Arc;
use std::time::Duration;

use countersign::cookies::SessionCookie;
use countersign::faults::TokenFault;
use countersign::sessions::CustomerLogin;
use countersign::store::MemoryStore;
use countersign::testing::{Calls, FaultyStore, StoreFault, StoreVerb};
use countersign::{
    Acl, Actor, Algorithm, CustomerId, Entity, EntityId, Error, ErrorKind, ExchangeRequest, Grant,
    KeyRing, NewSession, OrganizationId, Password, Policy, RequestContext, SealingKey,
    StartedSession, Validated,
};

use crate::support::{AUDIENCE, Fixture, PASSWORD};

const KEY: &str = "3f6c1f0e-7d43-4f9e-9d0c-5a1b2c3d4e5f";
const OTHER: &str = "https://reports.example.com";
/// How long the delivery of a code may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a request may be repeated.
const MINUTE: Duration = Duration::from_secs(60);

type Engine = FaultyStore<MemoryStore>;

fn here() -> RequestContext {
    RequestContext::without_address()
}

fn over(store: &Engine, policy: Policy) -> Fixture {
    Fixture::with(|builder| builder.store(store.clone()).policy(policy))
}

fn engine() -> Engine {
    FaultyStore::new(MemoryStore::new())
}

fn of(customer: &str) -> NewSession {
    NewSession::of(CustomerId::new(customer).unwrap()).idempotency_key(KEY)
}

/// Starts a session that requires a code.
async fn start(fixture: &Fixture) -> Result<StartedSession, Error> {
    let new = of("cus_1").otp_required(true);
    fixture.tokens.start_session(Actor::Host, new, &here()).await
}

async fn exchange_by_code(fixture: &Fixture, started: &StartedSession) -> Result<(), ErrorKind> {
    let request = ExchangeRequest::default().one_time_password(fixture.outbox.last_code());
    let exchanged = fixture.tokens.exchange(&started.token, request, &here()).await;
    exchanged.map(drop).map_err(|error| error.kind())
}

/// The same request is a 503 until the delivery must be over, and then sends a code.
async fn assert_sends_a_code_after_the_deadline(fixture: &Fixture) {
    let sent = fixture.outbox.count();
    fixture.clock.advance(DEADLINE - Duration::from_micros(1));
    let early = start(fixture).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Unavailable);
    assert_eq!(early.retry_after(), Some(Duration::from_secs(1)));
    assert_eq!(fixture.outbox.count(), sent);
    fixture.clock.advance(Duration::from_micros(1));
    let started = start(fixture).await.unwrap();
    assert_eq!(fixture.outbox.count(), sent + 1);
    assert_eq!(start(fixture).await.unwrap().token.expose(), started.token.expose());
    assert_eq!(fixture.outbox.count(), sent + 1, "it is sent once");
    exchange_by_code(fixture, &started).await.unwrap();
}

#[tokio::test]
async fn a_start_whose_insert_got_no_answer_sends_its_code_when_it_is_repeated() {
    let store = engine();
    let fixture = over(&store, Policy::default());
    let lost = Calls::from(StoreVerb::InsertSession).take(1);
    store.fail(lost, StoreFault::lost_reply("reset"));
    assert_eq!(start(&fixture).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!((store.faults_left(), fixture.outbox.count()), (0, 0));
    assert_sends_a_code_after_the_deadline(&fixture).await;
}

#[tokio::test]
async fn a_start_whose_code_is_not_delivered_and_whose_session_stays_sends_it_when_it_is_repeated()
{
    let store = engine();
    let fixture = over(&store, Policy::default());
    store.fail([StoreVerb::TakeSession, StoreVerb::RemoveSession], StoreFault::unavailable("down"));
    fixture.outbox.break_down();
    assert_eq!(start(&fixture).await.unwrap_err().kind(), ErrorKind::Unavailable);
    // It cannot be delivered later either.
    fixture.clock.advance(DEADLINE);
    assert_eq!(start(&fixture).await.unwrap_err().kind(), ErrorKind::Unavailable);
    store.clear_faults();
    fixture.outbox.mend();
    assert_sends_a_code_after_the_deadline(&fixture).await;
}

#[tokio::test]
async fn a_start_whose_code_was_delivered_and_not_written_is_repeated_with_another_code() {
    let store = engine();
    let fixture = over(&store, Policy::default());
    let next = Calls::from(StoreVerb::ReplaceSession).take(1);
    store.fail(next, StoreFault::unavailable("down"));
    assert_eq!(start(&fixture).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!((store.faults_left(), fixture.outbox.count()), (0, 1));
    assert_sends_a_code_after_the_deadline(&fixture).await;
}

#[tokio::test]
async fn a_start_whose_code_was_written_without_an_answer_is_repeated_with_the_code_that_was_sent()
{
    let store = engine();
    let fixture = over(&store, Policy::default());
    let next = Calls::from(StoreVerb::ReplaceSession).take(1);
    store.fail(next, StoreFault::lost_reply("reset"));
    assert_eq!(start(&fixture).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let started = start(&fixture).await.unwrap();
    assert_eq!(fixture.outbox.count(), 1);
    exchange_by_code(&fixture, &started).await.unwrap();
}

#[tokio::test]
async fn a_start_is_not_returned_while_the_same_request_is_still_delivering_its_code() {
    let store = engine();
    let fixture = over(&store, Policy::default());
    let held = store.hold_replies(StoreVerb::InsertSession);
    let meanwhile = async {
        held.wait_for(1).await;
        let early = start(&fixture).await;
        held.release();
        early
    };
    let (first, early) = tokio::join!(start(&fixture), meanwhile);
    assert_eq!(early.unwrap_err().kind(), ErrorKind::Unavailable);
    let again = start(&fixture).await.unwrap();
    assert_eq!(first.unwrap().token.expose(), again.token.expose());
    assert_eq!(fixture.outbox.count(), 1);
    exchange_by_code(&fixture, &again).await.unwrap();
}

#[tokio::test]
async fn a_session_that_ends_while_its_code_is_delivered_is_not_started() {
    let store = engine();
    let fixture = over(&store, Policy::default());
    let held = store.hold(StoreVerb::ReplaceSession);
    let meanwhile = async {
        held.wait_for(1).await;
        let id = fixture.outbox.last().session_id;
        fixture.tokens.end_session(&id).await.unwrap();
        held.release();
    };
    let (first, ()) = tokio::join!(start(&fixture), meanwhile);
    assert_eq!(first.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(start(&fixture).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_session_that_is_started_again_while_it_is_ended_ends_with_its_tokens() {
    let store = engine();
    let fixture = over(&store, Policy::default());
    let tokens = &fixture.tokens;
    let start = async || tokens.start_session(Actor::Host, of("cus_1"), &here()).await.unwrap();
    let first = start().await.session.proven().unwrap();
    let held = store.hold_replies(StoreVerb::RemoveSession);
    let meanwhile = async {
        held.wait_for(1).await;
        let again = start().await;
        let keep = ExchangeRequest::default().invalidate(false);
        let jwt = tokens.exchange(&again.token, keep, &here()).await.unwrap().token.access_token;
        tokens.validator().validate(jwt.expose()).unwrap();
        held.release();
        (again.token, jwt)
    };
    let (ended, (token, jwt)) = tokio::join!(tokens.end_session(first.id()), meanwhile);
    ended.unwrap();
    let gone = tokens.find_session(&token, &here()).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    let fault = tokens.validator().validate(jwt.expose()).unwrap_err();
    assert_eq!(fault, TokenFault::Revoked);
}

/// A fixture with the credential `jane`, whose sessions outlive a new password.
async fn with_a_credential(store: &Engine) -> Fixture {
    let policy = Policy::default().passwords(|passwords| passwords.end_sessions_on_change(false));
    let fixture = over(store, policy);
    let hash = fixture.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    let entity = Entity::customer("jane", hash, CustomerId::new("cus_1").unwrap(), false).unwrap();
    fixture.tokens.register(entity).await.unwrap();
    fixture
}

async fn log_in(fixture: &Fixture) -> Result<StartedSession, Error> {
    let login = CustomerLogin::new("jane", Password::new(PASSWORD).unwrap()).idempotency_key(KEY);
    fixture.tokens.log_in_customer(login, &here()).await
}

/// The second look at the credential, when the session is there.
fn second_look() -> Calls {
    Calls::from(StoreVerb::GetEntity).skip(1).take(1)
}

#[tokio::test]
async fn a_repeated_login_that_finds_its_credential_changed_ends_its_session_with_its_tokens() {
    let store = engine();
    let fixture = with_a_credential(&store).await;
    let tokens = &fixture.tokens;
    let first = log_in(&fixture).await.unwrap();
    let keep = ExchangeRequest::default().invalidate(false);
    let jwt = tokens.exchange(&first.token, keep, &here()).await.unwrap().token.access_token;
    let held = store.hold(second_look());
    let meanwhile = async {
        held.wait_for(1).await;
        let jane = EntityId::customer("jane").unwrap();
        tokens.set_password(&jane, Password::new("another password").unwrap()).await.unwrap();
        tokens.validator().validate(jwt.expose()).unwrap();
        held.release();
    };
    let (repeated, ()) = tokio::join!(log_in(&fixture), meanwhile);
    assert_eq!(repeated.unwrap_err().kind(), ErrorKind::InvalidCredentials);
    let gone = tokens.find_session(&first.token, &here()).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    let fault = tokens.validator().validate(jwt.expose()).unwrap_err();
    assert_eq!(fault, TokenFault::Revoked);
}

#[tokio::test]
async fn a_repeated_login_whose_credential_cannot_be_read_again_ends_nothing() {
    let store = engine();
    let fixture = with_a_credential(&store).await;
    let first = log_in(&fixture).await.unwrap();
    store.fail(second_look(), StoreFault::unavailable("down"));
    assert_eq!(log_in(&fixture).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.faults_left(), 0);
    let again = log_in(&fixture).await.unwrap();
    assert_eq!(again.session.proven().unwrap().id(), first.session.proven().unwrap().id());
}

#[tokio::test]
async fn nodes_that_seal_by_different_keys_start_one_session_for_a_key() {
    let (store, keys) = (MemoryStore::new(), KeyRing::generate(Algorithm::EdDSA).unwrap());
    let node = |sealing: &[u8]| {
        let sealing = sealing.iter().map(|byte| SealingKey::from_bytes([*byte; 32]));
        Fixture::with_keys(keys.clone(), |builder| {
            sealing.fold(builder.store(store.clone()), |builder, key| builder.sealing_key(key))
        })
    };
    // What nodes have at the same time while a key is rotated.
    let steps: [[&[u8]; 2]; 3] = [[&[1], &[1, 2]], [&[1, 2], &[2, 1]], [&[2, 1], &[2]]];
    for (step, nodes) in steps.iter().enumerate() {
        for (order, [here_first, there]) in
            [[nodes[0], nodes[1]], [nodes[1], nodes[0]]].iter().enumerate()
        {
            let customer = format!("cus_{step}_{order}");
            let start = async |sealing: &[u8]| {
                let tokens = node(sealing).tokens;
                tokens.start_session(Actor::Host, of(&customer), &here()).await.unwrap().token
            };
            let first = start(here_first).await;
            assert_eq!(start(there).await.expose(), first.expose(), "{step} {order}");
        }
    }
}

#[tokio::test]
async fn a_key_of_one_customer_is_not_that_of_another_whose_names_read_alike() {
    let fixture = Fixture::new();
    let start = async |organization: &str, customer: &str| {
        let organization = OrganizationId::new(organization).unwrap();
        let new = of(customer).organization(organization);
        fixture.tokens.start_session(Actor::Host, new, &here()).await.unwrap()
    };
    let first = start("a b", "c").await;
    let second = start("a", "b c").await;
    assert_ne!(first.token.expose(), second.token.expose());
}

#[tokio::test]
async fn a_bearer_that_may_do_less_now_gets_nothing_of_what_its_key_was_given() {
    let fixture = Fixture::with(|builder| builder.audience(OTHER));
    let tokens = &fixture.tokens;
    let bearer = async |grant: Grant| {
        let issued = tokens.issue(grant.acl(Acl::everything())).await.unwrap();
        tokens.validator().validate(issued.access_token.expose()).unwrap()
    };
    let wide = bearer(Grant::user("ops")).await;
    let narrow = bearer(Grant::user("ops").audience(AUDIENCE)).await;
    let start = async |bearer| tokens.start_session(bearer, of("cus_1"), &here()).await;
    let started = start(&wide).await.unwrap();
    assert_eq!(start(&narrow).await.unwrap_err().kind(), ErrorKind::InvalidFields);
    assert_eq!(start(&wide).await.unwrap().token.expose(), started.token.expose());

    let exchange = async |bearer: &Arc<Validated>| {
        let request = ExchangeRequest::default().acl(Acl::everything()).idempotency_key(KEY);
        tokens.exchange(&started.token, request.bearer(bearer.clone()), &here()).await
    };
    let exchanged = exchange(&wide).await.unwrap().token.token_id;
    let without = tokens.issue(Grant::user("ops")).await.unwrap().access_token;
    let without = tokens.validator().validate(without.expose()).unwrap();
    for less in [&narrow, &without] {
        assert_eq!(exchange(less).await.unwrap_err().kind(), ErrorKind::InvalidFields);
    }
    assert_eq!(exchange(&wide).await.unwrap().token.token_id, exchanged);
}

#[tokio::test]
async fn the_cookie_of_a_session_lives_for_the_rest_of_it() {
    let fixture = Fixture::new();
    let lifetime = |started: &StartedSession| {
        let cookie = started.cookie(&SessionCookie::default()).to_str().unwrap().to_owned();
        let (_, rest) = cookie.split_once("; Max-Age=").unwrap();
        rest.split_once(';').unwrap().0.parse::<u64>().unwrap()
    };
    assert_eq!(lifetime(&start(&fixture).await.unwrap()), 86_400);
    fixture.clock.advance(MINUTE / 2);
    let again = start(&fixture).await.unwrap();
    assert_eq!(lifetime(&again), 86_370);
    fixture.clock.advance(MINUTE / 2);
    let code = fixture.outbox.last_code();
    let confirmed = fixture.tokens.confirm_one_time_password(&again.token, code, &here()).await;
    assert_eq!(lifetime(&confirmed.unwrap()), 86_340);
}

#[tokio::test]
async fn a_key_that_was_used_a_minute_ago_starts_no_other_session() {
    let fixture = Fixture::new();
    let started = start(&fixture).await.unwrap();
    fixture.clock.advance(MINUTE);
    assert_eq!(start(&fixture).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(fixture.outbox.count(), 1);
    exchange_by_code(&fixture, &started).await.unwrap();
}
