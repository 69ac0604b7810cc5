//! Tokens for some of a service's audiences.

use std::sync::Arc;

use countersign::sessions::CustomerLogin;
use countersign::store::{Cached, MemoryStore};
use countersign::tokens::IssuedToken;
use countersign::{
    Acl, Actor, AuthenticationToken, CustomerId, Entity, EntityId, ErrorKind, ExchangeRequest,
    Grant, KeyRing, NewSession, Password, RequestContext, Secret, Validated, Validator,
};
use serde_json::json;

use crate::support::{AUDIENCE, Fixture, ISSUER, PASSWORD, acl_of};

const OTHER: &str = "https://reports.example.com";
const SECRET: &str = "a secret that the tests know";

/// A service of two audiences.
fn fixture() -> Fixture {
    Fixture::with(|builder| builder.audience(OTHER))
}

fn context() -> RequestContext {
    RequestContext::without_address()
}

#[track_caller]
fn audiences_of(fixture: &Fixture, issued: &IssuedToken) -> Vec<String> {
    validated(fixture, issued).audiences().to_vec()
}

#[track_caller]
fn validated(fixture: &Fixture, issued: &IssuedToken) -> Arc<Validated> {
    fixture.tokens.validator().validate(issued.access_token.expose()).unwrap()
}

fn list() -> Acl {
    acl_of(json!([{"scope": {}, "permissions": ["GetOrders"]}]))
}

/// Registers a user, a machine client and a customer's credential, all for [`OTHER`] alone.
async fn register_restricted(fixture: &Fixture) {
    let tokens = &fixture.tokens;
    let hash = tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    let customer = CustomerId::new("cus_1").unwrap();
    for entity in [
        Entity::user("ops", hash.clone()).unwrap(),
        Entity::machine("aa-1").unwrap(),
        Entity::customer("jane", hash, customer, false).unwrap(),
    ] {
        tokens.register(entity.acl(list()).audience(OTHER)).await.unwrap();
    }
    let secret = Secret::dangerous_from_text(SECRET).unwrap();
    tokens.import_secret(&EntityId::machine("aa-1").unwrap(), &secret, None).await.unwrap();
}

async fn exchanged(fixture: &Fixture) -> Result<IssuedToken, countersign::Error> {
    let login = CustomerLogin::new("jane", Password::new(PASSWORD).unwrap());
    let started = fixture.tokens.log_in_customer(login, &context()).await?;
    let exchanged =
        fixture.tokens.exchange(&started.token, ExchangeRequest::default(), &context()).await?;
    Ok(exchanged.token)
}

#[tokio::test]
async fn a_grant_is_for_all_audiences_or_for_those_that_it_names() {
    let keys = KeyRing::generate(countersign::Algorithm::EdDSA).unwrap();
    let fixture = Fixture::with_keys(keys.clone(), |builder| builder.audience(OTHER));
    let issue = async |grant| fixture.tokens.issue(grant).await.unwrap();
    let all = issue(Grant::user("ops")).await;
    assert_eq!(audiences_of(&fixture, &all), [AUDIENCE, OTHER]);
    let both = issue(Grant::user("ops").audience(OTHER).audience(AUDIENCE).audience(OTHER)).await;
    assert_eq!(audiences_of(&fixture, &both), [AUDIENCE, OTHER], "each once");
    let one = issue(Grant::user("ops").audience(OTHER)).await;
    assert_eq!(audiences_of(&fixture, &one), [OTHER]);
    // A resource server accepts what is for it.
    let validate = |audience: &str, token: &IssuedToken| {
        let validator = Validator::builder().issuer(ISSUER).audience(audience).keys(keys.clone());
        let validator = validator.clock(fixture.clock.clone()).build().unwrap();
        validator.validate(token.access_token.expose()).is_ok()
    };
    assert!(validate(OTHER, &one) && !validate(AUDIENCE, &one));
    assert!(validate(OTHER, &all) && validate(AUDIENCE, &all));
}

