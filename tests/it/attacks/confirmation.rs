//! The fresh session that a one-time password is confirmed for: one of each code, whatever races, fails or
//! dies in its midst, and nothing that the session before it did not have.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use countersign::faults::TokenFault;
use countersign::sessions::{CustomerLogin, SessionState};
use countersign::store::{MemoryStore, PageRequest};
use countersign::testing::{Calls, FaultyStore, StoreFault, StoreVerb};
use countersign::{
    Acl, Actor, AuthenticationToken, Bearer, CustomerId, Entity, EntityId, ErrorKind,
    ExchangeRequest, Grant, NewSession, Organization, OrganizationId, Password, Policy,
    RequestContext, StartedSession, SubjectType,
};
use http::Request;
use serde_json::json;

use crate::attacks::service::{Cluster, MINUTE, NAME};
use crate::support::log::Log;
use crate::support::{Fixture, PASSWORD, Server, acl_of, change_of, wrong_code_for};

fn context() -> RequestContext {
    RequestContext::without_address()
}

fn customer() -> CustomerId {
    CustomerId::new("cus_1").unwrap()
}

/// A session that the host has started, and its code.
async fn begin(fixture: &Fixture) -> (AuthenticationToken, String) {
    let token = fixture.session(|new| new.otp_required(true)).await;
    (AuthenticationToken::from_text(&token).unwrap(), fixture.outbox.last_code())
}

async fn confirm(
    fixture: &Fixture,
    token: &AuthenticationToken,
    code: &str,
) -> Result<StartedSession, ErrorKind> {
    let confirmed = fixture.tokens.confirm_one_time_password(token, code, &context()).await;
    confirmed.map_err(|error| error.kind())
}

async fn find(fixture: &Fixture, token: &AuthenticationToken) -> Result<SessionState, ErrorKind> {
    fixture.tokens.find_session(token, &context()).await.map_err(|error| error.kind())
}

/// The live sessions that are listed: those that are proven, and those that are not.
async fn listed(fixture: &Fixture) -> (usize, usize) {
    let page = PageRequest::first(100);
    let listed = fixture.tokens.list_sessions(Actor::Host, None, page, &context()).await.unwrap();
    let (proven, pending): (Vec<_>, Vec<_>) =
        listed.sessions.into_iter().partition(|session| matches!(session, SessionState::Proven(_)));
    (proven.len(), pending.len())
}

async fn register_guarded(fixture: &Fixture) -> EntityId {
    let hash = fixture.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    let entity = Entity::customer(NAME, hash, customer(), true).unwrap();
    let entity = entity
        .acl(acl_of(json!([{"scope": {}, "permissions": ["GetOrders"]}])))
        .organization(OrganizationId::new("org_1").unwrap());
    let id = entity.id().clone();
    fixture.tokens.register(entity).await.unwrap();
    id
}

async fn log_in(fixture: &Fixture) -> (AuthenticationToken, String) {
    let login = CustomerLogin::new(NAME, Password::new(PASSWORD).unwrap());
    let context = context().organization(OrganizationId::new("org_1").unwrap());
    let started = fixture.tokens.log_in_customer(login, &context).await.unwrap();
    (started.token, fixture.outbox.last_code())
}

/// A server whose handler says whose token an `ExchangeLayer` has taken.
async fn serve(fixture: &Fixture) -> Server {
    let who = |Bearer(claims): Bearer| async move { claims.principal().id().to_owned() };
    Server::start(Router::new().route("/", get(who)).layer(fixture.tokens.exchange_layer())).await
}

async fn ask_with_cookie(server: &Server, token: &AuthenticationToken) -> u16 {
    let cookie = format!("__Host-session={}", token.expose());
    let request = Request::get("/").header("cookie", cookie).body("").unwrap();
    server.send(request).await.status().as_u16()
}

