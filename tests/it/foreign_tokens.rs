//! Tokens as other issuers write them: their dates, ids, audiences, algorithms and key ids.

use std::sync::Arc;

use countersign::clock::Clock as _;
use countersign::faults::TokenFault;
use countersign::testing::{TestIssuer, TestToken};
use countersign::{Algorithm, KeyRing, TrustedIssuer, Validator};
use p384::ecdsa::signature::Signer as _;
use serde_json::{Value, json};

use crate::support::jose::base64url_encode;

const IDP: &str = "https://idp.example.com";
const AUDIENCE: &str = "https://api.example.com";
const LEEWAY: u64 = 60;

fn idp() -> TestIssuer {
    TestIssuer::named(IDP)
}

fn token(idp: &TestIssuer) -> TestToken {
    idp.token().claim("aud", AUDIENCE).user("jane@idp")
}

fn trusted() -> TrustedIssuer {
    TrustedIssuer::new(IDP).audience(AUDIENCE)
}

fn validator(idp: &TestIssuer, trusted: TrustedIssuer) -> Validator {
    let clock = Arc::new(idp.clock().clone());
    let leeway = std::time::Duration::from_secs(LEEWAY);
    Validator::for_issuers([trusted]).clock(clock).leeway(leeway).build().unwrap()
}

fn fault(validator: &Validator, token: &str) -> Option<TokenFault> {
    validator.validate(token).err()
}

/// A number as its digits say, which no other number is.
fn number(digits: &str) -> Value {
    serde_json::from_str(digits).unwrap()
}

#[test]
fn a_date_with_a_fraction_makes_a_token_valid_no_earlier_and_no_later_than_it_says() {
    let idp = idp();
    let validator = validator(&idp, trusted().keys(idp.keys().clone()));
    let now = idp.clock().now().as_secs();
    let (end, begin) = (now - LEEWAY, now + LEEWAY);
    for (name, digits, expected) in [
        ("exp", format!("{}.0", end + 1), None),
        ("exp", format!("{}.5", end + 1), None),
        ("exp", format!("{end}.999999"), Some(TokenFault::Expired)),
        ("nbf", format!("{begin}.0"), None),
        ("nbf", format!("{}.000001", begin - 1), None),
        ("nbf", format!("{begin}.000001"), Some(TokenFault::NotYetValid)),
        ("iat", format!("{}.75", begin - 1), None),
        ("iat", format!("{begin}.25"), Some(TokenFault::NotYetValid)),
        ("exp", "4.1024448e9".to_owned(), None),
        ("exp", "1e3".to_owned(), Some(TokenFault::Expired)),
        ("exp", "1e300".to_owned(), Some(TokenFault::Claims)),
        ("exp", "9007199254740992".to_owned(), Some(TokenFault::Claims)),
        ("exp", "-1.5".to_owned(), Some(TokenFault::Claims)),
        ("exp", "\"4102444800\"".to_owned(), Some(TokenFault::Claims)),
        ("nbf", "true".to_owned(), Some(TokenFault::Claims)),
    ] {
        let token = token(&idp).claim(name, number(&digits));
        assert_eq!(fault(&validator, &token.sign()), expected, "{name}: {digits}");
    }
}

#[test]
fn an_optional_claim_that_is_null_is_absent_and_an_id_may_be_a_number() {
    let idp = idp();
    let validator = validator(&idp, trusted().keys(idp.keys().clone()));
    for (name, value, expected) in [
        ("nbf", json!(null), None),
        ("iat", json!(null), None),
        ("jti", json!(null), None),
        ("jti", json!(7), None),
        ("jti", json!(""), Some(TokenFault::Claims)),
        ("jti", json!(true), Some(TokenFault::Claims)),
        ("exp", json!(null), Some(TokenFault::Claims)),
        ("aud", json!(null), Some(TokenFault::Audience)),
    ] {
        let token = token(&idp).claim(name, &value);
        assert_eq!(fault(&validator, &token.sign()), expected, "{name}: {value}");
    }
    let numbered = token(&idp).claim("jti", 7).sign();
    assert_eq!(validator.validate(&numbered).unwrap().token_id().as_str(), "7");
}

#[test]
fn the_audience_is_compared_with_the_claim_that_the_host_names() {
    let idp = idp();
    let ring = || idp.keys().clone();
    let by_client =
        || trusted().keys(ring()).audience_claim("client_id").audience("web").audience("app");
    let accepting = validator(&idp, by_client());
    let of = |client: Value| token(&idp).without("aud").claim("client_id", client).sign();
    assert_eq!(fault(&accepting, &of(json!("web"))), None);
    assert_eq!(fault(&accepting, &of(json!(["other", "app"]))), None);
    assert_eq!(fault(&accepting, &of(json!("other"))), Some(TokenFault::Audience));
    assert_eq!(fault(&accepting, &of(json!(null))), Some(TokenFault::Audience));
    assert_eq!(fault(&accepting, &of(json!(7))), Some(TokenFault::Claims));
    let without = token(&idp).without("aud").without("client_id").sign();
    assert_eq!(fault(&accepting, &without), Some(TokenFault::Audience));
    // What `aud` says counts no more, and the host reads what did.
    let foreign = token(&idp).claim("aud", "web").claim("client_id", "other").sign();
    assert_eq!(fault(&accepting, &foreign), Some(TokenFault::Audience));
    let validated = accepting.validate(&of(json!("web"))).unwrap();
    assert_eq!(validated.audiences(), ["web"]);
    // Another validator of the same issuer looks again.
    let other = TrustedIssuer::new(IDP).keys(ring()).audience_claim("client_id").audience("other");
    assert_eq!(validator(&idp, other).recheck(&validated), Err(TokenFault::Audience));
    assert_eq!(accepting.recheck(&validated), Ok(()));
    // So does one that compares another claim, in which the same name means something else.
    let by_aud = validator(&idp, TrustedIssuer::new(IDP).keys(ring()).audience("web"));
    assert_eq!(by_aud.recheck(&validated), Err(TokenFault::Audience));

    let none = TrustedIssuer::new(IDP).keys(ring()).audience_claim("client_id");
    assert!(Validator::for_issuers([none]).build().is_err(), "an audience is always demanded");
    let blank = trusted().keys(ring()).audience_claim(" ");
    assert!(Validator::for_issuers([blank]).build().is_err());
}

