//! Services that trust other issuers: alone, behind a layer that exchanges, and what a developer is told.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use countersign::faults::TokenFault;
use countersign::testing::{IssuerServer, TestIssuer, TestToken};
use countersign::{Bearer, ErrorKind, SubjectType, TrustedIssuer, ValidateLayer, Validator};
use serde_json::json;

use crate::support::log::Log;
use crate::support::{AUDIENCE, Fixture, ISSUER, Server};

const IDP: &str = "https://idp.example.com";

fn trusting(issuer: &TestIssuer) -> TrustedIssuer {
    TrustedIssuer::new(issuer.issuer()).audience(AUDIENCE).keys(issuer.keys().clone())
}

#[tokio::test]
async fn a_service_without_tokens_of_its_own_accepts_those_of_the_issuers_that_it_trusts() {
    let (one, other) = (TestIssuer::named(IDP), TestIssuer::named("https://other.example.com"));
    let other = other.by_clock(one.clock().clone());
    let validator = Validator::for_issuers([trusting(&one), trusting(&other)])
        .clock(one.clock().clone())
        .leeway(Duration::ZERO)
        .max_token_len(2_000)
        .build()
        .unwrap();
    let me = get(|Bearer(claims): Bearer| async move { claims.issuer().to_owned() });
    let app = Router::new().route("/me", me).layer(ValidateLayer::new(validator.clone()));
    let app = Server::start(app).await;
    for issuer in [&one, &other] {
        let token = issuer.token().sign();
        assert_eq!(app.get("/me", Some(&token)).await.expect(200).text(), issuer.issuer());
    }
    let anonymous = app.get("/me", None).await.expect(401);
    assert!(anonymous.header("www-authenticate").contains(IDP), "{anonymous:?}");
    let fault = |token: TestToken| validator.validate(&token.sign()).unwrap_err();
    assert_eq!(fault(one.token().wrong_issuer("https://nobody.example.com")), TokenFault::Issuer);
    assert_eq!(fault(one.token().wrong_issuer("")), TokenFault::Issuer);
    assert_eq!(fault(one.token().without("iss")), TokenFault::Claims);
    assert_eq!(fault(one.token().claim("x", "x".repeat(2_000))), TokenFault::TooLong);
    // What an own validator has checked is nothing here.
    let own = one.validator();
    let validated = own.validate(&one.token().sign()).unwrap();
    assert_eq!(validator.recheck(&validated), Err(TokenFault::Issuer));
}

#[test]
fn settings_of_own_tokens_are_none_of_a_service_that_has_none() {
    let issuer = TestIssuer::named(IDP);
    let builder = || Validator::for_issuers([trusting(&issuer)]);
    builder().build().unwrap();
    for bad in [
        Validator::for_issuers([]),
        builder().audience(AUDIENCE),
        builder().algorithms([countersign::Algorithm::EdDSA]),
        builder().max_token_lifetime(Duration::from_secs(1)),
        builder().trusted_issuer(trusting(&issuer)),
    ] {
        assert_eq!(bad.build().unwrap_err().kind(), ErrorKind::Configuration);
    }
}

