//! Who was shut out, or may do less than before, and what they still get.

use axum::Router;
use axum::routing::{get, post};
use countersign::clock::Clock as _;
use countersign::faults::TokenFault;
use countersign::sessions::CustomerLogin;
use countersign::store::{EntityStore as _, MemoryStore};
use countersign::testing::FaultyStore;
use countersign::{
    Acl, AclEntry, Actor, Algorithm, Bearer, CustomerId, Entity, EntityId, ErrorKind,
    ExchangeRequest, Grant, Issue, KeyRing, NewSession, Organization, OrganizationId, Password,
    RequestContext, SealingKey, Secret, SubjectType, TokenService,
};
use serde_json::json;

use crate::support::{Fixture, PASSWORD, Server, TestClock, acl_of, issue_now};

fn acl(permissions: &[&str]) -> Acl {
    Acl::new([AclEntry::anywhere(permissions.iter().copied()).unwrap()])
}

fn customer(id: &str) -> CustomerId {
    CustomerId::new(id).unwrap()
}

async fn register_customer(fixture: &Fixture, name: &str, permissions: &[&str]) {
    let hash = fixture.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    let entity = Entity::customer(name, hash, customer("cus_1"), false).unwrap();
    fixture.tokens.register(entity.acl(acl(permissions))).await.unwrap();
}

fn login(name: &str) -> CustomerLogin {
    CustomerLogin::new(name, Password::new(PASSWORD).unwrap())
}

fn context() -> RequestContext {
    RequestContext::without_address()
}

#[tokio::test]
async fn a_permission_that_is_taken_away_is_gone_with_the_next_request() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let held = json!([{"scope": {}, "permissions": ["GetOrders", "PostOrder"]}]);
    fixture.user("jane", held).await;
    let id = EntityId::user("jane").unwrap();
    let app = Router::new().route("/", get(async |_: Bearer| "in")).layer(tokens.validate_layer());
    let server = Server::start(app).await;

    let old = fixture.user_token("jane").await;
    // More is no reason to log anybody out.
    let more = acl(&["GetOrders", "PostOrder", "GetInvoices"]);
    tokens.update_entity(&id, move |jane| jane.acl(more.clone())).await.unwrap();
    server.get("/", Some(&old)).await.expect(200);

    let claims = |tier: &str| json!({"tier": tier}).as_object().unwrap().clone();
    let changes: [Box<dyn Fn(Entity) -> Entity + Send + Sync>; 3] = [
        Box::new(|jane| jane.acl(acl(&["GetOrders"]))),
        Box::new(move |jane| jane.custom_claims(claims("silver")).unwrap()),
        Box::new(|jane| jane.disabled(true)),
    ];
    let gold = json!({"tier": "gold"}).as_object().unwrap().clone();
    tokens.update_entity(&id, move |jane| jane.custom_claims(gold.clone()).unwrap()).await.unwrap();
    for change in changes {
        let token = fixture.user_token("jane").await;
        server.get("/", Some(&token)).await.expect(200);
        fixture.clock.advance(std::time::Duration::from_secs(1));
        let written = tokens.update_entity(&id, change).await.unwrap();
        server.get("/", Some(&token)).await.expect(401);
        assert_eq!(tokens.find_entity(&id).await.unwrap().unwrap().acl, written.acl);
    }
    assert!(tokens.find_entity(&id).await.unwrap().unwrap().is_disabled());
}

#[tokio::test]
async fn a_machine_client_that_moves_to_another_organization_is_logged_out_and_a_user_does_not_move()
 {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    fixture.user("jane", json!([])).await;
    fixture.machine("aa-1", "a secret of sixteen bytes").await;
    let organization = OrganizationId::new("org_1").unwrap();
    let moving = move |entity: Entity| entity.organization(organization.clone());
    let (jane, machine) = (EntityId::user("jane").unwrap(), EntityId::machine("aa-1").unwrap());
    let issued = tokens.issue_for(&machine).await.unwrap();
    fixture.clock.advance(std::time::Duration::from_secs(1));
    let moved = tokens.update_entity(&machine, moving.clone()).await.unwrap();
    assert_eq!(moved.id(), &machine);
    let fault = tokens.validator().validate(issued.access_token.expose()).unwrap_err();
    assert_eq!(fault, TokenFault::Revoked);
    let refused = tokens.update_entity(&jane, moving).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidRequest);
    let said = tokens.update_entity(&jane, |jane| jane.organization(Organization::All)).await;
    assert_eq!(said.unwrap().id(), &jane, "none, and none by intention, are one");
}

