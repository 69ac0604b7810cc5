//! What the password alone gets where a one-time password is asked for: nothing but the question.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use countersign::store::Page;
use countersign::{
    Acl, AuthenticationToken, CustomerId, CustomerLogin, Entity, EntityId, Error, Grant, Password,
    RequestContext, SessionState, TokenService,
};
use http::StatusCode;
use serde_json::{Value, json};

use crate::attacks::service::{MINUTE, NAME, serve};
use crate::support::sessions::{SESSIONS, exchange, send_again, session_path};
use crate::support::{Fixture, PASSWORD, Server};

const PENDING: &str = "oneTimePasswordPending";

/// A credential of `cus_1` that is asked for a one-time password.
async fn register_guarded(fixture: &Fixture, name: &str) -> EntityId {
    let hash = fixture.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    let customer = CustomerId::new("cus_1").unwrap();
    let entity = Entity::customer(name, hash, customer, true).unwrap();
    fixture.tokens.register(entity).await.unwrap();
    EntityId::customer(name).unwrap()
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
    let bearer = fixture.tokens.issue(Grant::user("ops").acl(Acl::everything())).unwrap();
    let bearer = bearer.access_token.expose();
    let validated = fixture.tokens.validator().validate(bearer).unwrap();
    let (page, context) = (Page { offset: 0, limit: 9 }, RequestContext::without_address());
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