#[tokio::test]
async fn a_right_code_turns_the_session_into_a_fresh_one_that_a_layer_takes() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    let id = register_guarded(&fixture).await;
    let (token, code) = log_in(&fixture).await;
    let SessionState::OneTimePasswordPending(before) = find(&fixture, &token).await.unwrap() else {
        panic!("a code is wanted");
    };
    assert_eq!(ask_with_cookie(&server, &token).await, 401);
    fixture.clock.advance(MINUTE);
    let fresh = confirm(&fixture, &token, &code).await.unwrap();
    let session = fresh.session.proven().unwrap();
    assert!(fresh.token.expose() != token.expose() && session.id() != before.id());
    assert!(!session.otp_required());
    assert_eq!(session.customer_id(), &customer());
    assert_eq!(session.organization_id(), before.organization_id());
    assert_eq!(session.credential(), Some(&id));
    assert_eq!(session.created_at(), before.created_at());
    assert_eq!(session.expires_at(), before.expires_at());
    assert!(session.acl().allows("GetOrders", &[]));

    assert_eq!(find(&fixture, &token).await.unwrap_err(), ErrorKind::NotFound);
    assert_eq!(confirm(&fixture, &token, &code).await.unwrap_err(), ErrorKind::NotFound);
    assert_eq!(listed(&fixture).await, (1, 0));
    assert_eq!(ask_with_cookie(&server, &token).await, 401);
    assert_eq!(ask_with_cookie(&server, &fresh.token).await, 200);
    server.get("/", Some(fresh.token.expose())).await.expect(200);
    let keep = ExchangeRequest::default().invalidate(false);
    let exchanged = fixture.tokens.exchange(&fresh.token, keep, &context()).await.unwrap();
    let claims = fixture.tokens.validator().validate(exchanged.token.access_token.expose());
    assert_eq!(claims.unwrap().session_id(), Some(session.id()));
    fixture.tokens.log_out_customer(&fresh.token, &context()).await.unwrap();
    assert_eq!(ask_with_cookie(&server, &fresh.token).await, 401);
    assert_eq!(listed(&fixture).await, (0, 0));
}

