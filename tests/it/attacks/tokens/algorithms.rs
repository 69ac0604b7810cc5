//! The algorithm that a token names, and the signature made with it.

use std::sync::Arc;

use countersign::faults::TokenFault;
use countersign::jose::{DefaultProvider, PrivateKey, SigningKey, VerificationKey};
use countersign::{Algorithm, KeyRing, Timestamp, Validator};
use serde_json::json;

use crate::attacks::tokens::{
    Forger, Members, Target, accepts, claims, quoted, rejects, validator,
};
use crate::support::jose::{
    ALGORITHMS, ED25519_SPKI, P256_ORDER, P256_SPKI, RSA_PUBLIC_PKCS1, RSA_SPKI, SMALL_ORDER,
    assert_invalid_key, base64url_decode, base64url_encode, private_key, providers,
};
use crate::support::{AUDIENCE, ISSUER, TestClock};

#[test]
fn none_in_any_spelling_and_with_trailing_blanks_is_rejected() {
    let target = Target::new();
    for none in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "none ",
        "none  ",
        " none",
        "none\t",
        "none\n",
        "none\0",
        "n\u{f6}ne",
        "\u{ff4e}one",
        "nonE\u{301}",
        "",
    ] {
        let header = target.forger.header().with("alg", quoted(none));
        target.rejects_header(&header, TokenFault::Algorithm);
        let unsigned =
            format!("{}.{}.", base64url_encode(header.text()), base64url_encode(claims().text()));
        target.rejects(&unsigned, TokenFault::Malformed);
        target.rejects(unsigned.trim_end_matches('.'), TokenFault::Malformed);
        target.rejects(&format!("{unsigned}AAAA"), TokenFault::Algorithm);
    }
    let escaped = target.forger.header().with("alg", r#""\u006e\u006fne""#);
    target.rejects_header(&escaped, TokenFault::Algorithm);
}

#[test]
fn an_algorithm_is_named_to_the_letter_and_by_a_string() {
    let target = Target::new();
    for name in [
        "eddsa", "EDDSA", "EdDSA ", " EdDSA", "EdDSA\0", "ed25519", "ED25519", "Ed448", "ES256K",
        "ES384", "RS512", "PS256", "HS512", "RSA-OAEP", "dir", "A128KW",
    ] {
        let header = target.forger.header().with("alg", quoted(name));
        target.rejects_header(&header, TokenFault::Algorithm);
    }
    target.rejects_header(&target.forger.header().without("alg"), TokenFault::Algorithm);
    for raw in ["null", "true", "0", "[\"EdDSA\"]", "{}"] {
        target.rejects_header(&target.forger.header().with("alg", raw), TokenFault::Malformed);
    }
}

/// Every form in which an attacker may have a public key at hand.
fn public_forms(algorithm: Algorithm) -> Vec<Vec<u8>> {
    let key = SigningKey::new(&private_key(algorithm), &DefaultProvider).unwrap();
    let jwk = key.verifying_key().to_jwk().unwrap();
    let pems = match algorithm {
        Algorithm::EdDSA => vec![ED25519_SPKI],
        Algorithm::ES256 => vec![P256_SPKI],
        _ => vec![RSA_SPKI, RSA_PUBLIC_PKCS1],
    };
    let mut forms = vec![jwk.to_string().into_bytes(), format!("{jwk:#}").into_bytes()];
    for name in ["x", "y", "n"] {
        if let Some(member) = jwk[name].as_str() {
            forms.push(member.as_bytes().to_vec());
            forms.push(base64url_decode(member));
        }
    }
    for pem in pems {
        forms.push(pem.as_bytes().to_vec());
        forms.push(pem.trim_end().as_bytes().to_vec());
        forms.push(pem.replace('\n', "\r\n").into_bytes());
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        forms.push(base64_of(&body));
        forms.push(body.into_bytes());
    }
    let behind_junk: Vec<_> = forms.iter().map(|form| [b"junk\n", &**form].concat()).collect();
    forms.into_iter().chain(behind_junk).collect()
}

