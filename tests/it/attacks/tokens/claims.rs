//! The claims of a token that is well formed and well signed.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use countersign::faults::TokenFault;
use countersign::jose::{DefaultProvider, SigningKey};
use countersign::{Algorithm, KeyRing, Timestamp, Validator};
use serde_json::json;

use crate::attacks::tokens::{
    Forger, Members, Target, accepts, assert_challenged, claims, guarded_host, quoted, rejects,
};
use crate::support::jose::private_key;
use crate::support::{AUDIENCE, Fixture, ISSUER, START, Server};

const TIMES: [&str; 3] = ["exp", "nbf", "iat"];

#[test]
fn a_time_that_is_no_integer_from_0_to_2_to_the_53_is_rejected() {
    let target = Target::new();
    let at = START + 10;
    for raw in [
        &*format!("\"{at}\""),
        &format!("{at}.0"),
        &format!("{at}.5"),
        &format!("{at}e0"),
        &format!("[{at}]"),
        &format!("{{\"{at}\":{at}}}"),
        &format!("+{at}"),
        &format!("0{at}"),
        "\"2026-01-01T00:00:00Z\"",
        "\"\"",
        "null",
        "true",
        "false",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1e400",
        "1e9",
        "1.8e9",
        "-0",
        "-1",
        "-9223372036854775808",
        "9007199254740992",
        "9223372036854775807",
        "18446744073709551615",
        "18446744073709551616",
        "340282366920938463463374607431768211456",
        "0x7fffffff",
        "[]",
        "{}",
        "",
    ] {
        for name in TIMES {
            target.rejects_claims(&claims().with(name, raw), TokenFault::Claims);
        }
    }
    for name in TIMES {
        target.accepts_claims(&claims().with(name, at.to_string()));
    }
}

#[test]
fn the_largest_and_the_smallest_times_are_read_without_overflow_at_any_hour() {
    const LARGEST: &str = "9007199254740991";
    let target = Target::new();
    let forever = target.accepts_claims(&claims().with("exp", LARGEST));
    assert_eq!(forever.expires_at(), Timestamp::MAX);
    target.rejects_claims(&claims().with("exp", "0"), TokenFault::Expired);
    for name in ["nbf", "iat"] {
        target.rejects_claims(&claims().with(name, LARGEST), TokenFault::NotYetValid);
        target.accepts_claims(&claims().with(name, "0"));
    }
    target.clock.set(Timestamp::from_micros(Timestamp::MAX.as_micros() - 1));
    target.accepts_claims(&claims().with("exp", LARGEST));
    target.rejects_claims(&claims(), TokenFault::Expired);
    target.rejects_claims(&claims().with("exp", "0"), TokenFault::Expired);
    target.clock.set(Timestamp::MAX);
    for exp in ["0", LARGEST] {
        let token = target.with_claims(&claims().with("exp", exp));
        assert!(target.validator.validate(&token).is_err());
    }
    target.clock.set(Timestamp::MIN);
    let from_zero = claims().with("iat", "0").with("nbf", "0");
    target.accepts_claims(&from_zero);
    target.accepts_claims(&from_zero.clone().with("exp", LARGEST));
    target.rejects_claims(&from_zero.with("nbf", LARGEST), TokenFault::NotYetValid);
}

#[test]
fn a_claim_that_is_needed_and_missing_or_null_is_rejected() {
    let target = Target::new();
    for name in ["exp", "iss", "aud", "sub", "iat", "jti", "subject_type", "client_id", "acl"] {
        target.rejects_claims(&claims().without(name), TokenFault::Claims);
        target.rejects_claims(&claims().with(name, "null"), TokenFault::Claims);
    }
    target.rejects_claims(&Members::of(&[]), TokenFault::Claims);
    target.accepts_claims(&claims().without("nbf"));
}

#[test]
fn a_claim_that_is_empty_or_of_another_type_is_rejected() {
    let target = Target::new();
    for name in ["sub", "jti", "client_id"] {
        for raw in ["\"\"", "0", "true", "[\"cus_1\"]", "{}"] {
            target.rejects_claims(&claims().with(name, raw), TokenFault::Claims);
        }
    }
    for name in ["sid", "organizationId"] {
        for raw in ["\"\"", "\" \"", "null", "0", "[\"x\"]"] {
            target.rejects_claims(&claims().with(name, raw), TokenFault::Claims);
        }
        target.accepts_claims(&claims().with(name, "\"x\""));
    }
    for raw in ["null", "[]", "\"{}\"", "0"] {
        target.rejects_claims(&claims().with("customClaims", raw), TokenFault::Claims);
    }
}

