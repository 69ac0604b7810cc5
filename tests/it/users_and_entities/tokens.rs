//! Getting a token for a name and a password, or for an id and a secret.

use std::time::Duration;

use axum::Router;
use countersign::faults::TokenFault;
use countersign::{Entity, EntityId, ErrorKind, Organization, OrganizationId, Password, Secret};
use serde_json::json;

use super::{
    DAY, ENTITY_TOKEN, FORM, SECRET, USER_TOKEN, WRONG_PASSWORD, WRONG_SECRET,
    all_that_a_caller_sees, assert_bad_request, assert_envelope, assert_error, assert_uuid,
    claims_in, complete_with, complete_without, entity_login, service, service_with, user_login,
};
use crate::support::{AUDIENCE, Fixture, ISSUER, PASSWORD, START, Server, acl_of, member_names};

#[tokio::test]
async fn a_user_gets_a_token_with_a_form_and_with_json() {
    let (_fixture, server) = service().await;
    let form = "username=ops%40example.com&password=correct+horse%20battery+staple";
    let by_form = server.post_text(USER_TOKEN, None, Some(FORM), form).await.expect(200);
    let by_json = user_login(&server, "ops@example.com", PASSWORD).await.expect(200);
    for answer in [&by_form, &by_json] {
        let body = assert_envelope(answer);
        let expected = ["accessToken", "expiresIn", "timestamp", "tokenType", "txnId", "ver"];
        assert_eq!(member_names(&body), expected);
        assert_eq!(body["expiresIn"], 86_400);
        assert_eq!(body["tokenType"], "Bearer");
        assert_uuid(&body["txnId"]);
    }
    assert_ne!(by_form.json()["txnId"], by_json.json()["txnId"]);
    assert_ne!(by_form.json()["accessToken"], by_json.json()["accessToken"]);
}

#[tokio::test]
async fn an_entity_gets_a_token_with_a_form_and_with_json() {
    let (_fixture, server) = service().await;
    let form = "id=aa-1&secret=a+secret%20that+the+tests+know";
    let by_form = server.post_text(ENTITY_TOKEN, None, Some(FORM), form).await.expect(200);
    let by_json = entity_login(&server, "aa-1", SECRET).await.expect(200);
    for answer in [by_form, by_json] {
        let body = assert_envelope(&answer);
        let expected = ["accessToken", "expiresIn", "timestamp", "tokenType", "txnId", "ver"];
        assert_eq!(member_names(&body), expected);
        assert_eq!(body["expiresIn"], 86_400);
        assert_eq!(body["tokenType"], "Bearer");
        assert_uuid(&body["txnId"]);
    }
}

#[tokio::test]
async fn a_users_token_carries_the_documented_claims() {
    let fixture = Fixture::new();
    let hash = fixture.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    let acl = json!([{"scope": {"productId": ["p_1"]}, "permissions": ["GetOrders"]}]);
    let custom_claims = json!({"locale": "de", "iss": "somebody else"});
    let user = Entity::user("ops@example.com", hash)
        .unwrap()
        .acl(acl_of(acl.clone()))
        .custom_claims(custom_claims.clone())
        .unwrap()
        .organization(OrganizationId::new("org_1").unwrap());
    fixture.tokens.register(user).await.unwrap();
    let below = Router::new().nest("/organizations/{organizationId}", fixture.tokens.router());
    let server = Server::start(below).await;
    fixture.clock.advance(Duration::from_millis(900));
    let body = json!({"username": "ops@example.com", "password": PASSWORD});
    let path = format!("/organizations/org_1{USER_TOKEN}");
    let answer = server.post(&path, None, &body).await.expect(200);
    let claims = claims_in(&fixture, &answer);
    assert_uuid(&claims["jti"]);
    let expected = json!({
        "iss": ISSUER,
        "sub": "ops@example.com",
        "subject_type": "user",
        "aud": AUDIENCE,
        "iat": START,
        "nbf": START,
        "exp": START + 86_400,
        "jti": claims["jti"],
        "client_id": "first-party",
        "organizationId": "org_1",
        "acl": acl,
        "customClaims": custom_claims,
    });
    assert_eq!(claims, expected);
}