fn base64_of(body: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(body).unwrap()
}

#[test]
fn hs256_keyed_with_any_form_of_the_public_key_behind_junk_too_is_rejected() {
    let secret = private_key(Algorithm::HS256);
    for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256] {
        let target = Target::of(algorithm);
        let shared = SigningKey::new(&secret, &DefaultProvider).unwrap();
        let ring = KeyRing::new(target.key.clone());
        ring.announce(&shared).unwrap();
        let both = validator(ring, &target.clock);
        let PrivateKey::Hmac(bytes) = &secret else { panic!("{secret:?}") };
        let rightly = Forger::with_hmac(bytes, shared.kid());
        accepts(&both, &rightly.forge(&rightly.header(), &claims()));
        for form in public_forms(algorithm) {
            let forger = Forger::with_hmac(&form, target.key.kid());
            let token = forger.forge(&forger.header(), &claims());
            target.rejects(&token, TokenFault::Algorithm);
            rejects(&both, &token, TokenFault::UnknownKey);
            let forger = Forger::with_hmac(&form, shared.kid());
            let token = forger.forge(&forger.header(), &claims());
            rejects(&both, &token, TokenFault::Signature);
        }
    }
}

#[test]
fn the_right_kid_with_another_algorithm_is_rejected() {
    let clock = TestClock::new();
    let keys = ALGORITHMS
        .map(|algorithm| SigningKey::new(&private_key(algorithm), &DefaultProvider).unwrap());
    let ring = KeyRing::verifying(keys.iter().map(|key| key.verifying_key().clone())).unwrap();
    let validator = validator(ring, &clock);
    for signing in ALGORITHMS {
        let forger = Forger::of(&private_key(signing));
        for key in &keys {
            let header = forger.header().with("kid", quoted(key.kid()));
            let token = forger.forge(&header, &claims());
            if key.algorithm() == signing {
                accepts(&validator, &token);
                continue;
            }
            rejects(&validator, &token, TokenFault::UnknownKey);
            let header = header.with("alg", quoted(key.algorithm().as_str()));
            let token = forger.forge(&header, &claims());
            rejects(&validator, &token, TokenFault::Signature);
        }
    }
}

#[test]
fn an_algorithm_that_is_not_on_the_list_is_rejected_though_there_is_a_key_for_it() {
    let keys = [Algorithm::EdDSA, Algorithm::ES256]
        .map(|algorithm| SigningKey::new(&private_key(algorithm), &DefaultProvider).unwrap());
    let ring = KeyRing::verifying(keys.map(|key| key.verifying_key().clone())).unwrap();
    let validator = Validator::builder()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .keys(ring)
        .algorithms([Algorithm::EdDSA])
        .clock(Arc::new(TestClock::new()))
        .build()
        .unwrap();
    let [allowed, other] =
        [Algorithm::EdDSA, Algorithm::ES256].map(|algorithm| Forger::of(&private_key(algorithm)));
    accepts(&validator, &allowed.forge(&allowed.header(), &claims()));
    rejects(&validator, &other.forge(&other.header(), &claims()), TokenFault::Algorithm);
}

#[test]
fn an_empty_or_short_hmac_key_is_rejected_at_construction() {
    for len in [0, 1, 31] {
        let jwk = json!({"kty": "oct", "k": base64url_encode(vec![0x5a; len])}).to_string();
        assert_invalid_key(PrivateKey::from_hmac_secret(&vec![0x5a; len]));
        assert_invalid_key(KeyRing::from_jwk(jwk.as_bytes()));
    }
    let jwk = json!({"kty": "oct", "k": base64url_encode([0x5a; 32])}).to_string();
    assert!(KeyRing::from_jwk(jwk.as_bytes()).is_ok());
}