/// A token of the issuer under another header, signed by a P-384 key that signs nowhere else.
fn by_p384(idp: &TestIssuer, header: &Value) -> String {
    let key = p384::ecdsa::SigningKey::from_slice(&[7; 48]).unwrap();
    let token = token(idp).sign();
    let payload = token.split('.').nth(1).unwrap();
    let input = format!("{}.{payload}", base64url_encode(header.to_string()));
    let signature: p384::ecdsa::Signature = key.sign(input.as_bytes());
    format!("{input}.{}", base64url_encode(signature.to_bytes()))
}

fn p384_jwk(changes: &Value) -> Value {
    let key = p384::ecdsa::SigningKey::from_slice(&[7; 48]).unwrap();
    let point = key.verifying_key().to_sec1_point(false);
    let (x, y) = point.as_bytes()[1..].split_at(48);
    let (x, y) = (base64url_encode(x), base64url_encode(y));
    let mut jwk = json!({"kty": "EC", "crv": "P-384", "kid": "k", "x": x, "y": y});
    for (name, value) in changes.as_object().unwrap() {
        jwk[name] = value.clone();
    }
    jwk
}

#[test]
fn a_token_of_an_algorithm_that_is_only_verified_is_accepted_by_its_key() {
    let idp = idp();
    let ring = |jwk: Value| {
        let set = json!({"keys": [jwk]}).to_string();
        KeyRing::from_jwks(set.as_bytes())
    };
    let key = || ring(p384_jwk(&json!({}))).unwrap();
    let accepting = validator(&idp, trusted().keys(key()));
    let header = |alg: &str| json!({"alg": alg, "kid": "k", "typ": "at+jwt"});
    assert_eq!(fault(&accepting, &by_p384(&idp, &header("ES384"))), None);
    // A key is for one algorithm, whatever the token says.
    for other in ["ES256", "ES512", "RS384"] {
        let token = by_p384(&idp, &header(other));
        assert_eq!(fault(&accepting, &token), Some(TokenFault::UnknownKey), "{other}");
    }
    for other in ["HS256", "none", "ES384 "] {
        let token = by_p384(&idp, &header(other));
        assert_eq!(fault(&accepting, &token), Some(TokenFault::Algorithm), "{other}");
    }
    let narrow = trusted().keys(key()).algorithms([Algorithm::EdDSA]);
    let token = by_p384(&idp, &header("ES384"));
    assert_eq!(fault(&validator(&idp, narrow), &token), Some(TokenFault::Algorithm));
    assert!(ring(p384_jwk(&json!({"alg": "ES256"}))).is_err(), "`alg` is not of the curve");
    assert!(ring(p384_jwk(&json!({"key_ops": ["sign"]}))).is_err());
}

#[test]
fn a_token_without_kid_is_accepted_where_the_host_allows_it_and_one_key_fits() {
    let idp = idp();
    let header = json!({"alg": "ES384", "typ": "at+jwt"});
    let token = by_p384(&idp, &header);
    let set = |keys: &[Value]| KeyRing::from_jwks(json!({"keys": keys}).to_string().as_bytes());
    let one = || set(&[p384_jwk(&json!({}))]).unwrap();
    let strict = validator(&idp, trusted().keys(one()));
    assert_eq!(fault(&strict, &token), Some(TokenFault::UnknownKey));
    let lenient = validator(&idp, trusted().keys(one()).tokens_without_kid());
    assert_eq!(fault(&lenient, &token), None);
    // With a key id, it is that key or none.
    let named = by_p384(&idp, &json!({"alg": "ES384", "typ": "at+jwt", "kid": "other"}));
    assert_eq!(fault(&lenient, &named), Some(TokenFault::UnknownKey));
    let other = json!({"x": p384_jwk(&json!({}))["x"], "kid": "k2"});
    let ed25519: Value = serde_json::from_str(&idp.jwks()).unwrap();
    let beside = set(&[p384_jwk(&json!({})), ed25519["keys"][0].clone()]).unwrap();
    let lenient = validator(&idp, trusted().keys(beside).tokens_without_kid());
    assert_eq!(fault(&lenient, &token), None, "a key of another algorithm does not count");
    let two = set(&[p384_jwk(&json!({})), p384_jwk(&other)]).unwrap();
    let ambiguous = validator(&idp, trusted().keys(two).tokens_without_kid());
    assert_eq!(fault(&ambiguous, &token), Some(TokenFault::UnknownKey));
}
