//! What the password alone gets where a one-time password is asked for: nothing but the question.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use countersign::entities::PasswordChange;
use countersign::sessions::{CustomerLogin, SessionState};
use countersign::store::{MemoryStore, PageRequest};
use countersign::testing::{Calls, FaultyStore, StoreFault, StoreVerb};
use countersign::{
    Acl, AuthenticationToken, CustomerId, Entity, EntityId, Error, ErrorKind, ExchangeRequest,
    Grant, Password, Policy, RequestContext, TokenService,
};
use http::StatusCode;
use serde_json::{Value, json};

use crate::attacks::service::{MINUTE, NAME, serve, session_with_code};
use crate::support::log::Log;
use crate::support::problems::assert_problem;
use crate::support::sessions::{SESSIONS, exchange, present_code, send_again, session_path};
use crate::support::{Fixture, PASSWORD, Server, change_of, wrong_code_for};

const PENDING: &str = "oneTimePasswordPending";
const NEW: &str = "another good password";

/// A credential of `cus_1` that is asked for a one-time password.
async fn register_guarded(fixture: &Fixture, name: &str) -> EntityId {
    register(fixture, name, true).await;
    EntityId::customer(name).unwrap()
}

async fn register(fixture: &Fixture, name: &str, otp_required: bool) {
    let hash = fixture.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    let customer = CustomerId::new("cus_1").unwrap();
    let entity = Entity::customer(name, hash, customer, otp_required).unwrap();
    fixture.tokens.register(entity).await.unwrap();
}

async fn verified(server: &Server, token: &str) -> Value {
    server.get(&session_path(token), None).await.expect(200).json()
}

#[tokio::test]
async fn verifying_a_token_says_whether_its_one_time_password_is_still_wanted() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    register_guarded(&fixture, NAME).await;
    let login = json!({"username": NAME, "password": PASSWORD});
    let started = server.post(SESSIONS, None, &login).await.expect(201).json();
    let token = started["token"].as_str().unwrap();

    // Before the code, this member is all that is added to what the start has returned.
    let mut expected = started.clone();
    expected.as_object_mut().unwrap().remove("token");
    expected[PENDING] = true.into();
    assert_eq!(verified(&server, token).await, expected);
    assert_eq!(started["otpRequired"], true);
    assert_eq!(started.get(PENDING), None);

    let code = fixture.outbox.last_code();
    let body = json!({"oneTimePassword": code, "invalidate": false});
    exchange(&server, token, &body).await.expect(201);
    let proven = verified(&server, token).await;
    assert_eq!((proven.get(PENDING), &proven["otpRequired"]), (None, &json!(true)));

    // Another code for another exchange takes nothing back.
    fixture.clock.advance(MINUTE);
    send_again(&server, token).await.expect(204);
    assert_eq!(verified(&server, token).await.get(PENDING), None);

    let open = fixture.session(|new| new).await;
    assert_eq!(verified(&server, &open).await.get(PENDING), None);
}

/// What a host writes that lets its customers in.
async fn host(tokens: &TokenService) -> Server {
    async fn log_in(
        State(tokens): State<TokenService>,
        context: RequestContext,
        Json(login): Json<Value>,
    ) -> Result<String, Refused> {
        let text = |name: &str| login[name].as_str().unwrap_or_default().to_owned();
        let login = CustomerLogin::new(text("username"), Password::new(text("password"))?);
        let started = tokens.log_in_customer(login, &context).await?;
        Ok(started.session.proven()?.customer_id().as_str().to_owned())
    }

    async fn who_am_i(
        State(tokens): State<TokenService>,
        context: RequestContext,
        Path(token): Path<String>,
    ) -> Result<String, Refused> {
        let token = AuthenticationToken::from_text(&token)?;
        match tokens.find_session(&token, &context).await? {
            SessionState::Proven(session) => Ok(format!("you are {}", session.customer_id())),
            SessionState::OneTimePasswordPending(session) => {
                Ok(format!("{}, type your code", session.id().as_str().len()))
            }
        }
    }

    let routes = Router::new().route("/login", post(log_in)).route("/me/{token}", get(who_am_i));
    Server::start(routes.with_state(tokens.clone()).merge(tokens.router())).await
}

