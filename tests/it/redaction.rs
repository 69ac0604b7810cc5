//! What must not be seen is not seen in `Debug`.

use axum::routing::post;
use axum::{Form, Json, Router};
use countersign::entities::PasswordChange;
use countersign::jose::{CryptoProvider, DefaultProvider, PrivateKey, SigningKey};
use countersign::{
    Actor, Algorithm, AuthenticationToken, CustomerId, Entity, EntityId, ExchangeRequest,
    NewSession, Organization, Password, RequestContext, SealingKey, Secret, SubjectType,
    TokenService, Validator,
};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Fixture, Server, change_of};

const CANARY: &str = "canary-6f2a";

#[track_caller]
fn assert_hidden(value: &impl std::fmt::Debug, secret: &str) {
    for text in [format!("{value:?}"), format!("{value:#?}")] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn secrets_and_keys_are_redacted() {
    assert_hidden(&Password::new(CANARY).unwrap(), CANARY);
    assert_hidden(&Secret::presented(CANARY), CANARY);
    assert_hidden(&AuthenticationToken::from_text(CANARY).unwrap(), CANARY);
    let key = AuthenticationToken::from_text(CANARY).unwrap();
    assert_hidden(&NewSession::of(CustomerId::new("c").unwrap()).dangerous_token(key), CANARY);
    let secret = format!("{CANARY}{}", "x".repeat(32));
    assert_hidden(&PrivateKey::from_hmac_secret(secret.as_bytes()).unwrap(), CANARY);
    assert_hidden(&SealingKey::from_bytes([0x41; 32]), "65");
    for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::HS256] {
        let private = DefaultProvider.generate(algorithm).unwrap();
        let key = SigningKey::new(&private, &DefaultProvider).unwrap();
        assert_eq!(format!("{key:?}"), format!("SigningKey({algorithm}, {})", key.kid()));
        assert_hidden(&DefaultProvider.verification_key(&private).unwrap(), "[");
    }
}

#[tokio::test]
async fn what_the_service_hands_out_and_keeps_is_redacted() {
    let fixture = Fixture::new();
    fixture.user("ops", serde_json::json!([])).await;
    let password = Password::new(crate::support::PASSWORD).unwrap();
    let issued = fixture
        .tokens
        .issue_user_token("ops", password, &RequestContext::without_address())
        .await
        .unwrap();
    assert_hidden(&issued, issued.access_token.expose());

    fixture.tokens.register(Entity::machine("aa-1").unwrap()).await.unwrap();
    let id = EntityId::machine("aa-1").unwrap();
    let secret = Secret::dangerous_from_text(CANARY).unwrap();
    fixture.tokens.import_secret(&id, &secret, None).await.unwrap();
    assert_hidden(&fixture.tokens.find_entity(&id).await.unwrap(), CANARY);
    let user = EntityId::new(SubjectType::User, "ops").unwrap();
    assert_hidden(&fixture.tokens.find_entity(&user).await.unwrap(), "argon2id");

    let new = NewSession::of(CustomerId::new("cus_1").unwrap());
    let started = fixture
        .tokens
        .start_session(Actor::Host, new, &RequestContext::without_address())
        .await
        .unwrap();
    assert_hidden(&started, started.token.expose());
    let exchanged = fixture
        .tokens
        .exchange(&started.token, ExchangeRequest::default(), &RequestContext::without_address())
        .await
        .unwrap();
    assert_hidden(&exchanged, exchanged.token.access_token.expose());
    let request = ExchangeRequest::default().one_time_password("424242");
    assert_hidden(&request, "424242");
    let change = change_of(user, CANARY, CANARY).one_time_password(started.token, "424242");
    assert_hidden(&change, CANARY);
    assert_hidden(&change, "424242");
}

#[test]
fn handles_can_be_shared_between_threads_and_cloned() {
    fn shareable<T: Clone + Send + Sync + 'static>() {}
    fn sendable<T: Send + Sync + 'static>() {}
    shareable::<TokenService>();
    shareable::<Validator>();
    shareable::<countersign::KeyRing>();
    shareable::<countersign::Policy>();
    shareable::<countersign::ValidateLayer>();
    shareable::<countersign::RequireLayer>();
    shareable::<countersign::IssueLayer>();
    shareable::<countersign::ExchangeLayer>();
    shareable::<countersign::Bearer>();
    shareable::<countersign::store::MemoryStore>();
    sendable::<countersign::Error>();
    sendable::<countersign::store::StoreError>();
    sendable::<countersign::Validated>();
}