#[tokio::test]
async fn an_audience_that_the_service_does_not_have_is_an_error() {
    let fixture = fixture();
    let tokens = &fixture.tokens;
    let grant = Grant::user("ops").audience(OTHER).audience("https://elsewhere.example.com");
    let error = tokens.issue(grant).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidFields);
    assert_eq!(error.invalid_fields()[0].field, "audience");
    let elsewhere = || Entity::machine("aa-1").unwrap().audience("https://elsewhere.example.com");
    let mut nothing = Entity::machine("aa-1").unwrap();
    nothing.audiences = Some(Vec::new());
    for entity in [elsewhere(), elsewhere().audience(OTHER), nothing] {
        assert_eq!(tokens.register(entity).await.unwrap_err().kind(), ErrorKind::InvalidRequest);
    }
    tokens.register(Entity::machine("aa-1").unwrap().audience(OTHER)).await.unwrap();
    let id = EntityId::machine("aa-1").unwrap();
    let added = tokens.update_entity(&id, |aa_1| aa_1.audience("https://elsewhere.example.com"));
    assert_eq!(added.await.unwrap_err().kind(), ErrorKind::InvalidRequest);
    let emptied = tokens.update_entity(&id, |mut aa_1| {
        aa_1.audiences.as_mut().unwrap().clear();
        aa_1
    });
    assert_eq!(emptied.await.unwrap_err().kind(), ErrorKind::InvalidRequest, "no one means all");
    let kept = tokens.find_entity(&id).await.unwrap().unwrap();
    assert_eq!(kept.audiences.unwrap(), [OTHER]);
}

#[tokio::test]
async fn whatever_a_restricted_principal_is_issued_is_for_its_audiences() {
    let fixture = fixture();
    register_restricted(&fixture).await;
    let tokens = &fixture.tokens;
    let password = || Password::new(PASSWORD).unwrap();
    let secret = Secret::presented(SECRET);
    let issued = [
        tokens.issue_user_token("ops", password(), &context()).await.unwrap(),
        tokens.issue_machine_token("aa-1", &secret, &context()).await.unwrap(),
        tokens.issue_for(&EntityId::user("ops").unwrap()).await.unwrap(),
        tokens.issue_for(&EntityId::customer("jane").unwrap()).await.unwrap(),
        // On the host's word, too.
        tokens.issue(Grant::user("ops")).await.unwrap(),
        tokens.issue(Grant::user("ops").audience(OTHER)).await.unwrap(),
        exchanged(&fixture).await.unwrap(),
    ];
    for issued in issued {
        assert_eq!(audiences_of(&fixture, &issued), [OTHER]);
    }
    let beyond = tokens.issue(Grant::user("ops").audience(AUDIENCE)).await.unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::InvalidFields);
    assert_eq!(beyond.invalid_fields()[0].field, "audience");
}

#[tokio::test]
async fn to_take_an_audience_away_revokes_and_to_add_one_revokes_nothing() {
    let fixture = Fixture::with(|builder| {
        builder.audience(OTHER).store(MemoryStore::new()).cache_entities(Cached::new)
    });
    register_restricted(&fixture).await;
    let tokens = &fixture.tokens;
    let ids = [EntityId::machine("aa-1").unwrap(), EntityId::customer("jane").unwrap()];
    let issue = async || {
        let secret = Secret::presented(SECRET);
        let machines = tokens.issue_machine_token("aa-1", &secret, &context()).await.unwrap();
        [machines, exchanged(&fixture).await.unwrap()]
    };
    let is_valid =
        |issued: &IssuedToken| tokens.validator().validate(issued.access_token.expose()).is_ok();
    let before = issue().await;
    for id in &ids {
        tokens.update_entity(id, |entity| entity.audience(AUDIENCE)).await.unwrap();
    }
    assert!(before.iter().all(is_valid), "nothing was taken away");
    let both = issue().await;
    assert!(both.iter().all(|issued| audiences_of(&fixture, issued) == [AUDIENCE, OTHER]));
    for id in &ids {
        // All there are, in other words.
        let all = |mut entity: Entity| {
            entity.audiences = None;
            entity
        };
        tokens.update_entity(id, all).await.unwrap();
    }
    assert!(both.iter().all(is_valid));
    let login = CustomerLogin::new("jane", Password::new(PASSWORD).unwrap());
    let open = tokens.log_in_customer(login, &context()).await.unwrap();
    for id in &ids {
        tokens.update_entity(id, |entity| entity.audience(AUDIENCE)).await.unwrap();
    }
    assert!(!before.iter().chain(&both).any(is_valid), "one was taken away");
    let ended =
        tokens.exchange(&open.token, ExchangeRequest::default(), &context()).await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::NotFound);
    fixture.clock.advance(std::time::Duration::from_secs(2));
    for issued in issue().await {
        assert_eq!(audiences_of(&fixture, &issued), [AUDIENCE]);
    }
}

