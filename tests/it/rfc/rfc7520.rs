//! Examples of Protecting Content Using JSON Object Signing and Encryption (JOSE).

use countersign::Algorithm;
use countersign::faults::TokenFault;
use countersign::jose::{PrivateKey, VerificationKey, VerifyingKey};
use serde_json::json;

use crate::rfc::validator;
use crate::support::jose::{base64url_decode, base64url_encode, providers};

/// Figure 8.
const PAYLOAD: &str = concat!(
    "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IH",
    "lvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBk",
    "b24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcm",
    "UgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4",
);

/// Figure 3.
const MODULUS: &str = concat!(
    "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT",
    "-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqV",
    "wGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-",
    "oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde",
    "3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuC",
    "LqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5g",
    "HdrNP5zw",
);

/// Figure 5.
const SECRET: &str = "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg";

#[test]
fn section_3_3_an_rsa_public_key() {
    let jwk = json!({
        "kty": "RSA",
        "kid": "bilbo.baggins@hobbiton.example",
        "use": "sig",
        "n": MODULUS,
        "e": "AQAB",
    });
    for provider in providers() {
        let key = VerifyingKey::from_jwk_with(jwk.to_string().as_bytes(), provider).unwrap();
        assert_eq!(key.kid(), "bilbo.baggins@hobbiton.example");
        assert_eq!(key.algorithm(), Algorithm::RS256);
    }
}

#[test]
fn section_4_1_rsa_v1_5_signature() {
    const SIGNATURE: &str = concat!(
        "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmK",
        "ZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4J",
        "IwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8w",
        "W1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluP",
        "xUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_f",
        "cIe8u9ipH84ogoree7vjbU5y18kDquDg",
    );
    let header = base64url_encode(r#"{"alg":"RS256","kid":"bilbo.baggins@hobbiton.example"}"#);
    let input = format!("{header}.{PAYLOAD}");
    let public = VerificationKey::rsa(&base64url_decode(MODULUS), &[1, 0, 1]).unwrap();
    for provider in providers() {
        let verifier = provider.verifier(&public).unwrap();
        assert!(verifier.verify(input.as_bytes(), &base64url_decode(SIGNATURE)));
        assert!(!verifier.verify(PAYLOAD.as_bytes(), &base64url_decode(SIGNATURE)));
    }
}

#[test]
fn section_4_4_hmac_sha2_integrity_protection() {
    const SIGNATURE: &str = "s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0";
    let header =
        base64url_encode(r#"{"alg":"HS256","kid":"018c0ae5-4d9b-471b-bfd6-eef314bc7037"}"#);
    let input = format!("{header}.{PAYLOAD}");
    let key = PrivateKey::from_hmac_secret(&base64url_decode(SECRET)).unwrap();
    for provider in providers() {
        let signature = provider.signer(&key).unwrap().sign(input.as_bytes()).unwrap();
        assert_eq!(base64url_encode(&signature), SIGNATURE);
        let verifier = provider.verifier(&provider.verification_key(&key).unwrap()).unwrap();
        assert!(verifier.verify(input.as_bytes(), &base64url_decode(SIGNATURE)));
    }
}

#[test]
fn section_4_5_a_signature_with_detached_content_is_rejected() {
    let header =
        base64url_encode(r#"{"alg":"HS256","kid":"018c0ae5-4d9b-471b-bfd6-eef314bc7037"}"#);
    let token = format!("{header}..s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0");
    assert_eq!(validator().validate(&token).unwrap_err(), TokenFault::Malformed);
}