struct Refused(Error);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (StatusCode::FORBIDDEN, format!("{:?}", self.0.kind())).into_response()
    }
}

#[tokio::test]
async fn a_handler_that_goes_by_a_session_lets_nobody_in_by_the_password_alone() {
    let fixture = Fixture::new();
    register_guarded(&fixture, NAME).await;
    let server = host(&fixture.tokens).await;
    let login = json!({"username": NAME, "password": PASSWORD});
    let refused = server.post("/login", None, &login).await.expect(403);
    assert_eq!(refused.text(), "OneTimePasswordRequired");

    let started = server.post(SESSIONS, None, &login).await.expect(201).json();
    let token = started["token"].as_str().unwrap().to_owned();
    let me = async || server.get(&format!("/me/{token}"), None).await.expect(200).text();
    assert_eq!(me().await, "36, type your code");
    let body = json!({"oneTimePassword": fixture.outbox.last_code(), "invalidate": false});
    exchange(&server, &token, &body).await.expect(201);
    assert_eq!(me().await, "you are cus_1");
}

#[tokio::test]
async fn a_list_tells_sessions_whose_code_is_wanted_from_the_others() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    register_guarded(&fixture, NAME).await;
    let (pending, _) = log_in(&fixture, NAME).await;
    fixture.clock.advance(MINUTE);
    fixture.session(|new| new).await;
    let bearer = fixture.tokens.issue(Grant::user("ops").acl(Acl::everything())).await.unwrap();
    let bearer = bearer.access_token.expose();
    let validated = fixture.tokens.validator().validate(bearer).unwrap();
    let (page, context) = (PageRequest::first(9), RequestContext::without_address());
    let listed = fixture.tokens.list_sessions(&validated, None, page, &context).await.unwrap();
    let proven = listed.sessions.into_iter().map(|session| session.proven().is_ok());
    assert_eq!(proven.collect::<Vec<_>>(), [false, true]);
    // The route returns the documented members alone.
    let listed = server.get(SESSIONS, Some(bearer)).await.expect(200).json();
    let mut expected = verified(&server, pending.expose()).await;
    expected.as_object_mut().unwrap().remove(PENDING).unwrap();
    assert_eq!(listed[0], expected);
}

async fn log_in(fixture: &Fixture, name: &str) -> (AuthenticationToken, String) {
    let login = CustomerLogin::new(name, Password::new(PASSWORD).unwrap());
    let context = RequestContext::without_address();
    let started = fixture.tokens.log_in_customer(login, &context).await.unwrap();
    (started.token, fixture.outbox.last_code())
}

async fn change(fixture: &Fixture, change: PasswordChange) -> Result<(), ErrorKind> {
    let context = RequestContext::without_address();
    fixture.tokens.change_password(change, &context).await.map_err(|error| error.kind())
}

/// A change of [`PASSWORD`] by a code.
fn by_code(id: &EntityId, token: &AuthenticationToken, code: &str) -> PasswordChange {
    change_of(id.clone(), PASSWORD, NEW).one_time_password(token.clone(), code)
}

#[tokio::test]
async fn a_password_that_is_no_longer_secret_changes_nothing_without_the_code() {
    let fixture = Fixture::new();
    let id = register_guarded(&fixture, NAME).await;
    let without = || change_of(id.clone(), PASSWORD, NEW);
    assert_eq!(change(&fixture, without()).await, Err(ErrorKind::OneTimePasswordRequired));
    let (token, code) = log_in(&fixture, NAME).await;
    assert_eq!(change(&fixture, without()).await, Err(ErrorKind::OneTimePasswordRequired));
    let wrong = by_code(&id, &token, &wrong_code_for(&code));
    assert_eq!(change(&fixture, wrong).await, Err(ErrorKind::OneTimePasswordInvalid));
    let malformed = by_code(&id, &token, "12345");
    assert_eq!(change(&fixture, malformed).await, Err(ErrorKind::InvalidFields));
    // Who does not know the password is told nothing of codes.
    let guess = || change_of(id.clone(), "a guess", NEW);
    let guess_with_code = guess().one_time_password(token.clone(), &*code);
    for guess in [guess(), guess_with_code] {
        assert_eq!(change(&fixture, guess).await, Err(ErrorKind::InvalidCredentials));
    }
    assert_eq!(change(&fixture, by_code(&id, &token, &code)).await, Ok(()));
    let login = CustomerLogin::new(NAME, Password::new(NEW).unwrap());
    fixture.tokens.log_in_customer(login, &RequestContext::without_address()).await.unwrap();
}