#[tokio::test]
async fn a_phantom_token_is_for_the_audiences_of_the_credential() {
    let fixture = fixture();
    register_restricted(&fixture).await;
    let seen = axum::routing::get(async |countersign::Bearer(caller): countersign::Bearer| {
        caller.audiences().join(" ")
    });
    let app = axum::Router::new().route("/", seen.route_layer(fixture.tokens.exchange_layer()));
    let server = crate::support::Server::start(app).await;
    let login = CustomerLogin::new("jane", Password::new(PASSWORD).unwrap());
    let started = fixture.tokens.log_in_customer(login, &context()).await.unwrap();
    let answer = server.get("/", Some(started.token.expose())).await.expect(200);
    assert_eq!(answer.text(), OTHER);
}

#[tokio::test]
async fn what_a_restricted_bearer_starts_or_widens_is_for_none_but_its_audiences() {
    let fixture = fixture();
    let tokens = &fixture.tokens;
    let may =
        ["PostAuthenticationToken", "PostAuthenticationTokenExchange", "GetOrders", "GetBills"];
    let acl = acl_of(json!([{"scope": {}, "permissions": may}]));
    let bearer = async |audience: Option<&str>| {
        let grant = Grant::new(countersign::SubjectType::Machine, "aa-1").acl(acl.clone());
        let grant = audience.into_iter().fold(grant, Grant::audience);
        validated(&fixture, &tokens.issue(grant).await.unwrap())
    };
    let customer = || NewSession::of(CustomerId::new("cus_1").unwrap()).acl(list());
    let exchange = async |token: AuthenticationToken, request: ExchangeRequest| {
        let exchanged = tokens.exchange(&token, request, &context()).await;
        exchanged.map(|exchanged| audiences_of(&fixture, &exchanged.token))
    };
    let (restricted, free) = (bearer(Some(OTHER)).await, bearer(None).await);
    for (bearer, audiences) in [(&restricted, vec![OTHER]), (&free, vec![AUDIENCE, OTHER])] {
        let started = tokens.start_session(bearer, customer(), &context()).await.unwrap();
        let request = ExchangeRequest::default();
        assert_eq!(exchange(started.token, request).await.unwrap(), audiences);
        // An exchange that it widens, of a session that is for all of them.
        let started = tokens.start_session(Actor::Host, customer(), &context()).await.unwrap();
        let bills = acl_of(json!([{"scope": {}, "permissions": ["GetBills"]}]));
        let request = ExchangeRequest::default().acl(bills).bearer(Arc::clone(bearer));
        assert_eq!(exchange(started.token, request).await.unwrap(), audiences);
    }
    // Of one that is for another audience, nothing.
    let started = tokens.start_session(&restricted, customer(), &context()).await.unwrap();
    let elsewhere = bearer(Some(AUDIENCE)).await;
    let request = ExchangeRequest::default().acl(list()).bearer(elsewhere);
    let error = exchange(started.token.clone(), request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AclExceedsGrant);
    // And the token is still good.
    exchange(started.token, ExchangeRequest::default()).await.unwrap();
}

#[tokio::test]
async fn who_was_registered_when_the_service_had_other_audiences_gets_those_that_are_left() {
    let store = MemoryStore::new();
    let before = Fixture::with(|builder| builder.audience(OTHER).entity_store(store.clone()));
    let both = Entity::machine("aa-1").unwrap().audience(AUDIENCE).audience(OTHER);
    before.tokens.register(both).await.unwrap();
    before.tokens.register(Entity::machine("aa-2").unwrap().audience(OTHER)).await.unwrap();
    let after = Fixture::with(|builder| builder.entity_store(store));
    let issued = after.tokens.issue_for(&EntityId::machine("aa-1").unwrap()).await.unwrap();
    assert_eq!(audiences_of(&after, &issued), [AUDIENCE]);
    // And none where none is left, rather than all.
    let none = after.tokens.issue_for(&EntityId::machine("aa-2").unwrap()).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Configuration);
}