#[tokio::test]
async fn what_a_customer_may_no_longer_do_is_in_no_token_of_a_session_from_before() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    register_customer(&fixture, "jane", &["GetOrders", "PostOrder"]).await;
    let session = tokens.log_in_customer(login("jane"), &context()).await.unwrap();
    let id = EntityId::customer("jane").unwrap();
    tokens.update_entity(&id, |jane| jane.acl(acl(&["GetOrders"]))).await.unwrap();
    let gone =
        tokens.exchange(&session.token, ExchangeRequest::default(), &context()).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    let again = tokens.log_in_customer(login("jane"), &context()).await.unwrap();
    let jwt = tokens.exchange(&again.token, ExchangeRequest::default(), &context()).await.unwrap();
    assert_eq!(jwt.acl, acl(&["GetOrders"]));
}

#[tokio::test]
async fn an_exchange_gives_no_more_than_the_credential_holds_now_whoever_has_changed_it() {
    let store = MemoryStore::new();
    let fixture = Fixture::with(|builder| builder.entity_store(store.clone()));
    let tokens = &fixture.tokens;
    register_customer(&fixture, "jane", &["GetOrders", "PostOrder"]).await;
    let id = EntityId::customer("jane").unwrap();
    let server = Server::start(
        Router::new()
            .route("/", get(async |Bearer(caller): Bearer| json!(caller.acl()).to_string()))
            .layer(tokens.exchange_layer()),
    )
    .await;
    let log_in = async || tokens.log_in_customer(login("jane"), &context()).await.unwrap();
    let (first, second, third) = (log_in().await, log_in().await, log_in().await);
    // By a tool of the host's, that knows of no sessions.
    let write = async |change: &dyn Fn(Entity) -> Entity| {
        let before = store.get(&id).await.unwrap().unwrap();
        let version = before.version();
        store.replace(change(before).next_version(), version).await.unwrap();
    };
    write(&|jane| jane.acl(acl(&["GetOrders", "GetInvoices"]))).await;
    let asked = ExchangeRequest::default().acl(acl(&["PostOrder"]));
    let wider = tokens.exchange(&first.token, asked, &context()).await.unwrap_err();
    assert_eq!(wider.kind(), ErrorKind::AclExceedsGrant);
    let jwt = tokens.exchange(&first.token, ExchangeRequest::default(), &context()).await.unwrap();
    assert_eq!(jwt.acl, acl(&["GetOrders"]));
    let held = server.get("/", Some(second.token.expose())).await.expect(200).text();
    assert_eq!(held, json!([{"scope": {}, "permissions": ["GetOrders"]}]).to_string());

    write(&|jane| jane.disabled(true)).await;
    let gone =
        tokens.exchange(&second.token, ExchangeRequest::default(), &context()).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    server.get("/", Some(third.token.expose())).await.expect(401);
}

#[tokio::test]
async fn an_update_keeps_the_id_and_the_credential_and_loses_no_other_update() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    fixture.user("jane", json!([])).await;
    fixture.user("mallory", json!([])).await;
    let id = EntityId::user("jane").unwrap();
    let mallory = tokens.find_entity(&EntityId::user("mallory").unwrap()).await.unwrap().unwrap();
    let other = tokens.update_entity(&id, move |_| mallory.clone()).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::InvalidRequest);
    let nobody = EntityId::user("nobody").unwrap();
    let nobody = tokens.update_entity(&nobody, |it| it).await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::NotFound);
    let hash = tokens.hash_password(Password::new("another password").unwrap()).await.unwrap();
    let replaced = Entity::user("jane", hash).unwrap();
    let replaced = tokens.update_entity(&id, move |_| replaced.clone()).await.unwrap_err();
    assert_eq!(replaced.kind(), ErrorKind::InvalidRequest);
    fixture.user_token("jane").await;

    let updates = (0..20).map(|number| {
        tokens.update_entity(&id, move |jane| {
            let mut claims = jane.custom_claims.clone();
            claims.insert(number.to_string(), true.into());
            jane.custom_claims(claims).unwrap()
        })
    });
    for update in futures_util::future::join_all(updates).await {
        update.unwrap();
    }
    let jane = tokens.find_entity(&id).await.unwrap().unwrap();
    assert_eq!(jane.custom_claims.len(), 20);
}

