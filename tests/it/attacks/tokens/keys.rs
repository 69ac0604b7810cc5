//! The key that a token names or brings.

use std::time::Duration;

use countersign::faults::TokenFault;
use countersign::jose::{CryptoProvider as _, DefaultProvider, VerifyingKey};
use countersign::{Algorithm, KeyRing, Timestamp};
use serde_json::json;

use crate::attacks::tokens::{
    Forger, Target, accepts, assert_challenged, claims, guarded_host, quoted, rejects, stranger,
    validator, watched_address,
};
use crate::support::START;
use crate::support::jose::{assert_invalid_key, private_key};

#[test]
fn a_key_that_the_header_brings_or_points_to_is_never_used() {
    let target = Target::new();
    let (stranger, jwk) = stranger();
    let (listener, url) = watched_address();
    let certificate = format!("[{}]", quoted(&base64_text(b"a certificate")));
    for (name, raw) in [
        ("jwk", &*jwk),
        ("jku", &url),
        ("x5u", &url),
        ("x5c", &certificate),
        ("x5t", "\"dGh1bWI\""),
        ("x5t#S256", "\"dGh1bWI\""),
    ] {
        let header = stranger.header().with(name, raw);
        target.rejects(&stranger.forge(&header, &claims()), TokenFault::UnknownKey);
        let ours = header.clone().with("kid", quoted(target.key.kid()));
        target.rejects(&stranger.forge(&ours, &claims()), TokenFault::Signature);
        let nameless = header.without("kid");
        target.rejects(&stranger.forge(&nameless, &claims()), TokenFault::UnknownKey);
        target.accepts_header(&target.forger.header().with(name, raw));
    }
    let asked = listener.accept().map(|_| ()).unwrap_err();
    assert_eq!(asked.kind(), std::io::ErrorKind::WouldBlock);
}

fn base64_text(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn a_kid_with_a_path_sql_nul_or_line_ends_is_the_kid_of_nobody() {
    let target = Target::new();
    let own = target.key.kid();
    let upper = own.to_uppercase();
    for kid in [
        "../../../../dev/null",
        "/etc/passwd",
        "file:///etc/passwd",
        "' OR '1'='1",
        "x' UNION SELECT 'secret' --",
        "$(id)",
        "%2e%2e%2f",
        "\0",
        "kid\r\nSet-Cookie: a=b",
        "*",
        "__proto__",
        "",
        &upper,
        &format!("{own}\0"),
        &format!("{own} "),
        &format!(" {own}"),
        &format!("{own}\r\n"),
        &own[..own.len() - 1],
        &"k".repeat(4_096),
    ] {
        let header = target.forger.header().with("kid", quoted(kid));
        target.rejects_header(&header, TokenFault::UnknownKey);
    }
    target.rejects_header(&target.forger.header().without("kid"), TokenFault::UnknownKey);
    for raw in ["null", "0", "true", "[]", "{}", &format!("[{}]", quoted(own))] {
        target.rejects_header(&target.forger.header().with("kid", raw), TokenFault::Malformed);
    }
}

#[test]
fn a_kid_of_64_kibibytes_is_not_read() {
    let target = Target::new();
    let header = target.forger.header().with("kid", quoted(&"k".repeat(64 * 1024)));
    target.rejects_header(&header, TokenFault::TooLong);
}

#[tokio::test]
async fn a_kid_is_not_echoed_over_http() {
    let (forger, server) = guarded_host().await;
    for kid in ["canary\r\nSet-Cookie: a=b", "canary\"", "../canary"] {
        let header = forger.header().with("kid", quoted(kid));
        let answer = server.get("/", Some(&forger.forge(&header, &claims()))).await;
        assert_challenged(&answer, 401, "invalid_token");
        assert!(!format!("{answer:?}").contains("canary"), "{answer:?}");
        assert!(answer.headers().get("set-cookie").is_none());
    }
}

#[test]
fn a_kid_of_another_issuer_is_unknown_and_a_shared_key_does_not_make_its_tokens_ours() {
    let target = Target::new();
    let theirs = Forger::of(&private_key(Algorithm::ES256));
    let other = claims().with("iss", "\"https://other.example.com\"");
    target.rejects(&theirs.forge(&theirs.header(), &claims()), TokenFault::Algorithm);
    let neighbour = Forger::of(&DefaultProvider.generate(Algorithm::EdDSA).unwrap());
    target.rejects(&neighbour.forge(&neighbour.header(), &claims()), TokenFault::UnknownKey);
    let our_kid = neighbour.header().with("kid", quoted(target.key.kid()));
    target.rejects(&neighbour.forge(&our_kid, &claims()), TokenFault::Signature);
    target.rejects_claims(&other, TokenFault::Issuer);
}

#[test]
fn a_retired_key_is_rejected_after_its_time_without_any_leeway() {
    let target = Target::new();
    let until = Timestamp::from_secs(START + 100);
    let ring = KeyRing::generate(Algorithm::ES256).unwrap();
    ring.add_retired(target.key.verifying_key(), until).unwrap();
    let validator = validator(ring, &target.clock);
    let token = target.good();
    target.clock.set(Timestamp::from_micros(until.as_micros() - 1));
    accepts(&validator, &token);
    target.clock.set(until);
    rejects(&validator, &token, TokenFault::UnknownKey);
    target.clock.advance(Duration::from_secs(1));
    rejects(&validator, &token, TokenFault::UnknownKey);
}

#[test]
fn two_keys_of_one_kid_are_no_ring() {
    let key = |algorithm| {
        let material = DefaultProvider.verification_key(&private_key(algorithm)).unwrap();
        VerifyingKey::new(material, Some("one".into()), &DefaultProvider).unwrap()
    };
    assert!(KeyRing::verifying([key(Algorithm::EdDSA)]).is_ok());
    assert_invalid_key(KeyRing::verifying([key(Algorithm::EdDSA), key(Algorithm::ES256)]));
    assert_invalid_key(KeyRing::verifying([key(Algorithm::EdDSA), key(Algorithm::EdDSA)]));
    let set = json!({"keys": [key(Algorithm::EdDSA).to_jwk(), key(Algorithm::RS256).to_jwk()]});
    assert_invalid_key(KeyRing::from_jwks(set.to_string().as_bytes()));
}