/// With e = 1 a signature is the padded digest itself: anybody can write it down.
#[test]
fn an_rsa_key_with_e_1_or_below_2048_bits_does_not_get_into_a_ring() {
    let target = Target::new();
    let good = SigningKey::new(&private_key(Algorithm::RS256), &DefaultProvider).unwrap();
    let good = good.verifying_key().to_jwk().unwrap();
    let short = base64url_encode(&base64url_decode(good["n"].as_str().unwrap())[..128]);
    let ours = target.key.verifying_key().to_jwk().unwrap();
    for (name, value) in [("e", "AQ"), ("e", "AAAB"), ("n", &*short)] {
        let mut weak = good.clone();
        weak["kid"] = "weak".into();
        let set = json!({"keys": [weak, ours]}).to_string();
        let ring = KeyRing::from_jwks(set.as_bytes()).unwrap();
        assert!(ring.to_jwks(Timestamp::MIN).contains("weak"));
        weak[name] = value.into();
        assert_invalid_key(KeyRing::from_jwks(json!({"keys": [weak]}).to_string().as_bytes()));

        let set = json!({"keys": [weak, ours]}).to_string();
        let validator = validator(KeyRing::from_jwks(set.as_bytes()).unwrap(), &target.clock);
        accepts(&validator, &target.good());
        let header = Members::of(&[("alg", "\"RS256\""), ("kid", "\"weak\"")]);
        let header = header.with("typ", "\"at+jwt\"");
        let input =
            format!("{}.{}", base64url_encode(header.text()), base64url_encode(claims().text()));
        let token = format!("{input}.{}", base64url_encode(padded_digest(input.as_bytes())));
        rejects(&validator, &token, TokenFault::Algorithm);
    }
}

/// EMSA-PKCS1-v1_5 with SHA-256 for 2048 bits (RFC 8017 §9.2).
fn padded_digest(message: &[u8]) -> Vec<u8> {
    use sha2::Digest as _;
    const PREFIX: [u8; 19] = [
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
        0x05, 0x00, 0x04, 0x20,
    ];
    let digest = sha2::Sha256::digest(message);
    [&[0, 1], &*vec![0xff; 256 - 3 - 51], &[0], &PREFIX, &*digest].concat()
}

/// A token with that signature, judged with each of the providers.
#[track_caller]
fn rejects_signature(algorithm: Algorithm, input: &str, signature: &[u8]) {
    for provider in providers() {
        let key = SigningKey::new(&private_key(algorithm), provider).unwrap();
        let validator = validator(KeyRing::new(key), &TestClock::new());
        let token = format!("{input}.{}", base64url_encode(signature));
        rejects(&validator, &token, TokenFault::Signature);
    }
}

#[track_caller]
fn good_signature(algorithm: Algorithm) -> (String, Vec<u8>) {
    let token = Target::of(algorithm).good();
    let (input, signature) = token.rsplit_once('.').unwrap();
    for provider in providers() {
        let key = SigningKey::new(&private_key(algorithm), provider).unwrap();
        accepts(&validator(KeyRing::new(key), &TestClock::new()), &token);
    }
    (input.to_owned(), base64url_decode(signature))
}

#[test]
fn an_es256_signature_in_der_is_rejected() {
    let (input, good) = good_signature(Algorithm::ES256);
    let (r, s) = good.split_at(32);
    let numbers = [der_integer(r), der_integer(s)].concat();
    let der = [&[0x30, u8::try_from(numbers.len()).unwrap()], &*numbers].concat();
    rejects_signature(Algorithm::ES256, &input, &der);
}

fn der_integer(number: &[u8]) -> Vec<u8> {
    let first = number.iter().position(|byte| *byte != 0).unwrap();
    let mut body = number[first..].to_vec();
    if body[0] >= 0x80 {
        body.insert(0, 0);
    }
    [&[0x02, u8::try_from(body.len()).unwrap()], &*body].concat()
}