/// The lines of the log that say why a token was rejected.
fn told(validator: &Validator, token: &str) -> String {
    let log = Log::default();
    let guard = log.listen();
    let _rejected = validator.validate(token).unwrap_err();
    drop(guard);
    let text = log.text();
    let lines: Vec<_> =
        text.lines().filter(|line| line.contains("validate: token rejected")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(lines[0].contains("DEBUG"), "{text}");
    assert!(token.split('.').all(|part| part.len() < 20 || !text.contains(part)), "{text}");
    lines[0].to_owned()
}

#[test]
fn why_a_token_is_rejected_is_told_in_one_line_that_names_what_is_wrong() {
    let issuer = TestIssuer::named(IDP);
    let validator = Validator::builder()
        .issuer(ISSUER)
        .audience("https://own.example.com")
        .keys(countersign::KeyRing::new(countersign::testing::signing_key()))
        .clock(issuer.clock().clone())
        .trusted_issuer(trusting(&issuer))
        .build()
        .unwrap();
    let token = || issuer.token();
    for (token, fault, words) in [
        (
            token()
                .wrong_issuer("https://idp.example.com/")
                .header("typ", "JWT")
                .header("kid", "k1"),
            TokenFault::Issuer,
            &["https://idp.example.com/", "a slash at the end", "kid=\"k1\""][..],
        ),
        (
            token().wrong_issuer("https://IDP.example.com").header("kid", "k1"),
            TokenFault::Issuer,
            &["after 8 characters", "the case of letters"],
        ),
        (token().without("aud"), TokenFault::Audience, &["`aud` is (none)", AUDIENCE]),
        (token().wrong_audience("api"), TokenFault::Audience, &["`aud` is \"api\"", AUDIENCE]),
        (token().claim("aud", 7), TokenFault::Claims, &["`aud`"]),
        (token().without("exp"), TokenFault::Claims, &["`exp` is missing"]),
        (token().claim("nbf", "soon"), TokenFault::Claims, &["`nbf` is not"]),
        (token().claim("iat", -1), TokenFault::Claims, &["`iat` is not"]),
        (token().claim("jti", ""), TokenFault::Claims, &["`jti`"]),
        (token().without("sub"), TokenFault::Claims, &["mapping"]),
        (
            token().header("typ", "JWT"),
            TokenFault::Type,
            &["`typ` is \"JWT\"", "expected: at+jwt", IDP],
        ),
        (token().header("alg", "none"), TokenFault::Algorithm, &["`alg` is \"none\""]),
        (token().header("kid", "nobody"), TokenFault::UnknownKey, &["kid=\"nobody\"", IDP]),
        (token().expired(), TokenFault::Expired, &["`exp` is"]),
    ] {
        let text = token.sign();
        assert_eq!(validator.validate(&text).unwrap_err(), fault, "{token:?}");
        let line = told(&validator, &text);
        assert!(line.contains(&format!("reason=\"{}\"", fault.as_str())), "{line}");
        assert!(words.iter().all(|word| line.contains(word)), "{words:?}: {line}");
    }
    let own = TestIssuer::named(ISSUER).by_clock(issuer.clock().clone());
    let own = own.for_audience("https://own.example.com");
    let line = told(&validator, &own.token().without("client_id").sign());
    assert!(line.contains("client_id"), "{line}");
}

#[test]
fn nobody_fills_the_log_by_what_tokens_say() {
    let issuer = TestIssuer::named(IDP);
    let validator =
        Validator::for_issuers([trusting(&issuer)]).clock(issuer.clock().clone()).build().unwrap();
    let long = "\u{1f600}\r\n\u{1b}[2J".repeat(400);
    for token in [
        issuer.token().header("kid", &long),
        issuer.token().header("typ", &long),
        issuer.token().wrong_issuer(&long),
        issuer.token().wrong_audience(&long),
        issuer.token().claim("aud", vec![json!("x"); 2_000]),
        issuer.token().claim(&long, 1).claim("exp", &long),
    ] {
        let line = told(&validator, &token.sign());
        assert!(line.len() < 4_000 && !line.contains('\u{1b}'), "{} {line}", line.len());
    }
    let garbage = format!("{}.{}.x", "A".repeat(9_000), "\u{1f600}".repeat(1_000));
    assert!(told(&validator, &garbage).len() < 1_000);
}

#[tokio::test]
async fn behind_an_exchange_a_trusted_issuers_token_is_treated_as_behind_a_layer_that_validates() {
    let idp = IssuerServer::start().await;
    let trusted = || {
        TrustedIssuer::new(idp.url())
            .audience(AUDIENCE)
            .dangerous_allow_http()
            .cooldown(Duration::from_secs(1))
    };
    let clock = idp.issuer().clock().clone();
    let fixture = Fixture::with(|builder| builder.trusted_issuer(trusted()).clock(clock));
    let tokens = &fixture.tokens;
    let me = get(|Bearer(claims): Bearer| async move { claims.principal().id().to_owned() });
    let kinds = [SubjectType::User, SubjectType::Customer];
    let exchanging = tokens.exchange_layer_with_trusted_issuers();
    let app = Router::new()
        .route("/open", me.clone().layer(exchanging.clone().only(kinds)))
        .route("/customers", me.clone().layer(exchanging))
        .route("/ours", me.clone().layer(tokens.exchange_layer().only(kinds)))
        .route("/validated", me.layer(tokens.validate_layer_with_trusted_issuers()));
    let app = Server::start(app).await;
    let token = idp.issuer().token().user("jane").sign();

    idp.set_down(true);
    for path in ["/open", "/validated"] {
        let answer = app.get(path, Some(&token)).await.expect(503);
        assert!(!answer.header("retry-after").is_empty(), "{path}");
    }
    app.get("/ours", Some(&token)).await.expect(401);
    idp.set_down(false);
    idp.issuer().clock().advance(Duration::from_secs(2));
    // The first request waits for the keys.
    assert_eq!(app.get("/open", Some(&token)).await.expect(200).text(), "jane");
    let fetches = idp.fetches();
    for path in ["/open", "/validated"] {
        assert_eq!(app.get(path, Some(&token)).await.expect(200).text(), "jane");
    }
    assert_eq!(idp.fetches(), fetches);
    app.get("/ours", Some(&token)).await.expect(401);
    app.get("/customers", Some(&token)).await.expect(403);
    for bad in [
        idp.issuer().token().tampered().sign(),
        idp.issuer().token().wrong_audience("https://elsewhere.example.com").sign(),
        idp.issuer().token().expired().sign(),
    ] {
        app.get("/open", Some(&bad)).await.expect(401);
    }
    let session = fixture.session(|new| new).await;
    app.get("/open", Some(&session)).await.expect(200);
}