#[tokio::test]
async fn a_code_changes_one_password_once_and_is_exchanged_for_nothing_after_that() {
    // Otherwise the change ends the session, and its code with it.
    let policy = Policy::default().passwords(|passwords| passwords.end_sessions_on_change(false));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let server = serve(&fixture).await;
    let id = register_guarded(&fixture, NAME).await;
    let (token, code) = log_in(&fixture, NAME).await;
    assert_eq!(change(&fixture, by_code(&id, &token, &code)).await, Ok(()));
    let back = change_of(id.clone(), NEW, PASSWORD).one_time_password(token.clone(), &*code);
    assert_eq!(change(&fixture, back).await, Err(ErrorKind::OneTimePasswordInvalid));
    let exchanged = present_code(&server, token.expose(), &code).await;
    assert_problem(&exchanged, 401, "one-time-password-invalid");

    // Nor does one that was exchanged change a password.
    fixture.clock.advance(MINUTE);
    send_again(&server, token.expose()).await.expect(204);
    let code = fixture.outbox.last_code();
    let body = json!({"oneTimePassword": code, "invalidate": false});
    exchange(&server, token.expose(), &body).await.expect(201);
    let back = change_of(id, NEW, PASSWORD).one_time_password(token, code);
    assert_eq!(change(&fixture, back).await, Err(ErrorKind::OneTimePasswordInvalid));
}

#[tokio::test]
async fn the_code_of_anothers_session_changes_no_password_and_costs_it_no_try() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    let id = register_guarded(&fixture, NAME).await;
    // Another credential, though of the same customer; and a session that the host has started.
    register_guarded(&fixture, "another").await;
    let of_another = log_in(&fixture, "another").await;
    let (of_host, code_of_host) = session_with_code(&fixture).await;
    let of_host = AuthenticationToken::from_text(&of_host).unwrap();
    for (token, code) in [of_another, (of_host, code_of_host)] {
        for code in [wrong_code_for(&code), code.clone()].iter().cycle().take(12) {
            let changed = change(&fixture, by_code(&id, &token, code)).await;
            assert_eq!(changed, Err(ErrorKind::NotFound));
        }
        present_code(&server, token.expose(), &code).await.expect(201);
    }
    let nobodys = AuthenticationToken::generate().unwrap();
    let changed = change(&fixture, by_code(&id, &nobodys, "123456")).await;
    assert_eq!(changed, Err(ErrorKind::NotFound));
}

#[tokio::test]
async fn wrong_codes_count_alike_whether_they_are_to_change_a_password_or_to_be_exchanged() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    let id = register_guarded(&fixture, NAME).await;
    for _ in 0..2 {
        let (token, code) = log_in(&fixture, NAME).await;
        let wrong = wrong_code_for(&code);
        for _ in 0..2 {
            present_code(&server, token.expose(), &wrong).await.expect(401);
        }
        for _ in 0..3 {
            let changed = change(&fixture, by_code(&id, &token, &wrong)).await;
            assert_eq!(changed, Err(ErrorKind::OneTimePasswordInvalid));
        }
        // The fifth has ended it.
        let changed = change(&fixture, by_code(&id, &token, &code)).await;
        assert_eq!(changed, Err(ErrorKind::NotFound));
    }
    // And ten of all sessions of the customer make them wait.
    let (token, code) = log_in(&fixture, NAME).await;
    let changed = change(&fixture, by_code(&id, &token, &code)).await;
    assert_eq!(changed, Err(ErrorKind::Throttled));
    fixture.clock.advance(MINUTE * 5);
    assert_eq!(change(&fixture, by_code(&id, &token, &code)).await, Ok(()));
}