#[tokio::test]
async fn an_entitys_token_carries_the_documented_claims() {
    let (fixture, server) = service().await;
    let answer = entity_login(&server, "aa-1", SECRET).await.expect(200);
    let claims = claims_in(&fixture, &answer);
    assert_uuid(&claims["jti"]);
    let expected = json!({
        "iss": ISSUER,
        "sub": "aa-1",
        "subject_type": "entity",
        "aud": AUDIENCE,
        "iat": START,
        "nbf": START,
        "exp": START + 86_400,
        "jti": claims["jti"],
        "client_id": "aa-1",
        "acl": [],
    });
    assert_eq!(claims, expected);
}

#[tokio::test]
async fn the_lifetimes_of_tokens_and_the_first_partys_client_id_follow_the_policy() {
    let (fixture, server) = service_with(|policy| {
        policy.tokens(|tokens| {
            tokens
                .user_lifetime(Duration::from_secs(90))
                .machine_lifetime(Duration::from_secs(60))
                .first_party_client_id("shop")
        })
    })
    .await;
    let users = user_login(&server, "ops@example.com", PASSWORD).await.expect(200);
    let machines = entity_login(&server, "aa-1", SECRET).await.expect(200);
    for (answer, client_id, life) in [(users, "shop", 90), (machines, "aa-1", 60)] {
        assert_eq!(answer.json()["expiresIn"], life);
        let claims = claims_in(&fixture, &answer);
        assert_eq!(claims["client_id"], client_id);
        assert_eq!(claims["exp"], START + life);
    }
}

#[tokio::test]
async fn a_missing_or_blank_credential_is_told_in_the_documented_words() {
    let (_fixture, server) = service().await;
    for (route, message, fields) in [
        (USER_TOKEN, "User Id/Password is missing in the request", ["username", "password"]),
        (ENTITY_TOKEN, "Entity Id/Secret is missing in the request", ["id", "secret"]),
    ] {
        assert_bad_request(&server.post_text(route, None, None, "").await, message);
        assert_bad_request(&server.post(route, None, &json!({})).await, message);
        for field in fields {
            assert_bad_request(&server.post(route, None, &complete_without(field)).await, message);
            for blank in ["", " ", "\t\r\n", "\u{a0}\u{2003}"] {
                let body = complete_with(field, json!(blank));
                assert_bad_request(&server.post(route, None, &body).await, message);
            }
            let null = complete_with(field, json!(null));
            assert_bad_request(&server.post(route, None, &null).await, message);
        }
        let [first, second] = fields;
        for form in [
            String::new(),
            format!("{first}=x"),
            format!("{second}=x"),
            format!("{first}&{second}=x"),
            format!("{first}=x&{second}="),
            format!("{first}=x&{second}=+%20%09"),
            format!("{first}[]=x&{second}[]=y"),
        ] {
            let answer = server.post_text(route, None, Some(FORM), form).await;
            assert_bad_request(&answer, message);
        }
    }
}

#[tokio::test]
async fn a_credential_is_a_string_and_nothing_that_could_be_made_into_one() {
    let (_fixture, server) = service().await;
    let others = [json!(1), json!(true), json!(["ops@example.com"]), json!({"a": 1})];
    for (route, field) in [
        (USER_TOKEN, "username"),
        (USER_TOKEN, "password"),
        (ENTITY_TOKEN, "id"),
        (ENTITY_TOKEN, "secret"),
    ] {
        for other in &others {
            let answer = server.post(route, None, &complete_with(field, other.clone())).await;
            assert_bad_request(&answer, &format!("{field} must be a string"));
        }
    }
}

