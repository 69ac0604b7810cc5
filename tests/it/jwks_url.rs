//! A service that only checks tokens, by the keys that a token service publishes.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use countersign::builder::ValidatorBuilder;
use countersign::faults::TokenFault;
use countersign::jose::SigningKey;
use countersign::testing::{IssuerServer, TestClock};
use countersign::{
    Algorithm, Bearer, ErrorKind, Grant, KeyRing, OrganizationId, RequireLayer, SubjectType,
    ValidateLayer, Validator,
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{AUDIENCE, Fixture, ISSUER, Server, acl_of, issue_now};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

fn jwks_of(server: &Server) -> String {
    format!("http://{}/.well-known/jwks.json", server.address)
}

fn building(url: String, clock: &TestClock) -> ValidatorBuilder {
    Validator::builder().issuer(ISSUER).audience(AUDIENCE).jwks_url(url).clock(clock.clone())
}

/// A validator of the tokens that a server's issuer signs.
fn of(server: &IssuerServer) -> Validator {
    let issuer = server.issuer();
    Validator::builder()
        .issuer(issuer.issuer())
        .audience(issuer.audience())
        .jwks_url(server.jwks_url())
        .clock(issuer.clock().clone())
        .build()
        .unwrap()
}

fn app(validator: Validator) -> Router {
    let me = get(|Bearer(claims): Bearer| async move { claims.principal().id().to_owned() });
    Router::new().route("/me", me).layer(ValidateLayer::new(validator))
}

async fn fault(validator: &Validator, token: &str) -> Option<TokenFault> {
    validator.validate_fetching(token).await.err()
}

#[tokio::test]
async fn the_claims_of_a_token_are_read_as_the_service_wrote_them() {
    let fixture = Fixture::new();
    let issuing = fixture.serve().await;
    let validator = building(jwks_of(&issuing), &fixture.clock).build().unwrap();
    let list = json!([{"scope": {"organizationId": ["org_1"]}, "permissions": ["GetOrders"]}]);
    let grant = Grant::customer("cus_1")
        .acl(acl_of(list.clone()))
        .organization(OrganizationId::new("org_1").unwrap())
        .custom_claims(json!({"locale": "de"}))
        .unwrap();
    let token = issue_now(&fixture.tokens, grant).unwrap().access_token;

    let validated = validator.validate_fetching(token.expose()).await.unwrap();
    let own = fixture.tokens.validator().validate(token.expose()).unwrap();
    assert_eq!(json!(*validated), json!(*own));
    assert_eq!(validated.principal().subject_type(), SubjectType::Customer);

    let orders = get(|| async { "orders" });
    let app = Router::new()
        .route("/{organizationId}/orders", orders)
        .route_layer(RequireLayer::new("GetOrders").scope_from_path("organizationId"))
        .layer(ValidateLayer::new(validator));
    let server = Server::start(app).await;
    server.get("/org_1/orders", Some(token.expose())).await.expect(200);
    server.get("/org_2/orders", Some(token.expose())).await.expect(403);
    server.get("/org_1/orders", None).await.expect(401);
}

#[tokio::test]
async fn a_token_is_rejected_for_what_the_service_itself_rejects_it_for() {
    let server = IssuerServer::start().await;
    let issuer = server.issuer();
    let (fetching, own) = (of(&server), issuer.validator());
    fetching.fetch_keys().await.unwrap();
    let token = || issuer.token();
    let stranger = SigningKey::generate(Algorithm::EdDSA).unwrap();
    let tokens = [
        token(),
        token().expired(),
        token().not_yet_valid(),
        token().wrong_issuer("https://elsewhere.example.com"),
        token().wrong_audience("https://elsewhere.example.com"),
        token().without("acl"),
        token().without("subject_type"),
        token().claim("jti", ""),
        token().claim("exp", "soon"),
        token().allow("Storefront*"),
        token().header("typ", "JWT"),
        token().header("alg", "HS256"),
        token().header("crit", ["b64"]),
        token().header("x", 1),
        token().wrong_key(&stranger),
        token().tampered(),
        token().unsigned(),
    ];
    let mut rejected = 0;
    for token in tokens {
        let token = token.sign();
        for _ in 0..2 {
            let expected = own.validate(&token).err();
            assert_eq!(fault(&fetching, &token).await, expected, "{token}");
            rejected += usize::from(expected.is_some());
        }
    }
    assert_eq!(rejected, 2 * 15);
    for validator in [&fetching, &own] {
        let good = validator.validate(&token().sign()).unwrap();
        assert_eq!((fetching.recheck(&good), own.recheck(&good)), (Ok(()), Ok(())));
    }
}

#[tokio::test]
async fn a_rotated_key_is_fetched_when_a_token_names_it() {
    let keys = KeyRing::generate(Algorithm::EdDSA).unwrap();
    let fixture = Fixture::with_keys(keys.clone(), |builder| builder);
    let issuing = fixture.serve().await;
    let validator = building(jwks_of(&issuing), &fixture.clock).build().unwrap();
    let issue = || {
        let token = issue_now(&fixture.tokens, Grant::user("jane")).unwrap().access_token;
        token.expose().to_owned()
    };
    let before = issue();
    assert_eq!(fault(&validator, &before).await, None);

    keys.announce(&SigningKey::generate(Algorithm::EdDSA).unwrap()).unwrap();
    keys.rotate(fixture.tokens.now() + DAY).unwrap();
    let after = issue();
    assert_eq!(fault(&validator, &after).await, Some(TokenFault::UnknownKey), "the cooldown");
    fixture.clock.advance(MINUTE);
    assert_eq!(fault(&validator, &after).await, None);
    assert_eq!(fault(&validator, &before).await, None);

    // What the service retires is rejected here once the keys were fetched again.
    let retired = crate::support::kid_of(&before);
    keys.retire(&retired, fixture.tokens.now()).unwrap();
    assert_eq!(fault(&validator, &before).await, None, "as old as the service lets them get");
    fixture.clock.advance(6 * MINUTE);
    assert_eq!(fault(&validator, &before).await, Some(TokenFault::UnknownKey));
    assert_eq!(fault(&validator, &after).await, None);
}

#[tokio::test]
async fn an_app_starts_while_the_service_is_down_and_is_a_503_until_the_keys_have_come() {
    let issuing = IssuerServer::start().await;
    issuing.set_down(true);
    let validator = of(&issuing);
    assert_eq!(validator.fetch_keys().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let server = Server::start(app(validator.clone())).await;
    let token = issuing.issuer().token().sign();
    let answer = server.get("/me", Some(&token)).await.expect(503);
    answer.header("retry-after");
    assert!(answer.headers().get("www-authenticate").is_none());
    server.get("/me", Some("no.such.token")).await.expect(401);

    issuing.set_down(false);
    issuing.issuer().clock().advance(MINUTE);
    server.get("/me", Some(&token)).await.expect(200);
    validator.fetch_keys().await.unwrap();
}

#[tokio::test]
async fn known_keys_serve_on_while_the_service_is_down_and_no_longer_than_a_day() {
    let issuing = IssuerServer::start().await;
    let server = Server::start(app(of(&issuing))).await;
    let clock = issuing.issuer().clock();
    let token = || issuing.issuer().token().sign();
    server.get("/me", Some(&token())).await.expect(200);
    issuing.set_down(true);
    for _ in 0..23 {
        clock.advance(60 * MINUTE);
        server.get("/me", Some(&token())).await.expect(200);
    }
    clock.advance(2 * 60 * MINUTE);
    server.get("/me", Some(&token())).await.expect(503);
    issuing.set_down(false);
    clock.advance(MINUTE);
    server.get("/me", Some(&token())).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_need_the_keys_at_once_have_them_fetched_once() {
    let issuing = IssuerServer::start().await;
    let validator = of(&issuing);
    let mut checks = JoinSet::new();
    for _ in 0..100 {
        let (validator, token) = (validator.clone(), issuing.issuer().token().sign());
        checks.spawn(async move { validator.validate_fetching(&token).await.map(drop) });
    }
    while let Some(checked) = checks.join_next().await {
        checked.unwrap().unwrap();
    }
    assert_eq!(issuing.fetches(), 1);
    // Nor do unknown keys have them fetched more than once a cooldown.
    for _ in 0..10 {
        let stranger = countersign::testing::TestIssuer::named(issuing.url())
            .signing_with(SigningKey::generate(Algorithm::EdDSA).unwrap())
            .by_clock(issuing.issuer().clock().clone());
        let token = stranger.token().sign();
        assert_eq!(fault(&validator, &token).await, Some(TokenFault::UnknownKey));
    }
    assert_eq!(issuing.fetches(), 1);
}

#[tokio::test]
async fn what_the_service_revokes_is_not_known_here() {
    let fixture = Fixture::new();
    let issuing = fixture.serve().await;
    let validator = building(jwks_of(&issuing), &fixture.clock).build().unwrap();
    let token = fixture.tokens.issue(Grant::user("jane")).await.unwrap();
    fixture.tokens.revoke_token(&token.token_id).await.unwrap();
    assert!(fixture.tokens.validator().validate(token.access_token.expose()).is_err());
    assert_eq!(fault(&validator, token.access_token.expose()).await, None);
}

#[test]
fn keys_come_over_tls_but_for_the_loopback_or_where_the_host_takes_the_risk() {
    let build = |url: &str| Validator::builder().issuer(ISSUER).audience(AUDIENCE).jwks_url(url);
    let rejected = [
        "http://auth.example.com/jwks.json",
        "http://127.0.0.1.example.com/jwks.json",
        "http://localhost.example.com/jwks.json",
        "http://10.0.0.1/jwks.json",
        "ftp://127.0.0.1/jwks.json",
        "file:///etc/passwd",
        "no url",
    ];
    for url in rejected {
        let error = build(url).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{url}");
    }
    let accepted = [
        "https://auth.example.com/jwks.json",
        "http://127.0.0.1:8080/jwks.json",
        "http://[::1]:8080/jwks.json",
        "http://localhost/jwks.json",
    ];
    for url in accepted {
        build(url).build().unwrap();
    }
    build("http://auth.example.com/jwks.json").dangerous_allow_http().build().unwrap();
}

#[test]
fn algorithms_are_those_that_can_be_published() {
    let url = "https://auth.example.com/jwks.json";
    let build = || Validator::builder().issuer(ISSUER).audience(AUDIENCE).jwks_url(url);
    build().algorithms([Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256]).build().unwrap();
    let error = build().algorithms([Algorithm::HS256]).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[test]
fn what_of_the_url_may_be_a_secret_is_shown_nowhere() {
    let url = "https://name:password@auth.example.com/jwks.json?key=secret";
    let builder = Validator::builder().issuer(ISSUER).audience(AUDIENCE).jwks_url(url);
    let shown = format!("{builder:?} {:?}", builder.clone().build().unwrap());
    assert!(!shown.contains("password") && !shown.contains("secret"), "{shown}");
}
