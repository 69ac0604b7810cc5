//! Password hashes, and how they follow the policy.

use std::time::Duration;

use countersign::entities::{Credential, PasswordHash};
use countersign::policy::PasswordCost;
use countersign::sessions::CustomerLogin;
use countersign::store::MemoryStore;
use countersign::tokens::IssuedToken;
use countersign::{
    CustomerId, Entity, EntityId, ErrorKind, ExchangeRequest, Password, Policy, RequestContext,
};
use serde_json::json;

use crate::support::{Fixture, PASSWORD, change_of};

async fn stored_hash(fixture: &Fixture) -> String {
    let user = fixture.tokens.find_entity(&EntityId::user("ops").unwrap()).await.unwrap().unwrap();
    match user.credential() {
        Credential::User { password } => password.as_phc().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_login_hashes_anew_where_the_cost_has_grown_and_a_wrong_password_does_not() {
    let store = MemoryStore::new();
    let before = Fixture::with(|builder| builder.entity_store(store.clone()));
    before.user("ops", json!([])).await;
    let cheap = stored_hash(&before).await;
    assert!(cheap.contains("m=19456,t=2,p=1"), "{cheap}");

    let dearer = Policy::default()
        .passwords(|passwords| passwords.cost(PasswordCost::new(19 * 1024, 3, 1).unwrap()));
    let after = Fixture::with(|builder| builder.entity_store(store.clone()).policy(dearer));
    let context = RequestContext::without_address();
    let login = |password: &str| {
        after.tokens.issue_user_token("ops", Password::new(password).unwrap(), &context)
    };
    login("wrong").await.unwrap_err();
    assert_eq!(stored_hash(&after).await, cheap);
    login(PASSWORD).await.unwrap();
    let grown = stored_hash(&after).await;
    assert!(grown.contains("m=19456,t=3,p=1"), "{grown}");
    login(PASSWORD).await.unwrap();
    assert_eq!(stored_hash(&after).await, grown, "it is hashed anew once");
    before.user_token("ops").await;
    assert_eq!(stored_hash(&before).await, grown, "a service at a lower cost leaves it be");
}

#[track_caller]
fn password(text: &str) -> Password {
    Password::new(text).unwrap()
}

fn user() -> EntityId {
    EntityId::user("ops").unwrap()
}

async fn login(fixture: &Fixture, text: &str) -> Result<IssuedToken, ErrorKind> {
    let context = RequestContext::without_address();
    let issued = fixture.tokens.issue_user_token("ops", password(text), &context).await;
    issued.map_err(|error| error.kind())
}

/// A customer with [`PASSWORD`], and a session of theirs.
async fn customer(fixture: &Fixture) -> (EntityId, String) {
    let hash = fixture.tokens.hash_password(password(PASSWORD)).await.unwrap();
    let id = CustomerId::new("cus_1").unwrap();
    let jane = Entity::customer("jane", hash, id, false).unwrap();
    fixture.tokens.register(jane).await.unwrap();
    let login = CustomerLogin::new("jane", password(PASSWORD));
    let started =
        fixture.tokens.log_in_customer(login, &RequestContext::without_address()).await.unwrap();
    (EntityId::customer("jane").unwrap(), started.token.expose().to_owned())
}

#[tokio::test]
async fn a_password_that_was_set_counts_and_the_one_before_it_does_not() {
    let fixture = Fixture::new();
    fixture.user("ops", json!([])).await;
    fixture.tokens.set_password(&user(), password("another password")).await.unwrap();
    assert_eq!(login(&fixture, PASSWORD).await.unwrap_err(), ErrorKind::InvalidCredentials);
    login(&fixture, "another password").await.unwrap();
    let nobody = EntityId::user("nobody").unwrap();
    let unknown = fixture.tokens.set_password(&nobody, password("another password")).await;
    assert_eq!(unknown.unwrap_err().kind(), ErrorKind::NotFound);
    fixture.machine("aa-1", "a secret").await;
    let machine = EntityId::machine("aa-1").unwrap();
    let rejected = fixture.tokens.set_password(&machine, password("another password")).await;
    assert_eq!(rejected.unwrap_err().kind(), ErrorKind::InvalidRequest);
}

#[tokio::test]
async fn a_password_is_changed_by_whoever_knows_the_old_one() {
    let fixture = Fixture::new();
    fixture.user("ops", json!([])).await;
    let change = async |old: &str, new: &str| {
        let context = RequestContext::without_address();
        let changed = fixture.tokens.change_password(change_of(user(), old, new), &context).await;
        changed.map_err(|error| error.kind())
    };
    assert_eq!(change("a wrong one", "another password").await, Err(ErrorKind::InvalidCredentials));
    login(&fixture, PASSWORD).await.unwrap();
    assert_eq!(change(PASSWORD, PASSWORD).await, Err(ErrorKind::InvalidFields));
    assert_eq!(change(PASSWORD, "short").await, Err(ErrorKind::InvalidFields));
    assert_eq!(change(PASSWORD, "another password").await, Ok(()));
    assert_eq!(login(&fixture, PASSWORD).await.unwrap_err(), ErrorKind::InvalidCredentials);
    login(&fixture, "another password").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_changes_at_once_one_wins_and_the_others_had_a_wrong_password() {
    // However busy the machine is, none of them is turned away.
    let policy = Policy::default()
        .passwords(|passwords| passwords.hashing_deadline(Duration::from_secs(60)));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    fixture.user("ops", json!([])).await;
    let mut changing = tokio::task::JoinSet::new();
    for number in 0..4 {
        let tokens = fixture.tokens.clone();
        changing.spawn(async move {
            let new = format!("password number {number}");
            let context = RequestContext::without_address();
            let change = change_of(user(), PASSWORD, &new);
            let changed = tokens.change_password(change, &context).await;
            (number, changed.map_err(|error| error.kind()))
        });
    }
    let outcomes = changing.join_all().await;
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(_, done)| done.is_ok());
    let [(winner, _)] = won.as_slice() else { panic!("{won:?} won") };
    assert!(lost.iter().all(|(_, done)| *done == Err(ErrorKind::InvalidCredentials)), "{lost:?}");
    login(&fixture, &format!("password number {winner}")).await.unwrap();
}

#[tokio::test]
async fn a_password_that_is_chosen_keeps_to_the_policy_and_one_that_is_presented_does_not() {
    let policy = Policy::default().passwords(|passwords| {
        passwords.min_len(12).rule(|password: &Password| {
            if password.expose().contains("password") {
                return Err("must not be so easy to guess".to_owned());
            }
            Ok(())
        })
    });
    let fixture = Fixture::with(|builder| builder.policy(policy));
    fixture.user("ops", json!([])).await;
    for (bad, problem) in [
        ("elevenbytes", "must be at least 12 bytes long"),
        ("my password of 24 bytes!", "must not be so easy to guess"),
    ] {
        let set = fixture.tokens.set_password(&user(), password(bad)).await.unwrap_err();
        let hashed = fixture.tokens.hash_password(password(bad)).await.unwrap_err();
        for error in [set, hashed] {
            let [invalid] = error.invalid_fields() else { panic!("{error:?}") };
            assert_eq!((&*invalid.field, &*invalid.message), ("password", problem));
            assert!(!format!("{error:?}").contains(bad));
        }
    }
    // Bytes are counted, not characters; and the longest is taken whole.
    for good in ["zwölf Bytes", &"x".repeat(1024)] {
        fixture.tokens.set_password(&user(), password(good)).await.unwrap();
        login(&fixture, good).await.unwrap();
    }
    // Registered under an older policy.
    let short = PasswordHash::create(&password("short"), PasswordCost::default()).unwrap();
    fixture.tokens.register(Entity::user("old", short).unwrap()).await.unwrap();
    let context = RequestContext::without_address();
    fixture.tokens.issue_user_token("old", password("short"), &context).await.unwrap();
}

#[tokio::test]
async fn a_password_is_verified_exactly_as_it_was_received() {
    let fixture = Fixture::new();
    fixture.user("ops", json!([])).await;
    let exact = " Pässwörd\u{0} of 100 bytes ".repeat(4);
    fixture.tokens.set_password(&user(), password(&exact)).await.unwrap();
    login(&fixture, &exact).await.unwrap();
    let decomposed = exact.replace('ä', "a\u{308}").replace('ö', "o\u{308}");
    for other in [exact.trim(), &exact[..72], &exact.to_lowercase(), &decomposed] {
        assert_eq!(login(&fixture, other).await.unwrap_err(), ErrorKind::InvalidCredentials);
    }
}

#[tokio::test]
async fn an_expired_password_is_rejected_like_a_wrong_one_and_can_be_changed() {
    let day = Duration::from_secs(86_400);
    let policy = Policy::default().passwords(|passwords| passwords.lifetime(Some(day * 90)));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    fixture.user("ops", json!([])).await;
    fixture.clock.advance(day * 90 - Duration::from_micros(1));
    login(&fixture, PASSWORD).await.unwrap();
    fixture.clock.advance(Duration::from_micros(1));
    let context = RequestContext::without_address();
    let tokens = &fixture.tokens;
    let [expired, wrong] = [
        tokens.issue_user_token("ops", password(PASSWORD), &context).await.unwrap_err(),
        tokens.issue_user_token("ops", password("a wrong one"), &context).await.unwrap_err(),
    ];
    assert_eq!((expired.kind(), expired.to_string()), (wrong.kind(), wrong.to_string()));
    let change = change_of(user(), PASSWORD, "another password");
    tokens.change_password(change, &context).await.unwrap();
    login(&fixture, "another password").await.unwrap();
}

#[tokio::test]
async fn changing_a_password_ends_what_the_old_one_yielded_unless_the_policy_says_otherwise() {
    for ends in [true, false] {
        let policy =
            Policy::default().passwords(|passwords| passwords.end_sessions_on_change(ends));
        let fixture = Fixture::with(|builder| builder.policy(policy));
        let (jane, token) = customer(&fixture).await;
        let server = fixture.serve().await;
        let path = format!("/authentication-tokens/{token}");
        let keep = json!({"invalidate": false});
        let jwt = server.post(&format!("{path}/exchange"), None, &keep).await.expect(201).json();
        fixture.clock.advance(Duration::from_millis(1));
        fixture.tokens.set_password(&jane, password("another password")).await.unwrap();
        server.get(&path, None).await.expect(if ends { 404 } else { 200 });
        let jwt = fixture.tokens.validator().validate(jwt["token"].as_str().unwrap());
        assert_eq!(jwt.is_err(), ends);

        // Within the same second, the new one yields sessions and tokens that are good.
        fixture.clock.advance(Duration::from_millis(1));
        let login = CustomerLogin::new("jane", password("another password"));
        let started = fixture
            .tokens
            .log_in_customer(login, &RequestContext::without_address())
            .await
            .unwrap();
        let jwt = fixture
            .tokens
            .exchange(
                &started.token,
                ExchangeRequest::default(),
                &RequestContext::without_address(),
            )
            .await
            .unwrap();
        fixture.tokens.validator().validate(jwt.token.access_token.expose()).unwrap();
    }
}
