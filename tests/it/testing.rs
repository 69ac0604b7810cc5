//! What hosts test their handlers with.

use std::time::Duration;

use countersign::clock::Clock as _;
use countersign::faults::TokenFault;
use countersign::jose::SigningKey;
use countersign::testing::{IssuerServer, TestClock, TestIssuer, TestToken};
use countersign::tokens::IssuedToken;
use countersign::{
    Acl, Algorithm, Entity, EntityId, Grant, KeyRing, Organization, SubjectType, Timestamp,
    Validator,
};
use http::Request;
use serde_json::json;

use crate::support::{issue_now, send};

fn fault(issuer: &TestIssuer, token: &TestToken) -> Option<TokenFault> {
    issuer.validator().validate(&token.sign()).err()
}

#[test]
fn a_token_is_good_and_says_what_it_was_told() {
    let issuer = TestIssuer::new();
    let validator = issuer.validator();
    let token = issuer
        .token()
        .customer("cus_1")
        .organization("org_1")
        .allow("GetOrders")
        .allow_at("PostOrder", &[("productId", "prod_1")])
        .custom_claims(json!({"tier": "gold"}))
        .expires_in(Duration::from_secs(60))
        .sign();
    let validated = validator.validate(&token).unwrap();
    assert_eq!(
        (validated.principal().subject_type(), validated.principal().id()),
        (SubjectType::Customer, "cus_1")
    );
    assert_eq!(validated.issuer(), issuer.issuer());
    assert_eq!(validated.organization_id().unwrap().as_str(), "org_1");
    let inside = ("organizationId", "org_1");
    assert!(validated.allows("GetOrders", &[inside, ("productId", "prod_2")]));
    assert!(validated.allows("PostOrder", &[inside, ("productId", "prod_1")]));
    assert!(!validated.allows("PostOrder", &[inside, ("productId", "prod_2")]));
    assert!(!validated.allows("GetOrders", &[("productId", "prod_2")]));
    assert_eq!(validated.custom_claims()["tier"], json!("gold"));
    let ends = issuer.clock().now().floor_to_second() + Duration::from_secs(60);
    assert_eq!(validated.expires_at(), ends);
    let entity = validator.validate(&issuer.token().machine("aa-1").sign()).unwrap();
    assert_eq!((entity.principal().id(), entity.client_id()), ("aa-1", "aa-1"));
    let all = validator.validate(&issuer.token().acl(&Acl::everything()).sign()).unwrap();
    assert!(all.allows("Whatever", &[]));
}

#[test]
fn a_broken_token_is_rejected_for_what_is_broken_about_it() {
    let issuer = TestIssuer::new();
    let token = || issuer.token().allow("GetOrders");
    let other = SigningKey::generate(Algorithm::EdDSA).unwrap();
    let broken = [
        (token().expired(), TokenFault::Expired),
        (token().not_yet_valid(), TokenFault::NotYetValid),
        (token().wrong_issuer("https://elsewhere.example.com"), TokenFault::Issuer),
        (token().wrong_audience("https://elsewhere.example.com"), TokenFault::Audience),
        (token().wrong_key(&other), TokenFault::Signature),
        (token().tampered(), TokenFault::Signature),
        (token().without("exp"), TokenFault::Claims),
        (token().without("acl"), TokenFault::Claims),
        (token().claim("exp", "tomorrow"), TokenFault::Claims),
        (token().claim("nbf", json!(null)), TokenFault::Claims),
        (token().header("alg", "HS256"), TokenFault::Algorithm),
        (token().header("kid", "another"), TokenFault::UnknownKey),
        (token().header("typ", "JWT"), TokenFault::Type),
        (token().header("crit", ["exp"]), TokenFault::UnsupportedHeader),
    ];
    for (token, expected) in broken {
        assert_eq!(fault(&issuer, &token), Some(expected), "{token:?}");
    }
    assert!(fault(&issuer, &token().unsigned()).is_some());
    assert_eq!(fault(&issuer, &token()), None);
}

#[test]
fn a_clock_stands_still_until_it_is_moved_and_its_clones_with_it() {
    let clock = TestClock::new();
    let clone = clock.clone();
    let start = clock.now();
    clone.advance(Duration::from_secs(5));
    assert_eq!(clock.now(), start + Duration::from_secs(5));
    clock.set(Timestamp::from_secs(1));
    assert_eq!(clone.now(), Timestamp::from_secs(1));
    clock.advance(Duration::MAX);
    assert_eq!(clock.now(), Timestamp::MAX);
}