#[tokio::test]
async fn a_change_that_fails_uses_no_code_up_whatever_it_fails_for() {
    // Of one store, the calls of both kinds are counted together.
    let store = FaultyStore::new(MemoryStore::new());
    let (entities, sessions) = (store.clone(), store.clone());
    let fixture = Fixture::with(|builder| builder.entity_store(entities).session_store(sessions));
    let id = register_guarded(&fixture, NAME).await;
    let (token, code) = log_in(&fixture, NAME).await;
    let short = change_of(id.clone(), PASSWORD, "short").one_time_password(token.clone(), &*code);
    assert_eq!(change(&fixture, short).await, Err(ErrorKind::InvalidFields));
    // As many calls as there are before the new password is written, that write among them.
    for step in 0..6 {
        store.fail(Calls::all().skip(step).take(1), StoreFault::unavailable("down"));
        let failed = change(&fixture, by_code(&id, &token, &code)).await;
        assert_eq!(failed, Err(ErrorKind::Unavailable), "{step}");
        assert_eq!(store.faults_left(), 0, "{step}");
        let found = fixture.tokens.find_session(&token, &RequestContext::without_address()).await;
        assert!(found.unwrap().proven().is_err(), "{step}");
    }
    assert_eq!(store.calls(StoreVerb::ReplaceEntity), 1);
    assert_eq!(change(&fixture, by_code(&id, &token, &code)).await, Ok(()));
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_leaves_no_code_for_another() {
    let store = FaultyStore::new(MemoryStore::new());
    let entities = store.clone();
    let policy = Policy::default().passwords(|passwords| passwords.end_sessions_on_change(false));
    let fixture = Fixture::with(|builder| builder.entity_store(entities).policy(policy));
    let id = register_guarded(&fixture, NAME).await;
    let (token, code) = log_in(&fixture, NAME).await;
    store.fail(Calls::from(StoreVerb::ReplaceEntity).take(1), StoreFault::lost_reply("lost"));
    let lost = change(&fixture, by_code(&id, &token, &code)).await;
    assert_eq!(lost, Err(ErrorKind::Unavailable));
    let again = change_of(id, NEW, PASSWORD).one_time_password(token, code);
    assert_eq!(change(&fixture, again).await, Err(ErrorKind::OneTimePasswordInvalid));
}

#[tokio::test]
async fn a_code_whose_spending_got_no_answer_gives_back_one_try() {
    let store = FaultyStore::new(MemoryStore::new());
    let sessions = store.clone();
    let fixture = Fixture::with(|builder| builder.session_store(sessions));
    let server = serve(&fixture).await;
    let id = register_guarded(&fixture, NAME).await;
    for is_change in [false, true] {
        let (token, code) = log_in(&fixture, NAME).await;
        present_code(&server, token.expose(), &wrong_code_for(&code)).await.expect(401);
        // The try is counted by one write, and the code spent by the next.
        let spending = Calls::from(StoreVerb::ReplaceSession).skip(1).take(1);
        store.fail(spending, StoreFault::lost_reply("connection reset"));
        if is_change {
            let lost = change(&fixture, by_code(&id, &token, &code)).await;
            assert_eq!(lost, Err(ErrorKind::Unavailable));
        } else {
            let body = json!({"oneTimePassword": code, "invalidate": false});
            exchange(&server, token.expose(), &body).await.expect(503);
        }
        assert_eq!(store.faults_left(), 0);
        fixture.clock.advance(MINUTE);
        send_again(&server, token.expose()).await.expect(204);
        let wrong = wrong_code_for(&fixture.outbox.last_code());
        // Of five tries one was wrong.
        for status in [401, 401, 401, 401, 404] {
            present_code(&server, token.expose(), &wrong).await.expect(status);
        }
    }
}

#[tokio::test]
async fn who_hangs_up_once_the_code_is_spent_gets_it_back_where_the_change_fails() {
    let store = FaultyStore::new(MemoryStore::new());
    let (entities, sessions) = (store.clone(), store.clone());
    let fixture = Fixture::with(|builder| builder.entity_store(entities).session_store(sessions));
    let id = register_guarded(&fixture, NAME).await;
    let (token, code) = log_in(&fixture, NAME).await;
    // The try is counted by one write, and the code spent by the next.
    let held = store.hold(Calls::from(StoreVerb::ReplaceSession).skip(1).take(1));
    store.fail(Calls::from(StoreVerb::ReplaceEntity).take(1), StoreFault::unavailable("down"));
    tokio::select! {
        changed = change(&fixture, by_code(&id, &token, &code)) => panic!("{changed:?}"),
        () = held.wait_for(1) => {}
    }
    held.release();
    store.wait_for_calls(StoreVerb::ReplaceSession, 3).await;
    assert_eq!(change(&fixture, by_code(&id, &token, &code)).await, Ok(()));
}

/// How many changes of one password, by one code, and exchanges of that are answered, all at once.
async fn won_at_once(policy: Policy, changes: usize, exchanges: usize) -> usize {
    // However busy the machine is, nobody is turned away.
    let policy = policy
        .passwords(|passwords| passwords.hashing_deadline(Duration::from_secs(60)))
        .sessions(|sessions| sessions.one_time_password_attempts(100));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let id = register_guarded(&fixture, NAME).await;
    let (token, code) = log_in(&fixture, NAME).await;
    let mut presenting = tokio::task::JoinSet::new();
    for number in 0..changes {
        let tokens = fixture.tokens.clone();
        let change = change_of(id.clone(), PASSWORD, &format!("password number {number}"));
        let change = change.one_time_password(token.clone(), &*code);
        presenting.spawn(async move {
            tokens.change_password(change, &RequestContext::without_address()).await.is_ok()
        });
    }
    for _ in 0..exchanges {
        let (tokens, token) = (fixture.tokens.clone(), token.clone());
        let request = ExchangeRequest::default().invalidate(false).one_time_password(&*code);
        presenting.spawn(async move {
            tokens.exchange(&token, request, &RequestContext::without_address()).await.is_ok()
        });
    }
    presenting.join_all().await.into_iter().filter(|won| *won).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_present_one_code_at_once_one_changes_the_password_or_has_it_exchanged() {
    assert_eq!(won_at_once(Policy::default(), 6, 0).await, 1);
    // Where the session outlives the change, so that nothing but the code stands in the way.
    let lasting =
        || Policy::default().passwords(|passwords| passwords.end_sessions_on_change(false));
    assert_eq!(won_at_once(lasting(), 6, 0).await, 1);
    assert_eq!(won_at_once(lasting(), 3, 3).await, 1);
}

#[tokio::test]
async fn who_is_asked_for_no_code_changes_the_password_by_the_old_one() {
    let fixture = Fixture::new();
    fixture.user("ops", json!([])).await;
    register(&fixture, NAME, false).await;
    let id = EntityId::customer(NAME).unwrap();
    // What is presented all the same has to be good.
    let login = CustomerLogin::new(NAME, Password::new(PASSWORD).unwrap());
    let context = RequestContext::without_address();
    let token = fixture.tokens.log_in_customer(login, &context).await.unwrap().token;
    let changed = change(&fixture, by_code(&id, &token, "123456")).await;
    assert_eq!(changed, Err(ErrorKind::OneTimePasswordInvalid));
    for id in [id, EntityId::user("ops").unwrap()] {
        assert_eq!(change(&fixture, change_of(id, PASSWORD, NEW)).await, Ok(()));
    }
}

#[tokio::test]
async fn the_event_of_a_change_names_the_session_whose_code_was_presented() {
    let fixture = Fixture::new();
    let id = register_guarded(&fixture, NAME).await;
    let (token, code) = log_in(&fixture, NAME).await;
    let log = Log::default();
    let _listening = log.listen();
    change(&fixture, by_code(&id, &token, &wrong_code_for(&code))).await.unwrap_err();
    let event = log.only("change_password");
    assert_eq!(event["sid"], fixture.outbox.last().session_id.as_str());
    assert_eq!(event["reason"], "one_time_password_invalid");
}