#[tokio::test]
async fn whoever_is_disabled_gets_no_token_by_any_way_of_issuing() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    fixture.user("jane", json!([{"scope": {}, "permissions": ["GetOrders"]}])).await;
    fixture.machine("aa-1", "a-known-secret").await;
    let grant = async |name: String| match &*name {
        "jane" => Issue::grant(Grant::user("jane")),
        _ => Issue::grant(Grant::new(SubjectType::Machine, "aa-1")),
    };
    let app = Router::new().route("/login", post(grant)).layer(tokens.issue_layer());
    let server = Server::start(app.merge(tokens.router())).await;
    let log_in = async |name: &str| {
        let request = http::Request::post("/login").body(name.to_owned()).unwrap();
        server.send(request).await
    };
    let (jane, machine) = (EntityId::user("jane").unwrap(), EntityId::machine("aa-1").unwrap());
    let issued = tokens.issue_for(&jane).await.unwrap();
    let issued = tokens.validator().validate(issued.access_token.expose()).unwrap();
    assert_eq!(issued.acl(), acl(&["GetOrders"]));
    for id in [&jane, &machine] {
        log_in(id.name()).await.expect(200);
        tokens.disable_entity(id).await.unwrap();
        assert_eq!(tokens.issue_for(id).await.unwrap_err().kind(), ErrorKind::Disabled);
        let grant = Grant::new(id.subject_type(), id.name());
        assert_eq!(tokens.issue(grant).await.unwrap_err().kind(), ErrorKind::Disabled);
        let answer = log_in(id.name()).await.expect(403);
        assert_eq!(answer.json()["detail"], "The principal is disabled or blocked");
        tokens.enable_entity(id).await.unwrap();
        log_in(id.name()).await.expect(200);
    }
    let nobody = EntityId::user("nobody").unwrap();
    assert_eq!(tokens.issue_for(&nobody).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn whoever_is_blocked_gets_nothing_until_the_time_has_come() {
    let store = MemoryStore::new();
    let fixture = Fixture::with(|builder| builder.store(store.clone()));
    let tokens = &fixture.tokens;
    register_customer(&fixture, "jane", &["GetOrders"]).await;
    fixture.user("ops", json!([])).await;
    fixture.machine("aa-1", "a-known-secret").await;
    let server = fixture.serve().await;
    let bearer = acl_of(json!([{"scope": {}, "permissions": ["*"]}]));
    let bearer = issue_now(tokens, Grant::user("manager").acl(bearer)).unwrap();
    let before = tokens.log_in_customer(login("jane"), &context()).await.unwrap();

    let until = tokens.now() + std::time::Duration::from_secs(3_600);
    let kinds = [
        (SubjectType::Customer, "cus_1"),
        (SubjectType::User, "ops"),
        (SubjectType::Machine, "aa-1"),
    ];
    for (kind, id) in kinds {
        let principal = tokens.principal(kind, id, Organization::All);
        assert!(tokens.block_subject(&principal, until).await.unwrap().is_known);
    }
    let new = || NewSession::of(customer("cus_1"));
    let passwordless = json!({"mode": "passwordless", "customerId": "cus_1"});
    let passwordless = async || {
        let bearer = bearer.access_token.expose();
        server.post("/authentication-tokens", Some(bearer), &passwordless).await
    };
    let secret = Secret::dangerous_from_text("a-known-secret").unwrap();
    let jane = json!({"username": "jane", "password": PASSWORD});
    let ops = json!({"username": "ops", "password": PASSWORD});
    for (kind, id) in kinds {
        let issued = tokens.issue(Grant::new(kind, id)).await.unwrap_err();
        assert_eq!(issued.kind(), ErrorKind::Disabled);
    }
    assert_eq!(
        tokens
            .start_session(Actor::Host, new(), &RequestContext::without_address())
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::Disabled
    );
    assert!(
        passwordless().await.expect(403).json()["type"].as_str().unwrap().ends_with("disabled")
    );
    // Who tries a password is told nothing of it.
    server.post("/authentication-tokens", None, &jane).await.expect(401);
    server.post("/user/token/generate", None, &ops).await.expect(401);
    let machine = tokens.issue_machine_token("aa-1", &secret, &context()).await.unwrap_err();
    assert_eq!(machine.kind(), ErrorKind::InvalidCredentials);
    let exchanged =
        tokens.exchange(&before.token, ExchangeRequest::default(), &context()).await.unwrap_err();
    assert_eq!(exchanged.kind(), ErrorKind::NotFound);
    // A namesake elsewhere is somebody else.
    let elsewhere = OrganizationId::new("org_1").unwrap();
    tokens
        .start_session(
            Actor::Host,
            new().organization(elsewhere),
            &RequestContext::without_address(),
        )
        .await
        .unwrap();

    fixture.clock.advance(std::time::Duration::from_secs(3_601));
    for (kind, id) in kinds {
        let issued = tokens.issue(Grant::new(kind, id)).await.unwrap();
        tokens.validator().validate(issued.access_token.expose()).unwrap();
    }
    server.post("/authentication-tokens", None, &jane).await.expect(201);
    tokens.start_session(Actor::Host, new(), &RequestContext::without_address()).await.unwrap();
}

#[tokio::test]
async fn a_log_out_of_somebody_who_is_not_known_says_so() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    fixture.user("jane", json!([])).await;
    fixture.session(|new| new).await;
    let revoke = async |kind, id: &str, organization: Organization| {
        let principal = tokens.principal(kind, id, organization);
        tokens.revoke_subject(&principal, tokens.now()).await.unwrap()
    };
    fixture.clock.advance(std::time::Duration::from_secs(1));
    // A user's name in the place of a customer's id.
    let slip = revoke(SubjectType::Customer, "jane", Organization::All).await;
    assert_eq!((slip.sessions, slip.is_known), (0, false));
    let nobody = revoke(SubjectType::User, "joan", Organization::All).await;
    assert!(!nobody.is_known);
    let jane = revoke(SubjectType::User, "jane", Organization::All).await;
    assert_eq!((jane.sessions, jane.is_known), (0, true));
    let customer = revoke(SubjectType::Customer, "cus_1", Organization::All).await;
    assert_eq!((customer.sessions, customer.is_known), (1, true));
    // Of another issuer, nothing is revoked here.
    let stranger = countersign::testing::TestIssuer::new();
    let token = stranger.token().user("jane").sign();
    let theirs = stranger.validator().validate(&token).unwrap();
    let refused = tokens.revoke_subject(theirs.principal(), tokens.now()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    // What a token says of its own is what is revoked.
    let token = fixture.user_token("jane").await;
    let validated = tokens.validator().validate(&token).unwrap();
    fixture.clock.advance(std::time::Duration::from_secs(1));
    tokens.revoke_subject(validated.principal(), tokens.now()).await.unwrap();
    assert_eq!(tokens.validator().validate(&token).unwrap_err(), TokenFault::Revoked);
}

#[tokio::test]
async fn an_operation_that_was_named_and_is_not_any_more_is_taken_away() {
    let policy =
        countersign::Policy::default().tokens(|tokens| tokens.own_operations_by_name(true));
    let fixture = Fixture::with(|builder| {
        builder.policy(policy.tokens(|tokens| tokens.trailing_wildcards(true)))
    });
    let tokens = &fixture.tokens;
    for (number, (before, after)) in
        [(&["*", "ReadEntitySecret"][..], &["*"][..]), (&["Read*", "ReadEntitySecret"], &["Read*"])]
            .into_iter()
            .enumerate()
    {
        let name = format!("ops-{number}");
        fixture.user(&name, json!([{"scope": {}, "permissions": before}])).await;
        let token = fixture.user_token(&name).await;
        fixture.clock.advance(std::time::Duration::from_secs(1));
        let after = acl(after);
        let id = EntityId::user(&name).unwrap();
        tokens.update_entity(&id, move |ops| ops.acl(after.clone())).await.unwrap();
        assert_eq!(tokens.validator().validate(&token).unwrap_err(), TokenFault::Revoked);
    }
}

#[tokio::test]
async fn a_token_that_a_host_has_kept_does_nothing_once_it_is_no_longer_accepted() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    fixture.machine("aa-1", "a-known-secret").await;
    let session = fixture.session(|new| new).await;
    let session = countersign::AuthenticationToken::from_text(&session).unwrap();
    for is_revoked in [true, false] {
        let issued = Grant::user("ops").acl(Acl::everything());
        let issued = tokens.issue(issued).await.unwrap();
        let kept = tokens.validator().validate(issued.access_token.expose()).unwrap();
        tokens
            .read_secret(&kept, &EntityId::machine("aa-1").unwrap(), None, &context())
            .await
            .unwrap();
        if is_revoked {
            tokens.revoke_token(&issued.token_id).await.unwrap();
        } else {
            fixture.clock.advance(std::time::Duration::from_secs(2 * 86_400));
        }
        let refusals = [
            tokens
                .read_secret(&kept, &EntityId::machine("aa-1").unwrap(), None, &context())
                .await
                .map(drop),
            tokens
                .reset_secret(&kept, &EntityId::machine("aa-1").unwrap(), None, &context())
                .await
                .map(drop),
            tokens
                .start_session(&kept, NewSession::of(customer("cus_1")), &context())
                .await
                .map(drop),
            tokens
                .list_sessions(&kept, None, countersign::store::PageRequest::first(10), &context())
                .await
                .map(drop),
            tokens
                .exchange(&session, ExchangeRequest::default().bearer(kept), &context())
                .await
                .map(drop),
        ];
        for refusal in refusals {
            assert_eq!(refusal.unwrap_err().kind(), ErrorKind::InvalidToken);
        }
    }
}