#[test]
fn tokens_end_by_the_clock_of_their_issuer() {
    let issuer = TestIssuer::new();
    let token = issuer.token();
    issuer.clock().advance(Duration::from_secs(3_600 + 59));
    assert_eq!(fault(&issuer, &token), None, "there is a leeway of a minute");
    issuer.clock().advance(Duration::from_secs(1));
    assert_eq!(fault(&issuer, &token), Some(TokenFault::Expired));
}

#[test]
fn after_a_rotation_old_tokens_are_good_until_their_key_is_retired() {
    let issuer = TestIssuer::new();
    let old = issuer.token();
    let kid = issuer.keys().active().unwrap().kid().to_owned();
    issuer.rotate();
    let new = issuer.token();
    assert_ne!(issuer.keys().active().unwrap().kid(), kid);
    assert_eq!((fault(&issuer, &old), fault(&issuer, &new)), (None, None));
    issuer.retire(&kid);
    assert_eq!(fault(&issuer, &old), Some(TokenFault::UnknownKey));
    assert_eq!(fault(&issuer, &new), None);
}

#[test]
fn a_service_of_the_issuer_and_the_issuer_accept_each_others_tokens() {
    let issuer = TestIssuer::new();
    let tokens = issuer.service_builder().build().unwrap();
    let issued = issue_now(&tokens, Grant::user("jane")).unwrap();
    issuer.validator().validate(issued.access_token.expose()).unwrap();
    tokens.validator().validate(&issuer.token().sign()).unwrap();
}

#[test]
fn issuers_differ_as_they_are_told_to() {
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let clock = TestClock::at(Timestamp::from_secs(1_900_000_000));
    let issuer = TestIssuer::named("https://one.example.com")
        .for_audience("https://other.example.com")
        .signing_with(key)
        .by_clock(clock.clone());
    let validated = issuer.validator().validate(&issuer.token().sign()).unwrap();
    assert_eq!(validated.issuer(), "https://one.example.com");
    assert_eq!(validated.audiences(), [issuer.audience()]);
    assert_eq!(validated.issued_at(), clock.now());
    assert_eq!(fault(&TestIssuer::new(), &issuer.token()), Some(TokenFault::Issuer));
}

#[tokio::test]
async fn a_served_issuers_keys_are_fetched_counted_and_out_of_reach_when_asked_for() {
    let server = IssuerServer::start().await;
    let address = server.url().strip_prefix("http://").unwrap().parse().unwrap();
    let get = async |url: String| {
        let path = url.strip_prefix(server.url()).unwrap().to_owned();
        send(address, Request::get(path).body("").unwrap()).await
    };
    for name in ["oauth-authorization-server", "openid-configuration"] {
        let metadata = get(format!("{}/.well-known/{name}", server.url())).await.expect(200);
        assert_eq!(metadata.json()["issuer"], json!(server.url()));
        assert_eq!(metadata.json()["jwks_uri"], json!(server.jwks_url()));
    }
    let set = get(server.jwks_url()).await.expect(200);
    let validator = Validator::builder()
        .issuer(server.url())
        .audience(server.issuer().audience())
        .keys(KeyRing::from_jwks(set.text().as_bytes()).unwrap())
        .clock(std::sync::Arc::new(server.issuer().clock().clone()))
        .build()
        .unwrap();
    validator.validate(&server.issuer().token().sign()).unwrap();
    assert_eq!(server.fetches(), 1);

    server.set_down(true);
    get(server.jwks_url()).await.expect(503);
    server.set_down(false);
    server.issuer().rotate();
    let set = get(server.jwks_url()).await.expect(200);
    assert_eq!(set.json()["keys"].as_array().unwrap().len(), 2);
    assert_eq!(server.fetches(), 3);
}

#[tokio::test]
async fn by_a_clock_that_stands_still_what_ends_tokens_ends_those_of_that_instant_and_no_later_ones()
 {
    for is_log_out in [false, true] {
        let tokens = TestIssuer::new().service_builder().build().unwrap();
        tokens.register(Entity::machine("aa-1").unwrap()).await.unwrap();
        let id = EntityId::machine("aa-1").unwrap();
        let is_good =
            |token: &IssuedToken| tokens.validator().validate(token.access_token.expose()).is_ok();
        let before = tokens.issue_for(&id).await.unwrap();
        if is_log_out {
            let aa_1 = tokens.principal(SubjectType::Machine, "aa-1", Organization::All);
            assert!(tokens.revoke_subject(&aa_1, tokens.now()).await.unwrap().is_known);
        } else {
            tokens.disable_entity(&id).await.unwrap();
            tokens.enable_entity(&id).await.unwrap();
        }
        let after = tokens.issue_for(&id).await.unwrap();
        assert!(!is_good(&before) && is_good(&after));
    }
}