#[test]
fn what_the_service_does_can_be_done_on_any_thread() {
    fn sendable<T: Send>(_never_polled: &T) {}
    let tokens = &Fixture::new().tokens;
    let context = &RequestContext::without_address();
    let id = &EntityId::user("jane").unwrap();
    let token = &AuthenticationToken::from_text(CANARY).unwrap();
    let customer = || CustomerId::new("c").unwrap();
    let password = || Password::new(CANARY).unwrap();
    sendable(&tokens.issue_user_token("jane", password(), context));
    sendable(&tokens.issue_machine_token("aa-1", &Secret::presented(CANARY), context));
    sendable(&tokens.set_password(id, password()));
    let change = PasswordChange::new(id.clone(), password(), password());
    sendable(&tokens.change_password(change.one_time_password(token.clone(), "1"), context));
    sendable(&tokens.import_secret(id, &Secret::presented(CANARY), None));
    sendable(&tokens.exchange(token, ExchangeRequest::default(), context));
    sendable(&tokens.revoke_subject(
        &tokens.principal(SubjectType::User, "jane", Organization::All),
        tokens.now(),
    ));
    sendable(&tokens.disable_entity(id));
    sendable(&tokens.rotate_keys());
    sendable(&tokens.retire_key("kid"));
    sendable(&tokens.log_out_customer(token, context));
    sendable(&tokens.start_session(
        Actor::Host,
        NewSession::of(customer()),
        &RequestContext::without_address(),
    ));
    sendable(&tokens.resend_one_time_password(token, context));
}

#[derive(Debug, Deserialize)]
struct Login {
    name: String,
    password: Password,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "what it holds is seen by `Debug`")]
struct Machine {
    secret: Secret,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "what it holds is seen by `Debug`")]
struct Held {
    token: AuthenticationToken,
}

#[tokio::test]
async fn a_handler_reads_secrets_as_fields_and_no_error_quotes_them() {
    let app = Router::new()
        .route("/json", post(async |Json(login): Json<Login>| told(&login)))
        .route("/form", post(async |Form(login): Form<Login>| told(&login)))
        .route("/machine", post(async |Json(machine): Json<Machine>| format!("{machine:?}")))
        .route("/session", post(async |Json(session): Json<Held>| format!("{session:?}")));
    let server = Server::start(app).await;
    let hidden = "jane Password([redacted]) 11";
    let json = json!({"name": "jane", "password": CANARY});
    assert_eq!(server.post("/json", None, &json).await.expect(200).text(), hidden);
    let form = format!("name=jane&password={CANARY}");
    let form_type = Some("application/x-www-form-urlencoded");
    let answer = server.post_text("/form", None, form_type, form).await.expect(200);
    assert_eq!(answer.text(), hidden);
    let answer = server.post("/machine", None, &json!({"secret": CANARY})).await.expect(200);
    assert_eq!(answer.text(), "Machine { secret: Secret([redacted]) }");
    let answer = server.post("/session", None, &json!({"token": CANARY})).await.expect(200);
    assert_eq!(answer.text(), "Held { token: AuthenticationToken([redacted]) }");

    let long = "7".repeat(1_025);
    let password = "a password must be a text of 1 to 1024 bytes";
    for wrong in [json!(""), json!(long), json!(777), json!(-777), json!(77.7), json!(true)] {
        let body = json!({"name": "jane", "password": wrong});
        let answer = server.post("/json", None, &body).await.expect(422).text();
        assert!(answer.contains(password) && !answer.contains("77"), "{answer}");
    }
    for wrong in [json!([CANARY]), json!({"a": CANARY}), Value::Null] {
        let body = json!({"name": "jane", "password": wrong});
        let answer = server.post("/json", None, &body).await.expect(422).text();
        assert!(!answer.contains(CANARY), "{answer}");
    }
    for wrong in [json!(""), json!(" "), json!(long), json!(777)] {
        let answer = server.post("/machine", None, &json!({"secret": wrong})).await;
        let answer = answer.expect(422).text();
        assert!(answer.contains("not blank") && !answer.contains("77"), "{answer}");
    }
    for wrong in [json!("canary 6f2a"), json!("7".repeat(513)), json!(777)] {
        let answer = server.post("/session", None, &json!({"token": wrong})).await;
        let answer = answer.expect(422).text();
        assert!(answer.contains("visible ASCII"), "{answer}");
        assert!(!answer.contains("canary") && !answer.contains("77"), "{answer}");
    }
}

fn told(login: &Login) -> String {
    format!("{} {:?} {}", login.name, login.password, login.password.expose().len())
}