#[tokio::test]
async fn a_log_out_of_what_was_begun_before_an_instant_revokes_what_came_of_it_since() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let session = fixture.session(|new| new).await;
    let session = countersign::AuthenticationToken::from_text(&session).unwrap();
    let minute = std::time::Duration::from_secs(60);
    fixture.clock.advance(minute);
    let cutoff = tokens.now();
    fixture.clock.advance(minute);
    let jwt = tokens
        .exchange(&session, ExchangeRequest::default().invalidate(false), &context())
        .await
        .unwrap();
    fixture.clock.advance(minute);
    let customer = tokens.principal(SubjectType::Customer, "cus_1", Organization::All);
    assert_eq!(tokens.revoke_subject(&customer, cutoff).await.unwrap().sessions, 1);
    let fault = tokens.validator().validate(jwt.token.access_token.expose()).unwrap_err();
    assert_eq!(fault, TokenFault::Revoked);
}

#[tokio::test]
async fn a_log_out_that_names_another_organization_than_the_registered_one_shuts_nobody_out() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let hash = tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    let organization = |id: &str| OrganizationId::new(id).unwrap();
    for entity in [Entity::user("jane", hash).unwrap(), Entity::machine("aa-1").unwrap()] {
        let entity = entity.organization(organization("org_1"));
        let id = entity.id().clone();
        tokens.register(entity).await.unwrap();
        let entity = tokens.find_entity(&id).await.unwrap().unwrap();
        let until = tokens.now() + std::time::Duration::from_secs(60);
        for other in [Organization::All, Organization::One(organization("org_2"))] {
            let mistaken = tokens.principal(id.subject_type(), id.name(), other);
            let revoked = tokens.revoke_subject(&mistaken, until).await;
            let blocked = tokens.block_subject(&mistaken, until).await;
            for outcome in [revoked, blocked] {
                // A user of that name there would be somebody else; a machine client would not.
                match id.subject_type() {
                    SubjectType::User => assert!(!outcome.unwrap().is_known),
                    _ => assert_eq!(outcome.unwrap_err().invalid_fields()[0].field, "organization"),
                }
            }
            tokens.issue_for(&id).await.unwrap();
        }
        let blocked = tokens.block_subject(&tokens.principal_of(&entity), until).await.unwrap();
        assert!(blocked.is_known);
        let error = tokens.issue_for(&id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disabled);
    }
}