#[tokio::test]
async fn a_fresh_session_carries_the_claims_and_ends_with_who_started_the_one_before_it() {
    let fixture = Fixture::with(|builder| {
        builder.policy(Policy::default().tokens(|tokens| tokens.open_custom_claims(["locale"])))
    });
    let tokens = &fixture.tokens;
    let starter = Grant::new(SubjectType::Machine, "aa-1").acl(Acl::everything());
    let starter = tokens.issue(starter).await.unwrap();
    let starter = tokens.validator().validate(starter.access_token.expose()).unwrap();
    let claims = json!({"locale": "de"}).as_object().unwrap().clone();
    let new = NewSession::of(customer()).otp_required(true).custom_claims(claims.clone()).unwrap();
    let started = tokens.start_session(&starter, new, &context()).await.unwrap();
    let fresh = confirm(&fixture, &started.token, &fixture.outbox.last_code()).await.unwrap();
    let session = fresh.session.proven().unwrap();
    assert_eq!(session.custom_claims(), &claims);
    assert_eq!(session.started_by().unwrap().id(), "aa-1");
    fixture.clock.advance(Duration::from_secs(1));
    let principal = tokens.principal(SubjectType::Machine, "aa-1", Organization::All);
    let revoked = tokens.revoke_subject(&principal, tokens.now()).await.unwrap();
    assert_eq!(revoked.sessions, 1);
    assert_eq!(find(&fixture, &fresh.token).await.unwrap_err(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_log_out_of_all_that_began_before_the_code_was_typed_ends_the_fresh_session() {
    let fixture = Fixture::new();
    let (token, code) = begin(&fixture).await;
    fixture.clock.advance(Duration::from_secs(10));
    let then = fixture.tokens.now();
    fixture.clock.advance(Duration::from_secs(10));
    let fresh = confirm(&fixture, &token, &code).await.unwrap();
    let principal = fixture.tokens.principal(SubjectType::Customer, "cus_1", Organization::All);
    fixture.tokens.revoke_subject(&principal, then).await.unwrap();
    assert_eq!(find(&fixture, &fresh.token).await.unwrap_err(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_session_that_a_jwt_was_exchanged_from_is_not_confirmed_and_keeps_its_code() {
    let store = FaultyStore::new(MemoryStore::new());
    let fixture = Fixture::with(|builder| builder.session_store(store.clone()));
    let (token, code) = begin(&fixture).await;
    let keep = ExchangeRequest::default().invalidate(false).one_time_password(code);
    let jwt = fixture.tokens.exchange(&token, keep, &context()).await.unwrap().token.access_token;
    fixture.clock.advance(MINUTE);
    fixture.tokens.resend_one_time_password(&token, &context()).await.unwrap();
    let code = fixture.outbox.last_code();
    // Also where what would be revoked could not be published.
    store.fail(StoreVerb::Publish, StoreFault::unavailable("down"));
    for _ in 0..5 {
        assert_eq!(confirm(&fixture, &token, &code).await.unwrap_err(), ErrorKind::Conflict);
    }
    store.clear_faults();
    let request = ExchangeRequest::default().one_time_password(code);
    fixture.tokens.exchange(&token, request, &context()).await.unwrap();
    fixture.tokens.validator().validate(jwt.expose()).unwrap();
    fixture.tokens.log_out_customer(&token, &context()).await.unwrap();
    let fault = fixture.tokens.validator().validate(jwt.expose()).unwrap_err();
    assert_eq!(fault, TokenFault::Revoked);
}

#[tokio::test]
async fn a_confirmation_that_fails_uses_up_nothing_but_tries() {
    let fixture = Fixture::new();
    let open = AuthenticationToken::from_text(&fixture.session(|new| new).await).unwrap();
    assert_eq!(confirm(&fixture, &open, "123456").await.unwrap_err(), ErrorKind::Conflict);
    fixture.tokens.log_out_customer(&open, &context()).await.unwrap();
    let (token, code) = begin(&fixture).await;
    for malformed in ["", "12345", "1234567", "12345a"] {
        let refused = confirm(&fixture, &token, malformed).await;
        assert_eq!(refused.unwrap_err(), ErrorKind::InvalidFields);
    }
    let elsewhere = context().organization(OrganizationId::new("org_2").unwrap());
    let refused = fixture.tokens.confirm_one_time_password(&token, &*code, &elsewhere).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotFound);
    let nobodys = AuthenticationToken::generate().unwrap();
    assert_eq!(confirm(&fixture, &nobodys, &code).await.unwrap_err(), ErrorKind::NotFound);
    let wrong = wrong_code_for(&code);
    for _ in 0..4 {
        let refused = confirm(&fixture, &token, &wrong).await;
        assert_eq!(refused.unwrap_err(), ErrorKind::OneTimePasswordInvalid);
    }
    // The last try may be the right one.
    confirm(&fixture, &token, &code).await.unwrap();

    let (token, code) = begin(&fixture).await;
    let wrong = wrong_code_for(&code);
    for _ in 0..5 {
        let refused = confirm(&fixture, &token, &wrong).await;
        assert_eq!(refused.unwrap_err(), ErrorKind::OneTimePasswordInvalid);
    }
    assert_eq!(confirm(&fixture, &token, &code).await.unwrap_err(), ErrorKind::NotFound);
    // With those of the first session: they count for the customer.
    let (token, code) = begin(&fixture).await;
    let refused = confirm(&fixture, &token, &wrong_code_for(&code)).await;
    assert_eq!(refused.unwrap_err(), ErrorKind::OneTimePasswordInvalid);
    assert_eq!(confirm(&fixture, &token, &code).await.unwrap_err(), ErrorKind::Throttled);
    fixture.clock.advance(MINUTE * 5);
    confirm(&fixture, &token, &code).await.unwrap();
    assert_eq!(listed(&fixture).await, (2, 0));
}

#[tokio::test]
async fn a_code_that_has_expired_or_was_exchanged_is_confirmed_no_more() {
    let fixture = Fixture::new();
    let (token, code) = begin(&fixture).await;
    let used_up = ExchangeRequest::default().one_time_password(&*code);
    fixture.tokens.exchange(&token, used_up, &context()).await.unwrap();
    let refused = confirm(&fixture, &token, &code).await.unwrap_err();
    assert_eq!(refused, ErrorKind::NotFound);
    let (token, _) = begin(&fixture).await;
    fixture.clock.advance(MINUTE * 10);
    let expired = fixture.outbox.last_code();
    let refused = confirm(&fixture, &token, &expired).await.unwrap_err();
    assert_eq!(refused, ErrorKind::OneTimePasswordInvalid);
    assert_eq!(listed(&fixture).await, (0, 1));
}

/// How many of those are served that present one code at once: to confirm it, to exchange it, and to
/// change a password by it.
async fn won_at_once(
    confirming: usize,
    exchanging: usize,
    invalidate: bool,
    changing: usize,
) -> usize {
    let policy = Policy::default()
        .passwords(|passwords| passwords.hashing_deadline(Duration::from_secs(60)))
        .sessions(|sessions| sessions.one_time_password_attempts(100))
        // So that nothing but the code stands in the way.
        .passwords(|passwords| passwords.end_sessions_on_change(false));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let id = register_guarded(&fixture).await;
    let (token, code) = log_in(&fixture).await;
    let mut presenting = tokio::task::JoinSet::new();
    for _ in 0..confirming {
        let (tokens, token, code) = (fixture.tokens.clone(), token.clone(), code.clone());
        presenting.spawn(async move {
            tokens.confirm_one_time_password(&token, code, &context()).await.is_ok()
        });
    }
    for _ in 0..exchanging {
        let (tokens, token) = (fixture.tokens.clone(), token.clone());
        let request = ExchangeRequest::default().invalidate(invalidate).one_time_password(&*code);
        presenting.spawn(async move { tokens.exchange(&token, request, &context()).await.is_ok() });
    }
    for number in 0..changing {
        let change = change_of(id.clone(), PASSWORD, &format!("password number {number}"));
        let (tokens, change) =
            (fixture.tokens.clone(), change.one_time_password(token.clone(), &*code));
        presenting.spawn(async move { tokens.change_password(change, &context()).await.is_ok() });
    }
    let won = presenting.join_all().await.into_iter().filter(|won| *won).count();
    // Nothing is left of those who lost.
    let (proven, pending) = listed(&fixture).await;
    assert!(proven + pending <= 1, "{proven} {pending}");
    won
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_present_one_code_at_once_one_is_served() {
    for _ in 0..5 {
        assert_eq!(won_at_once(20, 0, true, 0).await, 1);
        assert_eq!(won_at_once(10, 10, true, 0).await, 1);
        assert_eq!(won_at_once(10, 10, false, 0).await, 1);
    }
    assert_eq!(won_at_once(6, 0, true, 3).await, 1);
    assert_eq!(won_at_once(5, 5, true, 3).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_confirm_one_code_on_several_nodes_one_gets_a_session() {
    let cluster = Cluster::new();
    let nodes = [cluster.plain_node(), cluster.plain_node(), cluster.plain_node()];
    for _ in 0..5 {
        let (token, code) = begin(&nodes[0]).await;
        let mut confirming = tokio::task::JoinSet::new();
        for number in 0..60 {
            let tokens = nodes[number % 3].tokens.clone();
            let (token, code) = (token.clone(), code.clone());
            confirming.spawn(async move {
                tokens.confirm_one_time_password(&token, code, &context()).await
            });
        }
        let confirmed: Vec<_> =
            confirming.join_all().await.into_iter().filter_map(Result::ok).collect();
        assert_eq!(confirmed.len(), 1);
        assert_eq!(listed(&nodes[1]).await, (1, 0));
        nodes[2].tokens.log_out_customer(&confirmed[0].token, &context()).await.unwrap();
    }
}

/// The calls of a confirmation: read, count the try, write the fresh session, use the old one up.
const STEPS: usize = 4;

fn call(step: usize) -> Calls {
    Calls::all().skip(step).take(1)
}

#[tokio::test]
async fn a_store_that_fails_at_any_step_uses_nothing_up_and_leaves_nothing_behind() {
    let store = FaultyStore::new(MemoryStore::new());
    let fixture = Fixture::with(|builder| builder.session_store(store.clone()));
    let (token, code) = begin(&fixture).await;
    for step in 0..STEPS {
        store.fail(call(step), StoreFault::unavailable("down"));
        let failed = confirm(&fixture, &token, &code).await.unwrap_err();
        assert_eq!((failed, store.faults_left()), (ErrorKind::Unavailable, 0), "{step}");
        assert_eq!(listed(&fixture).await, (0, 1), "{step}");
    }
    // Nor was a try lost.
    for _ in 0..4 {
        confirm(&fixture, &token, &wrong_code_for(&code)).await.unwrap_err();
    }
    store.fail(call(STEPS), StoreFault::unavailable("down"));
    confirm(&fixture, &token, &code).await.unwrap();
    assert_eq!(store.faults_left(), 1, "there is no further step");
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_yields_no_second_session() {
    let store = FaultyStore::new(MemoryStore::new());
    let fixture = Fixture::with(|builder| builder.session_store(store.clone()));
    for step in 1..STEPS {
        let (token, code) = begin(&fixture).await;
        store.fail(call(step), StoreFault::lost_reply("connection reset"));
        let lost = confirm(&fixture, &token, &code).await.unwrap_err();
        assert_eq!((lost, store.faults_left()), (ErrorKind::Unavailable, 0), "{step}");
        let is_used_up = step + 1 == STEPS;
        assert_eq!(listed(&fixture).await, (0, usize::from(!is_used_up)), "{step}");
        let again = confirm(&fixture, &token, &code).await;
        if is_used_up {
            assert_eq!(again.unwrap_err(), ErrorKind::NotFound);
        } else {
            let fresh = again.unwrap();
            assert_eq!(listed(&fixture).await, (1, 0));
            fixture.tokens.log_out_customer(&fresh.token, &context()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_node_that_dies_between_any_two_steps_leaves_the_code_to_one() {
    let cluster = Cluster::new();
    let store = FaultyStore::new(cluster.store.clone());
    let doomed = cluster.node(&[1], store.clone(), Policy::default());
    let other = cluster.plain_node();
    for step in 0..STEPS {
        for is_done in [false, true] {
            let (token, code) = begin(&other).await;
            let held =
                if is_done { store.hold_replies(call(step)) } else { store.hold(call(step)) };
            tokio::select! {
                confirmed = confirm(&doomed, &token, &code) => panic!("{confirmed:?}"),
                () = held.wait_for(1) => {}
            }
            let confirmed = confirm(&other, &token, &code).await;
            let is_used_up = is_done && step + 1 == STEPS;
            assert_eq!(confirmed.is_err(), is_used_up, "{step} {is_done} {confirmed:?}");
            let request = ExchangeRequest::default().one_time_password(&*code);
            let exchanged = other.tokens.exchange(&token, request, &context()).await;
            assert_eq!(exchanged.unwrap_err().kind(), ErrorKind::NotFound);
            // A node that was but slow goes on, and finds that it has lost.
            let before = store.calls(StoreVerb::RemoveSession);
            held.release();
            if step >= 2 && !is_used_up {
                store.wait_for_calls(StoreVerb::RemoveSession, before + 1).await;
                tokio::task::yield_now().await;
                assert_eq!(listed(&other).await, (1, 0), "{step} {is_done}");
            }
            let principal =
                other.tokens.principal(SubjectType::Customer, "cus_1", Organization::All);
            cluster.clock.advance(Duration::from_secs(2));
            other.tokens.revoke_subject(&principal, other.tokens.now()).await.unwrap();
            assert_eq!(listed(&other).await, (0, 0));
        }
    }
}

#[tokio::test]
async fn who_hangs_up_while_the_fresh_session_is_written_leaves_one_at_most() {
    let store = FaultyStore::new(MemoryStore::new());
    let fixture = Fixture::with(|builder| builder.session_store(store.clone()));
    let (token, code) = begin(&fixture).await;
    let held = store.hold(StoreVerb::InsertSession);
    tokio::select! {
        confirmed = confirm(&fixture, &token, &code) => panic!("{confirmed:?}"),
        () = held.wait_for(1) => {}
    }
    let uses_up = store.calls(StoreVerb::ReplaceSession) + 1;
    held.release();
    store.wait_for_calls(StoreVerb::ReplaceSession, uses_up).await;
    tokio::task::yield_now().await;
    assert_eq!(confirm(&fixture, &token, &code).await.unwrap_err(), ErrorKind::NotFound);
    assert_eq!(listed(&fixture).await, (1, 0));
}

#[tokio::test]
async fn who_logs_the_customer_out_everywhere_at_that_moment_ends_both() {
    for step in 2..STEPS {
        let store = FaultyStore::new(MemoryStore::new());
        let fixture = Fixture::with(|builder| builder.session_store(store.clone()));
        let id = register_guarded(&fixture).await;
        let (token, code) = log_in(&fixture).await;
        let held = store.hold(call(step));
        let meanwhile = async {
            held.wait_for(1).await;
            fixture.tokens.disable_entity(&id).await.unwrap();
            held.release();
        };
        let (confirmed, ()) = tokio::join!(confirm(&fixture, &token, &code), meanwhile);
        assert_eq!(confirmed.unwrap_err(), ErrorKind::NotFound, "{step}");
        assert_eq!(listed(&fixture).await, (0, 0), "{step}");
    }
}

#[tokio::test]
async fn the_event_of_a_confirmation_names_the_session_that_asked_and_the_fresh_one() {
    let fixture = Fixture::new();
    let (token, code) = begin(&fixture).await;
    for (code, outcome) in [(wrong_code_for(&code), "rejected"), (code, "accepted")] {
        let log = Log::default();
        let _listening = log.listen();
        let confirmed = confirm(&fixture, &token, &code).await;
        let event = log.only("confirm_one_time_password");
        assert_eq!(event["sid"], fixture.outbox.last().session_id.as_str());
        assert_eq!(event["outcome"], outcome);
        assert_eq!(event["subject_kind"], "customer");
        let fresh = confirmed.ok().map(|fresh| fresh.session.proven().unwrap().id().to_string());
        assert_eq!(event.get("fresh_sid"), fresh.as_ref(), "where there is one");
        assert_ne!(event.get("fresh_sid"), event.get("sid"));
    }
}