#[test]
fn an_acl_that_is_not_well_formed_is_rejected() {
    let target = Target::new();
    for raw in [
        "{}",
        "\"*\"",
        "[\"*\"]",
        "[{}]",
        r#"[{"scope":{}}]"#,
        r#"[{"scope":[],"permissions":["*"]}]"#,
        r#"[{"scope":{},"permissions":"*"}]"#,
        r#"[{"scope":{},"permissions":[]}]"#,
        r#"[{"scope":{},"permissions":[1]}]"#,
        r#"[{"scope":{},"permissions":["Get*"]}]"#,
        r#"[{"scope":{},"permissions":["G*t"]}]"#,
        r#"[{"scope":{"productId":[]},"permissions":["*"]}]"#,
        r#"[{"scope":{"productId":"p1"},"permissions":["*"]}]"#,
        r#"[{"scope":{"productId":null},"permissions":["*"]}]"#,
    ] {
        target.rejects_claims(&claims().with("acl", raw), TokenFault::Claims);
    }
    target.accepts_claims(&claims().with("acl", r#"[{"scope":{},"permissions":["*"]}]"#));
}

#[test]
fn an_nbf_that_is_a_string_does_not_read_as_absent() {
    let target = Target::new();
    for raw in [quoted(&START.to_string()), quoted("never"), quoted(""), "null".into()] {
        target.rejects_claims(&claims().with("nbf", &*raw), TokenFault::Claims);
    }
    target.accepts_claims(&claims().without("nbf"));
}

#[test]
fn an_issuer_equals_to_the_letter() {
    let target = Target::new();
    for issuer in [
        "https://auth.example.com/",
        "https://auth.example.co",
        "https://auth.example.com.evil.test",
        "https://auth.example.com#",
        "https://auth.example.com:443",
        "https://AUTH.example.com",
        "HTTPS://auth.example.com",
        "http://auth.example.com",
        "https://auth.example.com@evil.test",
        "https://auth.example.com ",
        " https://auth.example.com",
        "https://auth.example.com\0",
        "https://auth.ex\u{430}mple.com",
        "auth.example.com",
        "*",
        "",
    ] {
        target.rejects_claims(&claims().with("iss", quoted(issuer)), TokenFault::Issuer);
    }
    let array = format!("[{}]", quoted(ISSUER));
    for raw in [&*array, "0", "true", "{}"] {
        target.rejects_claims(&claims().with("iss", raw), TokenFault::Claims);
    }
    target.accepts_claims(&claims().with("iss", r#""\u0068ttps:\/\/auth.example.com""#));
}

#[test]
fn an_audience_is_contained_to_the_letter() {
    let target = Target::new();
    for audience in [
        "https://api.example.com/",
        "https://api.example.co",
        "https://api.example.com/v1",
        "https://API.example.com",
        "https://api.example.com,https://other.example.com",
        "https://other.example.com https://api.example.com",
        "https://api.example.com ",
        "https://auth.example.com",
        "*",
        "",
    ] {
        let audience = quoted(audience);
        target.rejects_claims(&claims().with("aud", &*audience), TokenFault::Audience);
        target.rejects_claims(&claims().with("aud", format!("[{audience}]")), TokenFault::Audience);
    }
    target.rejects_claims(&claims().with("aud", "[]"), TokenFault::Audience);
    let ours = quoted(AUDIENCE);
    for raw in [
        &*format!("[[{ours}]]"),
        &format!("[{ours},1]"),
        &format!("[{ours},null]"),
        &format!("[{ours},[]]"),
        &format!("{{{ours}:true}}"),
        &format!("{{\"aud\":{ours}}}"),
        "null",
        "0",
        "true",
    ] {
        target.rejects_claims(&claims().with("aud", raw), TokenFault::Claims);
    }
    for raw in [format!("[{ours}]"), format!("[\"x\",{ours}]"), format!("[{ours},{ours}]")] {
        target.accepts_claims(&claims().with("aud", raw));
    }
}

#[test]
fn a_typ_of_another_kind_of_token_is_rejected() {
    let target = Target::new();
    for typ in [
        "JWT",
        "jwt",
        "JOSE",
        "at",
        "at+jwt ",
        " at+jwt",
        "at+jwt;x=y",
        "at+jwt\0",
        "at\u{ff0b}jwt",
        "application/jwt",
        "application/application/at+jwt",
        "text/at+jwt",
        "id+jwt",
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "token-introspection+jwt",
        "at+sd-jwt",
        "",
    ] {
        target.rejects_header(&target.forger.header().with("typ", quoted(typ)), TokenFault::Type);
    }
    target.rejects_header(&target.forger.header().without("typ"), TokenFault::Type);
    for raw in ["null", "0", "true", "[\"at+jwt\"]", "{}"] {
        target.rejects_header(&target.forger.header().with("typ", raw), TokenFault::Malformed);
    }
}

#[test]
fn a_subject_type_is_one_of_three_to_the_letter() {
    let target = Target::new();
    for kind in ["user", "entity", "customer"] {
        let validated = target.accepts_claims(&claims().with("subject_type", quoted(kind)));
        assert_eq!(validated.principal().subject_type().as_str(), kind);
    }
    for raw in [
        "\"User\"",
        "\"USER\"",
        "\"user \"",
        "\"admin\"",
        "\"\"",
        "null",
        "0",
        "[\"user\"]",
        "{\"user\":true}",
    ] {
        target.rejects_claims(&claims().with("subject_type", raw), TokenFault::Claims);
    }
}

#[tokio::test]
async fn a_customers_or_an_entitys_token_is_rejected_where_a_users_is_needed() {
    const ALL: &str = r#"[{"scope":{},"permissions":["*"]}]"#;
    let private = private_key(Algorithm::EdDSA);
    let key = SigningKey::new(&private, &DefaultProvider).unwrap();
    let fixture = Fixture::with_keys(KeyRing::new(key), |builder| builder);
    fixture.machine("aa-1", "a secret that the test knows").await;
    let server = fixture.serve().await;
    let forger = Forger::of(&private);
    let body = json!({
        "ver": "1.0.0", "timestamp": "2026-01-01T00:00:00Z", "txnId": "t-1", "entityId": "aa-1",
    });
    for (kind, status) in [("user", 200), ("customer", 401), ("entity", 401)] {
        for subject in ["ops", "aa-1"] {
            let claims = claims()
                .with("sub", quoted(subject))
                .with("subject_type", quoted(kind))
                .with("acl", ALL);
            let token = forger.forge(&forger.header(), &claims);
            accepts(fixture.tokens.validator(), &token);
            let answer = server.post("/entity/secret/read", Some(&token), &body).await;
            assert_eq!(answer.status().as_u16(), status, "{kind} {answer:?}");
            if status == 401 {
                assert_challenged(&answer, 401, "invalid_token");
                let reset = server.post("/entity/secret/reset", Some(&token), &body).await;
                assert_challenged(&reset, 401, "invalid_token");
            }
        }
    }
    let current = server
        .post(
            "/entity/token/generate",
            None,
            &json!({"id": "aa-1", "secret": "a secret that the test knows"}),
        )
        .await;
    assert_eq!(current.status(), 200, "{current:?}");
}

#[tokio::test]
async fn an_authentication_token_is_no_access_token() {
    let fixture = Fixture::new();
    let host = Router::new().route("/", get(|| async { "let through" }));
    let server = Server::start(host.layer(fixture.tokens.validate_layer())).await;
    let session = fixture.session(|new| new).await;
    assert_challenged(&server.get("/", Some(&session)).await, 401, "invalid_token");
}

#[test]
fn a_token_ends_at_exp_plus_the_leeway_to_the_microsecond() {
    let target = Target::new();
    let end = START + 3_600 + 60;
    let token = target.good();
    target.clock.set(Timestamp::from_secs(START + 3_600));
    let validated = target.accepts(&token);
    target.clock.set(Timestamp::from_micros(end * 1_000_000 - 1));
    target.accepts(&token);
    target.validator.recheck(&validated).unwrap();
    target.clock.set(Timestamp::from_secs(end));
    target.rejects(&token, TokenFault::Expired);
    assert_eq!(target.validator.recheck(&validated), Err(TokenFault::Expired));
}

#[test]
fn a_token_begins_at_nbf_and_iat_less_the_leeway_to_the_microsecond() {
    let target = Target::new();
    for name in ["nbf", "iat"] {
        let token = target.with_claims(&claims().with(name, (START + 60).to_string()));
        let later = target.with_claims(&claims().with(name, (START + 61).to_string()));
        target.clock.set(Timestamp::from_secs(START));
        let validated = target.accepts(&token);
        target.rejects(&later, TokenFault::NotYetValid);
        target.clock.set(Timestamp::from_micros(START * 1_000_000 - 1));
        target.rejects(&token, TokenFault::NotYetValid);
        assert_eq!(target.validator.recheck(&validated), Err(TokenFault::NotYetValid));
        target.clock.set(Timestamp::from_secs(START + 1));
        target.accepts(&later);
    }
}

#[test]
fn exp_is_rejected_at_now_less_the_leeway_and_accepted_a_second_later() {
    let target = Target::new();
    for (exp, good) in [
        (START, true),
        (START - 1, true),
        (START - 59, true),
        (START - 60, false),
        (START - 61, false),
    ] {
        let token = target.with_claims(&claims().with("exp", exp.to_string()));
        assert_eq!(target.validator.validate(&token).is_ok(), good, "{exp}");
        if !good {
            target.rejects(&token, TokenFault::Expired);
        }
    }
}

fn with_leeway(target: &Target, leeway: Duration) -> Validator {
    Validator::builder()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .keys(KeyRing::new(target.key.clone()))
        .clock(Arc::new(target.clock.clone()))
        .leeway(leeway)
        .build()
        .unwrap()
}

#[test]
fn without_leeway_a_token_that_expires_exactly_now_is_rejected() {
    let target = Target::new();
    let validator = with_leeway(&target, Duration::ZERO);
    let expiring = |exp: u64| target.with_claims(&claims().with("exp", exp.to_string()));
    rejects(&validator, &expiring(START), TokenFault::Expired);
    accepts(&validator, &expiring(START + 1));
    for name in ["nbf", "iat"] {
        let beginning = |at: u64| target.with_claims(&claims().with(name, at.to_string()));
        accepts(&validator, &beginning(START));
        rejects(&validator, &beginning(START + 1), TokenFault::NotYetValid);
    }
}

#[test]
fn the_leeway_is_300_seconds_at_most() {
    let target = Target::new();
    let validator = with_leeway(&target, Duration::from_secs(300));
    for (exp, good) in [(START - 299, true), (START - 300, false)] {
        let token = target.with_claims(&claims().with("exp", exp.to_string()));
        assert_eq!(validator.validate(&token).is_ok(), good, "{exp}");
    }
    for name in ["nbf", "iat"] {
        for (at, good) in [(START + 300, true), (START + 301, false)] {
            let token = target.with_claims(&claims().with(name, at.to_string()));
            assert_eq!(validator.validate(&token).is_ok(), good, "{name} {at}");
        }
    }
    for leeway in [Duration::from_millis(300_001), Duration::from_secs(301), Duration::MAX] {
        let builder = Validator::builder()
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .keys(KeyRing::new(target.key.clone()))
            .leeway(leeway);
        let kind = builder.build().unwrap_err().kind();
        assert_eq!(kind, countersign::ErrorKind::Configuration);
    }
}

#[tokio::test]
async fn claims_that_are_rejected_are_a_401_over_http_and_only_expiry_is_told() {
    let (forger, server) = guarded_host().await;
    let rejected = |header: &Members, claims: &Members| forger.forge(header, claims);
    let header = forger.header();
    let expired = rejected(&header, &claims().with("exp", "0"));
    let answer = server.get("/", Some(&expired)).await;
    assert_challenged(&answer, 401, "invalid_token");
    assert_eq!(answer.json()["detail"], "The access token has expired");
    for token in [
        rejected(&header.clone().with("alg", "\"none\""), &claims()),
        rejected(&header.clone().with("kid", "\"other\""), &claims()),
        rejected(&header.clone().with("typ", "\"JWT\""), &claims()),
        rejected(&header.clone().with("crit", "[]"), &claims()),
        rejected(&header, &claims().with("exp", "18446744073709551615")),
        rejected(&header, &claims().with("exp", "1e400")),
        rejected(&header, &claims().with("nbf", quoted("0"))),
        rejected(&header, &claims().with("iat", (START + 61).to_string())),
        rejected(&header, &claims().with("iss", "\"https://other.example.com\"")),
        rejected(&header, &claims().with("aud", "[]")),
        rejected(&header, &claims().without("jti")),
        rejected(&header, &claims().and("sub", "\"cus_2\"")),
    ] {
        let answer = server.get("/", Some(&token)).await;
        assert_challenged(&answer, 401, "invalid_token");
        assert_eq!(answer.json()["detail"], "The access token is not valid");
    }
}