#[tokio::test]
async fn names_and_passwords_are_taken_exactly_as_they_are_written() {
    let fixture = Fixture::new();
    let password = "  p\u{e4}ss w\u{f6}rd+\u{0}% ";
    let hash = fixture.tokens.hash_password(Password::new(password).unwrap()).await.unwrap();
    fixture.tokens.register(Entity::user("Zo\u{eb}", hash).unwrap()).await.unwrap();
    let server = fixture.serve().await;
    user_login(&server, "Zo\u{eb}", password).await.expect(200);
    let form = "username=Zo%C3%AB&password=++p%c3%a4ss+w%C3%B6rd%2B%00%25%20";
    server.post_text(USER_TOKEN, None, Some(FORM), form).await.expect(200);
    for name in ["zo\u{eb}", "ZO\u{cb}", "Zoe\u{308}", " Zo\u{eb}", "Zo\u{eb} ", "Zo\u{eb}\u{0}"] {
        let answer = user_login(&server, name, password).await;
        assert_error(&answer, 401, "Unauthorized", WRONG_PASSWORD);
    }
    let decomposed = password.replace('\u{f6}', "o\u{308}");
    for other in [password.trim(), &password.to_uppercase(), &decomposed, &password[..8]] {
        let answer = user_login(&server, "Zo\u{eb}", other).await;
        assert_error(&answer, 401, "Unauthorized", WRONG_PASSWORD);
    }
}

#[tokio::test]
async fn who_was_removed_is_unknown_and_whoever_gets_the_name_after_that_is_somebody_else() {
    let fixture = Fixture::new();
    let id = EntityId::machine("aa-1").unwrap();
    let register = async || {
        fixture.tokens.register(Entity::machine("aa-1").unwrap()).await.unwrap();
        let secret = Secret::dangerous_from_text("a-known-secret".to_owned()).unwrap();
        fixture.tokens.import_secret(&id, &secret, None).await.unwrap();
    };
    let server = Server::start(fixture.tokens.router()).await;
    let log_in = async || {
        let form = "application/x-www-form-urlencoded";
        let body = "id=aa-1&secret=a-known-secret";
        server.post_text("/entity/token/generate", None, Some(form), body).await
    };
    register().await;
    let token = log_in().await.expect(200).json()["accessToken"].as_str().unwrap().to_owned();
    let validator = fixture.tokens.validator();
    validator.validate(&token).unwrap();

    fixture.clock.advance(Duration::from_millis(100));
    fixture.tokens.remove_entity(&id).await.unwrap();
    assert!(fixture.tokens.find_entity(&id).await.unwrap().is_none());
    log_in().await.expect(401);
    assert_eq!(validator.validate(&token).unwrap_err(), TokenFault::Revoked);
    let again = fixture.tokens.remove_entity(&id).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::NotFound);

    fixture.clock.advance(Duration::from_millis(100));
    register().await;
    let new = log_in().await.expect(200).json()["accessToken"].as_str().unwrap().to_owned();
    validator.validate(&new).unwrap();
    assert_eq!(validator.validate(&token).unwrap_err(), TokenFault::Revoked);
}