#[test]
fn an_es256_signature_with_r_or_s_zero_or_not_below_the_order_is_rejected() {
    let (input, good) = good_signature(Algorithm::ES256);
    let (r, s) = good.split_at(32);
    let (zero, one, ones) = ([0; 32], [&[0; 31][..], &[1]].concat(), [0xff; 32]);
    let order = base64url_decode(P256_ORDER);
    let above = [&order[..31], &[order[31] + 1]].concat();
    for bad in [&zero[..], &order, &above, &ones] {
        rejects_signature(Algorithm::ES256, &input, &[bad, s].concat());
        rejects_signature(Algorithm::ES256, &input, &[r, bad].concat());
        rejects_signature(Algorithm::ES256, &input, &[bad, bad].concat());
    }
    rejects_signature(Algorithm::ES256, &input, &[&*one, &*one].concat());
    rejects_signature(Algorithm::ES256, &input, &[s, r].concat());
    rejects_signature(Algorithm::ES256, &input, &good[..63]);
    rejects_signature(Algorithm::ES256, &input, &[&good[..], &[0]].concat());
    let wide = [&[0], r, &[0], s].concat();
    rejects_signature(Algorithm::ES256, &input, &wide);
}

#[test]
fn an_ed25519_signature_whose_s_is_not_below_the_order_is_rejected() {
    /// L (RFC 8032 §5.1), little-endian.
    const ORDER: &str = "7dP1XBpjEljWnPei3vneFAAAAAAAAAAAAAAAAAAAABA";
    let (input, good) = good_signature(Algorithm::EdDSA);
    let (r, s) = good.split_at(32);
    let mut sum = s.to_vec();
    for _ in 0..7 {
        let mut carry = 0;
        for (digit, order) in sum.iter_mut().zip(base64url_decode(ORDER)) {
            let total = u16::from(*digit) + u16::from(order) + carry;
            (*digit, carry) = (total as u8, total >> 8);
        }
        assert_eq!(carry, 0);
        rejects_signature(Algorithm::EdDSA, &input, &[r, &*sum].concat());
    }
    for high in [0x20, 0x40, 0x80, 0xe0] {
        let mut bad = good.clone();
        bad[63] |= high;
        rejects_signature(Algorithm::EdDSA, &input, &bad);
    }
    rejects_signature(Algorithm::EdDSA, &input, &[r, &base64url_decode(ORDER)].concat());
}

/// Under the neutral element as a key, R = the neutral element and S = 0 sign every message.
#[test]
fn an_ed25519_key_of_small_order_does_not_get_into_a_ring() {
    let target = Target::new();
    let ours = target.key.verifying_key().to_jwk().unwrap();
    let signature = [base64url_decode(SMALL_ORDER[0]), vec![0; 32]].concat();
    for x in SMALL_ORDER {
        assert_invalid_key(VerificationKey::ed25519(&base64url_decode(x)));
        let weak = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "weak"});
        for provider in providers() {
            let alone = json!({"keys": [weak]}).to_string();
            assert_invalid_key(KeyRing::from_jwks_with(alone.as_bytes(), provider));
            let set = json!({"keys": [weak, ours]}).to_string();
            let ring = KeyRing::from_jwks_with(set.as_bytes(), provider).unwrap();
            let validator = validator(ring, &target.clock);
            accepts(&validator, &target.good());
            let header = target.forger.header().with("kid", "\"weak\"");
            let input = format!(
                "{}.{}",
                base64url_encode(header.text()),
                base64url_encode(claims().text())
            );
            let token = format!("{input}.{}", base64url_encode(&signature));
            rejects(&validator, &token, TokenFault::UnknownKey);
        }
    }
}

#[test]
fn ed25519_and_eddsa_name_the_same_algorithm() {
    let target = Target::new();
    for name in ["EdDSA", "Ed25519"] {
        target.accepts_header(&target.forger.header().with("alg", quoted(name)));
    }
    let p256 = Target::of(Algorithm::ES256);
    let header = p256.forger.header().with("alg", "\"Ed25519\"");
    p256.rejects_header(&header, TokenFault::Algorithm);
}