/// A node over a store that all share, whose clock is its own.
fn node(store: &MemoryStore, keys: &KeyRing, clock: &TestClock) -> TokenService {
    let fixture = Fixture::with_keys(keys.clone(), |builder| {
        builder.store(store.clone()).clock(clock.clone())
    });
    fixture.tokens
}

#[tokio::test]
async fn a_token_of_a_node_whose_clock_is_a_little_ahead_ends_with_its_principal() {
    let (store, keys) = (MemoryStore::new(), KeyRing::generate(Algorithm::EdDSA).unwrap());
    let second = std::time::Duration::from_secs(1);
    // At whichever part of a second the two are.
    for ahead in [1, 20, 400, 998, 999].map(std::time::Duration::from_millis) {
        for part in [0, 1, 499, 990, 999].map(std::time::Duration::from_millis) {
            let clock = TestClock::at(countersign::Timestamp::from_secs(1_767_225_600) + part);
            let fast = TestClock::at(clock.now() + ahead);
            let (slow, fast) = (node(&store, &keys, &clock), node(&store, &keys, &fast));
            let id = EntityId::machine(format!("aa-{}-{}", ahead.as_millis(), part.as_millis()));
            let id = id.unwrap();
            slow.register(Entity::machine(id.name()).unwrap()).await.unwrap();
            let token = fast.issue_for(&id).await.unwrap();
            slow.disable_entity(&id).await.unwrap();
            fast.catch_up().await.unwrap();
            clock.advance(second * 10);
            for node in [&slow, &fast] {
                let fault = node.validator().validate(token.access_token.expose()).unwrap_err();
                assert_eq!(fault, TokenFault::Revoked, "{ahead:?} {part:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_node_that_has_not_heard_whom_others_block_issues_nothing() {
    let store = MemoryStore::new();
    let shared = || FaultyStore::new(store.clone()).durable(true);
    let over = |sessions: FaultyStore<MemoryStore>| {
        Fixture::with(|builder| {
            builder
                .entity_store(store.clone())
                .session_store(sessions)
                .sealing_key(SealingKey::from_bytes([7; 32]))
        })
    };
    let (first, second) = (over(shared()), over(shared()));
    first.tokens.catch_up().await.unwrap();
    register_customer(&first, "jane", &["GetOrders"]).await;
    first.user("ops", json!([])).await;
    let session = first.tokens.log_in_customer(login("jane"), &context()).await.unwrap().token;
    let of_customer = first.tokens.principal(SubjectType::Customer, "cus_1", Organization::All);
    let until = first.tokens.now() + std::time::Duration::from_secs(3_600);
    assert!(first.tokens.block_subject(&of_customer, until).await.unwrap().is_known);

    let tokens = &second.tokens;
    let unavailable = Some(ErrorKind::Unavailable);
    let kind = |error: Option<countersign::Error>| error.map(|error| error.kind());
    for expected in [unavailable, Some(ErrorKind::Disabled)] {
        let new = NewSession::of(customer("cus_1"));
        assert_eq!(kind(tokens.start_session(Actor::Host, new, &context()).await.err()), expected);
        assert_eq!(kind(tokens.issue(Grant::customer("cus_1")).await.err()), expected);
        if expected == unavailable {
            let ops = EntityId::user("ops").unwrap();
            assert_eq!(kind(tokens.issue_for(&ops).await.err()), expected);
            assert_eq!(kind(tokens.find_session(&session, &context()).await.err()), expected);
            let exchanged = tokens.exchange(&session, ExchangeRequest::default(), &context()).await;
            assert_eq!(kind(exchanged.err()), expected);
            tokens.catch_up().await.unwrap();
        }
    }
    let ended = tokens.find_session(&session, &context()).await;
    assert_eq!(kind(ended.err()), Some(ErrorKind::NotFound));
}

#[tokio::test]
async fn a_block_by_an_opaque_id_reaches_a_grant_by_name() {
    let policy =
        countersign::Policy::default().principals(|principals| principals.opaque_subjects(true));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let tokens = &fixture.tokens;
    fixture.user("jane", json!([])).await;
    let jane = tokens.find_entity(&EntityId::user("jane").unwrap()).await.unwrap().unwrap();
    let until = tokens.now() + std::time::Duration::from_secs(60);
    assert!(tokens.block_subject(&tokens.principal_of(&jane), until).await.unwrap().is_known);
    let error = tokens.issue(Grant::user("jane")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disabled);
}

#[tokio::test]
async fn a_login_that_a_handler_or_layer_turns_into_an_error_issues_nothing() {
    let fixture = Fixture::new();
    let granted = || Issue::grant(Grant::user("ops"));
    let denied = axum::middleware::map_response(async |mut response: axum::response::Response| {
        *response.status_mut() = http::StatusCode::FORBIDDEN;
        response
    });
    let app = Router::new()
        .route("/handler", post(async move || (http::StatusCode::UNAUTHORIZED, granted())))
        .route("/layer", post(async move || granted()).layer(denied))
        .route("/login", post(async move || (http::StatusCode::CREATED, granted())))
        .route("/stranger", post(async || Issue::registered(EntityId::user("joan").unwrap())))
        .layer(fixture.tokens.issue_layer());
    let server = Server::start(app).await;
    for (path, status) in [("/handler", 401), ("/layer", 403), ("/login", 200), ("/stranger", 404)]
    {
        let answer = server.send(http::Request::post(path).body("").unwrap()).await;
        let answer = answer.expect(status);
        assert_eq!(answer.text().contains("accessToken"), status == 200, "{path}");
    }
}

#[tokio::test]
async fn a_secret_that_was_replaced_is_not_good_again_after_a_disabling_or_an_import() {
    let day = std::time::Duration::from_secs(86_400);
    let policy = countersign::Policy::default().secrets(|secrets| secrets.overlap(day * 5));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let tokens = &fixture.tokens;
    fixture.machine("aa-1", "a secret that leaked").await;
    let id = EntityId::machine("aa-1").unwrap();
    let leaked = Secret::dangerous_from_text("a secret that leaked").unwrap();
    let is_good = async || tokens.issue_machine_token("aa-1", &leaked, &context()).await.is_ok();
    let import = async |text: &str| {
        tokens.import_secret(&id, &Secret::dangerous_from_text(text).unwrap(), None).await.unwrap();
    };
    import("another of sixteen bytes").await;
    assert!(!is_good().await);

    import("a secret that leaked").await;
    tokens.reset_secret(Actor::Host, &id, None, &context()).await.unwrap();
    assert!(is_good().await, "within the overlap");
    tokens.disable_entity(&id).await.unwrap();
    tokens.enable_entity(&id).await.unwrap();
    assert!(!is_good().await);
}

#[tokio::test]
async fn a_list_that_leaves_a_token_no_room_is_rejected_before_it_is_stored() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let many = |count: usize| {
        let permissions: Vec<_> = (0..count).map(|number| format!("Operation{number}")).collect();
        Acl::new([AclEntry::anywhere(permissions.iter().map(String::as_str)).unwrap()])
    };
    let error = tokens
        .start_session(Actor::Host, NewSession::of(customer("cus_1")).acl(many(600)), &context())
        .await;
    assert_eq!(error.unwrap_err().invalid_fields()[0].field, "acl");
    let machine = || Entity::machine("aa-1").unwrap();
    let error = tokens.register(machine().acl(many(600))).await.unwrap_err();
    assert_eq!(error.invalid_fields()[0].field, "acl");
    tokens.register(machine().acl(many(250))).await.unwrap();
    tokens.issue_for(machine().id()).await.unwrap();
    let started = tokens
        .start_session(Actor::Host, NewSession::of(customer("cus_1")).acl(many(250)), &context())
        .await;
    tokens.exchange(&started.unwrap().token, ExchangeRequest::default(), &context()).await.unwrap();
}