#[tokio::test]
async fn why_a_user_gets_no_token_cannot_be_told() {
    let fixture = Fixture::new();
    fixture.user("known@example.com", json!([])).await;
    let hash = || fixture.tokens.hash_password(Password::new(PASSWORD).unwrap());
    let disabled = Entity::user("disabled@example.com", hash().await.unwrap()).unwrap();
    fixture.tokens.register(disabled.disabled(true)).await.unwrap();
    let elsewhere = Entity::user("elsewhere@example.com", hash().await.unwrap()).unwrap();
    let elsewhere = elsewhere.organization(OrganizationId::new("org_2").unwrap());
    fixture.tokens.register(elsewhere).await.unwrap();
    fixture.machine("aa-1", PASSWORD).await;
    let routes = fixture.tokens.router();
    let host = Router::new().nest("/organizations/{organizationId}", routes.clone()).merge(routes);
    let server = Server::start(host).await;

    let long = "n".repeat(300);
    let below = |organization: &str| format!("/organizations/{organization}{USER_TOKEN}");
    let mut answers = Vec::new();
    for (name, password) in [
        ("unknown@example.com", PASSWORD),
        ("known@example.com", "wrong"),
        ("disabled@example.com", PASSWORD),
        ("aa-1", PASSWORD),
        // Of an organization, which this route is not below.
        ("elsewhere@example.com", PASSWORD),
        ("nul\u{0}in@example.com", PASSWORD),
        (&long, PASSWORD),
    ] {
        answers.push(user_login(&server, name, password).await);
    }
    for (organization, name) in [
        ("org_1", "elsewhere@example.com"),
        ("org_1", "known@example.com"),
        ("%20", "known@example.com"),
        ("%FF", "known@example.com"),
        ("%00", "elsewhere@example.com"),
    ] {
        let body = json!({"username": name, "password": PASSWORD});
        answers.push(server.post(&below(organization), None, &body).await);
    }
    for answer in &answers {
        assert_error(answer, 401, "Unauthorized", WRONG_PASSWORD);
        assert_uuid(&answer.json()["txnId"]);
        assert_eq!(answer.header("www-authenticate"), format!("Bearer realm=\"{ISSUER}\""));
        assert_eq!(all_that_a_caller_sees(answer), all_that_a_caller_sees(&answers[0]));
    }
    let body = json!({"username": "elsewhere@example.com", "password": PASSWORD});
    server.post(&below("org_2"), None, &body).await.expect(200);
}

#[tokio::test]
async fn why_an_entity_gets_no_token_cannot_be_told() {
    let fixture = Fixture::new();
    fixture.machine("known", SECRET).await;
    fixture.user("user@example.com", json!([])).await;
    let secret = Secret::dangerous_from_text(SECRET).unwrap();
    let elsewhere = Organization::One(OrganizationId::new("org_2").unwrap());
    for (id, disabled, organization) in
        [("disabled", true, Organization::All), ("elsewhere", false, elsewhere.clone())]
    {
        let entity = Entity::machine(id).unwrap().disabled(disabled);
        fixture.tokens.register(entity.organization(organization)).await.unwrap();
        let id = EntityId::machine(id).unwrap();
        fixture.tokens.import_secret(&id, &secret, None).await.unwrap();
    }
    fixture.tokens.register(Entity::machine("without a secret").unwrap()).await.unwrap();
    fixture.tokens.register(Entity::machine("expired").unwrap()).await.unwrap();
    let expired = EntityId::machine("expired").unwrap();
    fixture.tokens.import_secret(&expired, &secret, Some(1)).await.unwrap();
    fixture.clock.advance(DAY);
    let routes = fixture.tokens.router();
    let host = Router::new().nest("/organizations/{organizationId}", routes.clone()).merge(routes);
    let server = Server::start(host).await;

    let below = |organization: &str| format!("/organizations/{organization}{ENTITY_TOKEN}");
    let mut answers = Vec::new();
    for (id, secret) in [
        ("unknown", SECRET),
        ("known", "wrong"),
        ("disabled", SECRET),
        ("expired", SECRET),
        ("without a secret", SECRET),
        ("user@example.com", PASSWORD),
        ("KNOWN", SECRET),
        ("known\u{0}", SECRET),
    ] {
        answers.push(entity_login(&server, id, secret).await);
    }
    for (organization, id) in [("org_1", "elsewhere"), ("org_1", "known"), ("%FF", "known")] {
        let body = json!({"id": id, "secret": SECRET});
        answers.push(server.post(&below(organization), None, &body).await);
    }
    for answer in &answers {
        assert_error(answer, 401, "Unauthorized", WRONG_SECRET);
        assert_eq!(answer.header("www-authenticate"), format!("Bearer realm=\"{ISSUER}\""));
        assert_eq!(all_that_a_caller_sees(answer), all_that_a_caller_sees(&answers[0]));
    }
    entity_login(&server, "known", SECRET).await.expect(200);
    let body = json!({"id": "elsewhere", "secret": SECRET});
    server.post(&below("org_2"), None, &body).await.expect(200);
}
