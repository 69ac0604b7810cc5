//! Keys: what is loaded and from where, what is rejected, and that both providers agree.

use countersign::faults::TokenFault;
use countersign::jose::{PrivateKey, SigningKey, VerificationKey, VerifyingKey};
use countersign::{
    Algorithm, AuthenticationToken, ErrorKind, ExchangeRequest, KeyRing, RequestContext, Timestamp,
    Validator,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::rfc::{rfc7515, rfc7638, rfc8037};
use crate::support::jose::{
    ALGORITHMS, ED25519_JWK, ED25519_PKCS8, ED25519_SPKI, HMAC_SECRET, P256_JWK, P256_ORDER,
    P256_PKCS8, P256_SEC1, P256_SPKI, RSA_PKCS1, RSA_PKCS8, RSA_PUBLIC_PKCS1, RSA_SPKI,
    SMALL_ORDER, assert_invalid_key, base64url_decode, base64url_encode, private_key, providers,
};
use crate::support::{AUDIENCE, Fixture, ISSUER, START, TestClock};

/// The same JWK with other members; `null` takes one away.
fn changed(jwk: &str, changes: Value) -> Vec<u8> {
    let mut jwk: Value = serde_json::from_str(jwk).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(jwk.as_object_mut().unwrap().remove(name)),
            value => jwk[name] = value.clone(),
        }
    }
    jwk.to_string().into_bytes()
}

fn oct(secret: &str) -> String {
    json!({"kty": "oct", "k": secret}).to_string()
}

fn set_of(keys: &[Vec<u8>]) -> Vec<u8> {
    let keys: Vec<Value> = keys.iter().map(|key| serde_json::from_slice(key).unwrap()).collect();
    json!({ "keys": keys }).to_string().into_bytes()
}

#[track_caller]
fn public_jwk(key: &SigningKey) -> String {
    key.verifying_key().to_jwk().unwrap().to_string()
}

/// A token that a service with these keys issues to a customer.
async fn token_by(keys: KeyRing) -> (Fixture, String) {
    let fixture = Fixture::with_keys(keys, |builder| builder);
    let session = AuthenticationToken::from_text(&fixture.session(|new| new).await).unwrap();
    let exchanged = fixture
        .tokens
        .exchange(&session, ExchangeRequest::default(), &RequestContext::without_address())
        .await
        .unwrap();
    (fixture, exchanged.token.access_token.expose().to_owned())
}

fn validator(keys: KeyRing, clock: &TestClock) -> Validator {
    Validator::builder()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .keys(keys)
        .clock(std::sync::Arc::new(clock.clone()))
        .build()
        .unwrap()
}

// Loading

#[test]
fn every_form_of_a_private_key_loads_and_is_the_same_key() {
    for provider in providers() {
        let pem = |algorithm, pem: &str| {
            SigningKey::from_pem_with(algorithm, pem.as_bytes(), provider).unwrap()
        };
        let jwk = |jwk: &str| SigningKey::from_jwk_with(jwk.as_bytes(), provider).unwrap();
        for (algorithm, keys) in [
            (Algorithm::EdDSA, vec![pem(Algorithm::EdDSA, ED25519_PKCS8), jwk(ED25519_JWK)]),
            (
                Algorithm::ES256,
                vec![
                    pem(Algorithm::ES256, P256_PKCS8),
                    pem(Algorithm::ES256, P256_SEC1),
                    jwk(P256_JWK),
                ],
            ),
            (
                Algorithm::RS256,
                vec![pem(Algorithm::RS256, RSA_PKCS8), pem(Algorithm::RS256, RSA_PKCS1)],
            ),
            (Algorithm::RS256, vec![jwk(rfc7515::APPENDIX_A_2_JWK)]),
            (Algorithm::HS256, vec![jwk(&oct(rfc7515::APPENDIX_A_1_SECRET))]),
        ] {
            for key in &keys {
                assert_eq!(key.algorithm(), algorithm);
                assert_eq!(key.kid(), keys[0].kid(), "{provider:?}");
            }
        }
    }
}

#[test]
fn every_form_of_a_public_key_loads_under_the_thumbprint_of_its_private_one() {
    for provider in providers() {
        for (algorithm, pems) in [
            (Algorithm::EdDSA, vec![ED25519_SPKI]),
            (Algorithm::ES256, vec![P256_SPKI]),
            (Algorithm::RS256, vec![RSA_SPKI, RSA_PUBLIC_PKCS1]),
        ] {
            let private = SigningKey::new(&private_key(algorithm), provider).unwrap();
            for pem in pems {
                let public = VerifyingKey::from_pem_with(pem.as_bytes(), provider).unwrap();
                assert_eq!(public.kid(), private.kid());
                assert_eq!(public.algorithm(), algorithm);
                assert_eq!(public.to_jwk(), private.verifying_key().to_jwk());
            }
            let jwk = public_jwk(&private);
            let public = VerifyingKey::from_jwk_with(jwk.as_bytes(), provider).unwrap();
            assert_eq!(public.kid(), private.kid());
        }
    }
}

#[test]
fn a_pem_file_may_have_the_line_ends_of_any_system() {
    for ends in ["\r\n", "\r"] {
        let pem = ED25519_PKCS8.replace('\n', ends);
        assert!(PrivateKey::from_pem(pem.as_bytes()).is_ok(), "{ends:?}");
    }
}

#[test]
fn a_signing_jwk_is_called_by_its_thumbprint_and_a_verifying_one_by_its_own_name() {
    for provider in providers() {
        let thumbprint = SigningKey::from_jwk_with(ED25519_JWK.as_bytes(), provider).unwrap();
        let named = changed(ED25519_JWK, json!({"kid": "2026"}));
        let signing = SigningKey::from_jwk_with(&named, provider).unwrap();
        assert_eq!(signing.kid(), thumbprint.kid());
        let named = changed(ED25519_JWK, json!({"kid": "2026", "d": null}));
        assert_eq!(VerifyingKey::from_jwk_with(&named, provider).unwrap().kid(), "2026");
    }
}

#[test]
fn a_jwk_of_ed25519_may_be_marked_by_either_name_of_its_algorithm() {
    for provider in providers() {
        for algorithm in ["EdDSA", "Ed25519"] {
            let private = changed(ED25519_JWK, json!({"alg": algorithm, "use": "sig"}));
            assert!(SigningKey::from_jwk_with(&private, provider).is_ok(), "{algorithm}");
            let public = changed(ED25519_JWK, json!({"alg": algorithm, "d": null}));
            assert!(VerifyingKey::from_jwk_with(&public, provider).is_ok(), "{algorithm}");
        }
    }
}

#[tokio::test]
async fn what_a_generated_key_of_any_algorithm_signs_its_service_accepts() {
    for algorithm in ALGORITHMS {
        let (fixture, token) = token_by(KeyRing::generate(algorithm).unwrap()).await;
        let validated = fixture.tokens.validator().validate(&token).unwrap();
        assert_eq!(validated.principal().id(), "cus_1", "{algorithm}");
    }
}

#[tokio::test]
async fn what_a_loaded_key_of_any_algorithm_signs_a_ring_of_the_same_key_accepts() {
    for algorithm in ALGORITHMS {
        for signing in providers() {
            for verifying in providers() {
                let key = |provider| SigningKey::new(&private_key(algorithm), provider).unwrap();
                let (fixture, token) = token_by(KeyRing::new(key(signing))).await;
                let ring = KeyRing::verifying([key(verifying).verifying_key().clone()]).unwrap();
                let answer = validator(ring, &fixture.clock).validate(&token);
                assert!(answer.is_ok(), "{algorithm}: {signing:?}, {verifying:?}: {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_a_service_signs_a_ring_read_from_its_jwk_set_accepts() {
    for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256] {
        for provider in providers() {
            let key = SigningKey::new(&private_key(algorithm), provider).unwrap();
            let (fixture, token) = token_by(KeyRing::new(key)).await;
            for reader in providers() {
                let set = fixture.tokens.jwks();
                let ring = KeyRing::from_jwks_with(set.as_bytes(), reader).unwrap();
                assert!(ring.active().is_none());
                assert_eq!(ring.to_jwks(Timestamp::MIN), set);
                assert!(validator(ring, &fixture.clock).validate(&token).is_ok(), "{algorithm}");
            }
        }
    }
}

// Rejected

#[test]
fn an_hmac_secret_below_32_bytes_is_rejected() {
    for len in [0, 1, 16, 31] {
        assert_invalid_key(PrivateKey::from_hmac_secret(&vec![0xa5; len]));
        for provider in providers() {
            let jwk = oct(&base64url_encode(vec![0xa5; len]));
            assert_invalid_key(SigningKey::from_jwk_with(jwk.as_bytes(), provider));
        }
    }
    assert!(PrivateKey::from_hmac_secret(&[0xa5; 32]).is_ok());
}

#[test]
fn a_pem_block_or_a_jwk_is_rejected_as_an_hmac_secret_behind_junk_too() {
    let jwk = changed(ED25519_JWK, json!({"d": null}));
    for key in [ED25519_SPKI.as_bytes(), RSA_SPKI.as_bytes(), RSA_PKCS1.as_bytes(), &jwk] {
        for junk in [&b""[..], b"\n", b"junk ", b"\xff\0"] {
            let secret = [junk, key, junk].concat();
            assert_invalid_key(PrivateKey::from_hmac_secret(&secret));
            for provider in providers() {
                let jwk = oct(&base64url_encode(&secret));
                assert_invalid_key(SigningKey::from_jwk_with(jwk.as_bytes(), provider));
            }
        }
    }
}

#[test]
fn an_rsa_modulus_has_2048_to_8192_bits() {
    for pem in [RSA_1024_PKCS8, RSA_2047_PKCS8] {
        assert_invalid_key(PrivateKey::from_pem(pem.as_bytes()));
    }
    for pem in [RSA_1024_SPKI, RSA_2047_SPKI] {
        assert_invalid_key(VerificationKey::from_pem(pem.as_bytes()));
    }
    let modulus = |bits: usize| {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        modulus[0] >>= (8 - bits % 8) % 8;
        modulus
    };
    for (bits, good) in [(2047, false), (2048, true), (8192, true), (8193, false)] {
        let key = VerificationKey::rsa(&modulus(bits), &[1, 0, 1]);
        assert_eq!(key.is_ok(), good, "{bits}");
    }
    let behind_zeros = [vec![0; 128], modulus(1024)].concat();
    assert_invalid_key(VerificationKey::rsa(&behind_zeros, &[1, 0, 1]));
    assert_invalid_key(VerificationKey::rsa(&[], &[1, 0, 1]));
}

#[test]
fn an_rsa_exponent_is_odd_and_from_3_up_to_33_bits() {
    let modulus = base64url_decode(rfc7638::SECTION_3_1_MODULUS);
    for exponent in
        [&[][..], &[0], &[1], &[0, 0, 1], &[2], &[1, 0, 0], &[2, 0, 0, 0, 1], &[1, 0, 0, 0, 0, 1]]
    {
        assert_invalid_key(VerificationKey::rsa(&modulus, exponent));
        for provider in providers() {
            let exponent = base64url_encode(exponent);
            let jwk = json!({"kty": "RSA", "n": rfc7638::SECTION_3_1_MODULUS, "e": exponent});
            assert_invalid_key(VerifyingKey::from_jwk_with(jwk.to_string().as_bytes(), provider));
        }
    }
    for exponent in [&[3][..], &[1, 0, 1], &[0, 1, 0, 1]] {
        assert!(VerificationKey::rsa(&modulus, exponent).is_ok(), "{exponent:?}");
    }
}

#[test]
fn an_even_rsa_modulus_verifies_nothing() {
    let mut modulus = base64url_decode(rfc7638::SECTION_3_1_MODULUS);
    *modulus.last_mut().unwrap() &= 0xfe;
    let key = VerificationKey::rsa(&modulus, &[1, 0, 1]).unwrap();
    for provider in providers() {
        let verifier = provider.verifier(&key);
        assert!(!verifier.is_ok_and(|verifier| verifier.verify(b"message", &[0; 256])));
    }
}

#[test]
fn an_ed25519_key_of_small_order_is_rejected_in_every_encoding() {
    for x in SMALL_ORDER {
        assert_invalid_key(VerificationKey::ed25519(&base64url_decode(x)));
        for provider in providers() {
            let public = changed(ED25519_JWK, json!({"x": x, "d": null}));
            assert_invalid_key(VerifyingKey::from_jwk_with(&public, provider));
        }
    }
    assert!(VerificationKey::ed25519(&base64url_decode(rfc8037::APPENDIX_A_1_X)).is_ok());
}

#[test]
fn an_ed25519_key_whose_encoding_is_not_canonical_is_rejected() {
    for low in 0xed..=0xff {
        for high in [0x7f, 0xff] {
            let mut key = [0xff; 32];
            (key[0], key[31]) = (low, high);
            assert_invalid_key(VerificationKey::ed25519(&key));
        }
    }
    for len in [0, 31, 33, 64] {
        assert_invalid_key(VerificationKey::ed25519(&vec![9; len]));
    }
}

#[test]
fn an_ed25519_key_that_is_no_point_verifies_nothing() {
    let mut key = [0; 32];
    key[0] = 2;
    let key = VerificationKey::ed25519(&key).unwrap();
    for provider in providers() {
        let verifier = provider.verifier(&key);
        assert!(!verifier.is_ok_and(|verifier| verifier.verify(b"message", &[0; 64])));
    }
}

#[test]
fn a_p256_point_off_the_curve_is_rejected() {
    let good: Value = serde_json::from_str(P256_JWK).unwrap();
    let (x, y) = (good["x"].as_str().unwrap(), good["y"].as_str().unwrap());
    let zero = base64url_encode([0; 32]);
    let all_ones = base64url_encode([0xff; 32]);
    for (x, y) in [(x, x), (y, x), (x, &*zero), (&zero, &zero), (x, &all_ones), (&all_ones, y)] {
        let point = [vec![4], base64url_decode(x), base64url_decode(y)].concat();
        let key = VerificationKey::p256(&point).unwrap();
        let jwk = changed(P256_JWK, json!({"x": x, "y": y, "d": null}));
        for provider in providers() {
            assert_invalid_key(provider.verifier(&key).map(drop));
            assert_invalid_key(VerifyingKey::from_jwk_with(&jwk, provider));
        }
    }
}

#[test]
fn a_p256_key_is_an_uncompressed_point_of_65_bytes() {
    let good = [
        vec![4],
        base64url_decode(rfc7515::APPENDIX_A_3_X),
        base64url_decode(rfc7515::APPENDIX_A_3_Y),
    ]
    .concat();
    assert!(VerificationKey::p256(&good).is_ok());
    let compressed = [vec![3], base64url_decode(rfc7515::APPENDIX_A_3_X)].concat();
    let hybrid = [vec![6], good[1..].to_vec()].concat();
    for point in [&good[1..], &good[..64], &[&good[..], &[0]].concat(), &compressed, &hybrid, &[0]]
    {
        assert_invalid_key(VerificationKey::p256(point));
    }
    for provider in providers() {
        for (name, value) in [
            ("x", base64url_decode(rfc7515::APPENDIX_A_3_X)),
            ("y", base64url_decode(rfc7515::APPENDIX_A_3_Y)),
        ] {
            let longer =
                changed(P256_JWK, json!({name: base64url_encode([&[0], &*value].concat())}));
            assert_invalid_key(VerifyingKey::from_jwk_with(&longer, provider));
            let shorter = changed(P256_JWK, json!({name: base64url_encode(&value[1..])}));
            assert_invalid_key(VerifyingKey::from_jwk_with(&shorter, provider));
        }
    }
}

#[test]
fn a_p256_scalar_of_zero_or_not_below_the_order_is_rejected() {
    let order = base64url_decode(P256_ORDER);
    for scalar in [[0; 32], order.try_into().unwrap(), [0xff; 32]] {
        let key = PrivateKey::P256(Zeroizing::new(scalar));
        for provider in providers() {
            assert_invalid_key(SigningKey::new(&key, provider));
            assert_invalid_key(provider.verification_key(&key));
        }
    }
}

#[test]
fn a_pem_key_for_another_algorithm_than_was_asked_for_is_rejected() {
    for provider in providers() {
        for (own, pem) in [
            (Algorithm::EdDSA, ED25519_PKCS8),
            (Algorithm::ES256, P256_SEC1),
            (Algorithm::RS256, RSA_PKCS1),
        ] {
            for asked in ALGORITHMS {
                let key = SigningKey::from_pem_with(asked, pem.as_bytes(), provider);
                assert_eq!(key.is_ok(), asked == own, "{own} as {asked}");
            }
        }
    }
}

#[test]
fn a_pem_block_that_is_no_plain_key_of_a_known_kind_is_rejected() {
    for pem in [
        "",
        "no PEM at all",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
        "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ED25519_SPKI,
        ED25519_ENCRYPTED,
        P384_PKCS8,
        X25519_PKCS8,
    ] {
        assert_invalid_key(PrivateKey::from_pem(pem.as_bytes()));
    }
    for pem in ["", "no PEM at all", ED25519_PKCS8, RSA_PKCS1, X25519_SPKI] {
        assert_invalid_key(VerificationKey::from_pem(pem.as_bytes()));
    }
}

#[test]
fn a_jwk_whose_public_part_is_not_that_of_its_private_one_is_rejected() {
    for provider in providers() {
        for (jwk, changes) in [
            (ED25519_JWK, json!({"x": rfc8037::APPENDIX_A_1_X})),
            (ED25519_JWK, json!({"d": rfc8037::APPENDIX_A_1_D})),
            (P256_JWK, json!({"x": rfc7515::APPENDIX_A_3_X, "y": rfc7515::APPENDIX_A_3_Y})),
            (P256_JWK, json!({"d": rfc7515::APPENDIX_A_3_D})),
            (rfc7515::APPENDIX_A_2_JWK, json!({"n": rfc7638::SECTION_3_1_MODULUS})),
            (rfc7515::APPENDIX_A_2_JWK, json!({"e": "Aw"})),
        ] {
            assert!(SigningKey::from_jwk_with(jwk.as_bytes(), provider).is_ok());
            let answer = SigningKey::from_jwk_with(&changed(jwk, changes.clone()), provider);
            let error = answer.map(|key| panic!("{provider:?}: {changes} {key:?}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidKey);
        }
    }
}

#[test]
fn an_rsa_key_whose_exponent_or_primes_do_not_belong_to_its_modulus_is_rejected() {
    for provider in providers() {
        for name in ["d", "p", "q"] {
            assert_invalid_key(SigningKey::from_jwk_with(&rsa_with_another(name), provider));
        }
        for name in ["d", "p", "q", "dp", "dq", "qi"] {
            let missing = changed(rfc7515::APPENDIX_A_2_JWK, json!({name: null}));
            assert_invalid_key(SigningKey::from_jwk_with(&missing, provider));
        }
    }
}

/// One provider rejects such a key, the other derives these parts anew. A signature made with them
/// as they are would give the primes away.
#[tokio::test]
async fn an_rsa_key_whose_derived_parts_are_wrong_makes_no_wrong_signature() {
    for provider in providers() {
        for name in ["dp", "dq", "qi"] {
            match SigningKey::from_jwk_with(&rsa_with_another(name), provider) {
                Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidKey),
                Ok(key) => {
                    let (fixture, token) = token_by(KeyRing::new(key)).await;
                    let answer = fixture.tokens.validator().validate(&token);
                    assert!(answer.is_ok(), "{provider:?}: {name}");
                }
            }
        }
    }
}

fn rsa_with_another(name: &str) -> Vec<u8> {
    let good: Value = serde_json::from_str(rfc7515::APPENDIX_A_2_JWK).unwrap();
    let mut part = base64url_decode(good[name].as_str().unwrap());
    part[20] ^= 0x10;
    changed(rfc7515::APPENDIX_A_2_JWK, json!({name: base64url_encode(part)}))
}

#[test]
fn a_jwk_that_contradicts_itself_or_is_not_strict_json_is_rejected() {
    for provider in providers() {
        for changes in [
            json!({"kty": "EC"}),
            json!({"kty": "RSA"}),
            json!({"kty": 1}),
            json!({"kty": null}),
            json!({"crv": "X25519"}),
            json!({"crv": "Ed448"}),
            json!({"crv": null}),
            json!({"alg": "ES256"}),
            json!({"alg": "HS256"}),
            json!({"alg": "none"}),
            json!({"alg": 1}),
            json!({"use": "enc"}),
            json!({"use": ["sig"]}),
            json!({"kid": 1}),
            json!({"x": 1}),
            json!({"x": ""}),
        ] {
            let private = changed(ED25519_JWK, changes);
            assert_invalid_key(SigningKey::from_jwk_with(&private, provider));
            assert_invalid_key(VerifyingKey::from_jwk_with(&private, provider));
        }
        // Only in a public key, which somebody else may have written, base64 may be padded.
        let padded = json!({"x": format!("{}=", rfc8037::APPENDIX_A_1_X)});
        assert_invalid_key(SigningKey::from_jwk_with(&changed(ED25519_JWK, padded), provider));
        let twice = ED25519_JWK.replacen('{', r#"{"kty":"OKP","#, 1);
        let escaped = ED25519_JWK.replacen('{', r#"{"\u006bty":"OKP","#, 1);
        let array = format!("[{ED25519_JWK}]");
        let more = format!("{ED25519_JWK}x");
        for text in [twice, escaped, array, more, String::new(), "null".into()] {
            assert_invalid_key(SigningKey::from_jwk_with(text.as_bytes(), provider));
            assert_invalid_key(VerifyingKey::from_jwk_with(text.as_bytes(), provider));
        }
    }
}

#[test]
fn a_private_seed_or_scalar_of_another_length_is_rejected() {
    for provider in providers() {
        for len in [0, 31, 33, 64] {
            let d = base64url_encode(vec![7; len]);
            for jwk in [ED25519_JWK, P256_JWK] {
                assert_invalid_key(SigningKey::from_jwk_with(
                    &changed(jwk, json!({"d": d, "x": null, "y": null})),
                    provider,
                ));
            }
        }
    }
}

#[test]
fn a_shared_secret_is_no_public_key() {
    for provider in providers() {
        let jwk = oct(rfc7515::APPENDIX_A_1_SECRET);
        assert_invalid_key(VerifyingKey::from_jwk_with(jwk.as_bytes(), provider));
        let set = set_of(&[jwk.into_bytes()]);
        assert_invalid_key(KeyRing::from_jwks_with(&set, provider));
    }
}

#[test]
fn a_public_key_on_p384_verifies_es384_and_is_written_as_a_jwk() {
    for provider in providers() {
        let key = VerifyingKey::from_pem_with(P384_SPKI.as_bytes(), provider).unwrap();
        assert_eq!(key.algorithm(), Algorithm::ES384);
        let jwk = key.to_jwk().unwrap();
        assert_eq!(jwk["crv"], "P-384");
        let read = VerifyingKey::from_jwk_with(jwk.to_string().as_bytes(), provider).unwrap();
        assert_eq!(read.to_jwk().unwrap(), jwk);
    }
}

#[test]
fn a_key_that_was_put_together_by_hand_is_judged_as_one_that_was_read() {
    for provider in providers() {
        let weak = [
            VerificationKey::Ed25519([0; 32]),
            VerificationKey::P256([1; 65]),
            VerificationKey::Rsa {
                modulus: vec![0xff; 128],
                exponent: vec![1, 0, 1],
                algorithm: Algorithm::RS256,
            },
            VerificationKey::Hmac(Zeroizing::new(b"short".to_vec())),
        ];
        for key in weak {
            assert_invalid_key(VerifyingKey::new(key, None, provider));
        }
        let short = PrivateKey::Hmac(Zeroizing::new(b"short".to_vec()));
        assert_invalid_key(SigningKey::new(&short, provider));
    }
}

// Rings

#[test]
fn a_ring_has_no_kid_twice() {
    for provider in providers() {
        let key = |algorithm| SigningKey::new(&private_key(algorithm), provider).unwrap();
        let (ed, p256) = (key(Algorithm::EdDSA), key(Algorithm::ES256));
        let public = ed.verifying_key().clone();
        assert_invalid_key(KeyRing::verifying([public.clone(), public.clone()]));
        assert_invalid_key(KeyRing::new(ed.clone()).announce(&ed));
        let until = Timestamp::from_secs(START);
        assert_invalid_key(KeyRing::new(ed.clone()).add_retired(&public, until));
        let material = provider.verification_key(&private_key(Algorithm::ES256)).unwrap();
        let renamed = VerifyingKey::new(material, Some(ed.kid().to_owned()), provider).unwrap();
        assert_invalid_key(KeyRing::verifying([public, renamed]));
        assert!(KeyRing::new(ed).announce(&p256).is_ok());

        let first = changed(ED25519_JWK, json!({"kid": "k", "d": null}));
        let second = changed(P256_JWK, json!({"kid": "k", "d": null}));
        assert_invalid_key(KeyRing::from_jwks_with(&set_of(&[first, second]), provider));
    }
}

#[test]
fn a_jwk_set_holds_the_public_members_and_nothing_else() {
    const PUBLIC: [&str; 9] = ["kty", "crv", "x", "y", "n", "e", "use", "alg", "kid"];
    for provider in providers() {
        let key = |algorithm| SigningKey::new(&private_key(algorithm), provider).unwrap();
        let ring = KeyRing::new(key(Algorithm::EdDSA));
        ring.announce(&key(Algorithm::ES256)).unwrap();
        let retired = key(Algorithm::RS256).verifying_key().clone();
        ring.add_retired(&retired, Timestamp::from_secs(START)).unwrap();
        ring.announce(&key(Algorithm::HS256)).unwrap();
        let set = ring.to_jwks(Timestamp::MIN);
        let read: Value = serde_json::from_str(&set).unwrap();
        assert_eq!(read.as_object().unwrap().len(), 1);
        let keys = read["keys"].as_array().unwrap();
        let kinds: Vec<_> = keys.iter().map(|key| key["kty"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["OKP", "EC", "RSA"]);
        for key in keys {
            for name in key.as_object().unwrap().keys() {
                assert!(PUBLIC.contains(&name.as_str()), "{name}");
            }
            assert_eq!(key["use"], "sig");
        }
        let [ed, p256]: [Value; 2] =
            [ED25519_JWK, P256_JWK].map(|jwk| serde_json::from_str(jwk).unwrap());
        for secret in [ed["d"].as_str(), p256["d"].as_str(), Some(HMAC_SECRET)] {
            assert!(!set.contains(secret.unwrap()), "{set}");
        }
    }
}

#[test]
fn a_shared_secret_is_never_published() {
    let key = SigningKey::new(&private_key(Algorithm::HS256), providers()[0]).unwrap();
    assert!(key.verifying_key().to_jwk().is_none());
    let ring = KeyRing::new(key);
    assert_eq!(ring.to_jwks(Timestamp::MIN), r#"{"keys":[]}"#);
}

#[test]
fn of_a_jwk_set_the_keys_that_cannot_be_used_are_left_out() {
    for provider in providers() {
        let good = changed(ED25519_JWK, json!({"d": null, "kid": "good"}));
        let (x, y) = (rfc7515::APPENDIX_A_3_X, rfc7515::APPENDIX_A_3_Y);
        let unusable = [
            json!({"kty": "oct", "k": rfc7515::APPENDIX_A_1_SECRET}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": SMALL_ORDER[0]}),
            json!({"kty": "OKP", "crv": "X25519", "x": rfc8037::APPENDIX_A_1_X}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": rfc8037::APPENDIX_A_1_X, "use": "enc"}),
            json!({"kty": "EC", "crv": "P-256", "x": x, "y": x}),
            json!({"kty": "EC", "crv": "P-384", "x": x, "y": y}),
            json!({"kty": "RSA", "n": rfc7638::SECTION_3_1_MODULUS, "e": "AQ"}),
            json!({"kty": "RSA", "n": rfc7638::SECTION_3_1_MODULUS, "e": "AQAB", "alg": "ES256"}),
            json!({"kty": "new"}),
            json!({}),
            json!(1),
            json!(null),
        ];
        for key in unusable {
            let key = key.to_string().into_bytes();
            let ring = KeyRing::from_jwks_with(&set_of(&[key.clone(), good.clone()]), provider);
            let set: Value = serde_json::from_str(&ring.unwrap().to_jwks(Timestamp::MIN)).unwrap();
            assert_eq!(set["keys"].as_array().unwrap().len(), 1, "{key:?}");
            assert_eq!(set["keys"][0]["kid"], "good");
            assert_invalid_key(KeyRing::from_jwks_with(&set_of(&[key]), provider));
        }
    }
}

#[test]
fn what_is_no_jwk_set_is_rejected() {
    for provider in providers() {
        let key = String::from_utf8(changed(ED25519_JWK, json!({"d": null}))).unwrap();
        for set in [
            String::new(),
            "{}".into(),
            "[]".into(),
            "null".into(),
            r#"{"keys":[]}"#.into(),
            r#"{"keys":{}}"#.into(),
            format!("[{key}]"),
            key.clone(),
            format!(r#"{{"keys":[{key}],"keys":[{key}]}}"#),
            format!(r#"{{"keys":[{key}]}} x"#),
        ] {
            assert_invalid_key(KeyRing::from_jwks_with(set.as_bytes(), provider));
        }
    }
}

#[tokio::test]
async fn a_retired_key_verifies_and_is_published_until_its_time_and_not_at_it() {
    let old = SigningKey::generate(Algorithm::EdDSA).unwrap();
    let new = SigningKey::generate(Algorithm::EdDSA).unwrap();
    let (fixture, token) = token_by(KeyRing::new(old.clone())).await;
    let until = Timestamp::from_secs(START + 10);
    let just_before = Timestamp::from_micros(until.as_micros() - 1);
    let ring = KeyRing::new(new);
    ring.add_retired(old.verifying_key(), until).unwrap();
    let validator = validator(ring.clone(), &fixture.clock);

    fixture.clock.set(just_before);
    assert!(validator.validate(&token).is_ok());
    assert!(ring.to_jwks(just_before).contains(old.kid()));
    fixture.clock.set(until);
    assert_eq!(validator.validate(&token).unwrap_err(), TokenFault::UnknownKey);
    assert!(!ring.to_jwks(until).contains(old.kid()));
}

#[tokio::test]
async fn a_next_key_is_published_and_verifies_and_does_not_sign() {
    let active = SigningKey::generate(Algorithm::EdDSA).unwrap();
    let next = SigningKey::generate(Algorithm::ES256).unwrap();
    let ring = KeyRing::new(active.clone());
    ring.announce(&next).unwrap();
    assert_eq!(ring.active().unwrap().kid(), active.kid());
    assert!(ring.to_jwks(Timestamp::MIN).contains(next.kid()));
    let (fixture, token) = token_by(KeyRing::new(next)).await;
    assert!(validator(ring, &fixture.clock).validate(&token).is_ok());
}

// Debug

#[test]
fn debug_of_keys_shows_no_key_material() {
    for provider in providers() {
        for algorithm in ALGORITHMS {
            let private = private_key(algorithm);
            let signing = SigningKey::new(&private, provider).unwrap();
            let material = provider.verification_key(&private).unwrap();
            let ring = KeyRing::new(signing.clone());
            let validator = validator(ring.clone(), &TestClock::new());
            assert_eq!(format!("{private:?}"), format!("PrivateKey({algorithm}, [redacted])"));
            let kid = signing.kid();
            assert_eq!(format!("{signing:?}"), format!("SigningKey({algorithm}, {kid})"));
            let secret = secret_of(&private);
            for shown in [
                format!("{private:#?}"),
                format!("{signing:#?}"),
                format!("{material:?} {material:#?}"),
                format!("{:?}", signing.verifying_key()),
                format!("{ring:?} {ring:#?}"),
                format!("{validator:?} {validator:#?}"),
            ] {
                let shown = shown.to_lowercase();
                for form in forms(&secret) {
                    assert!(!shown.contains(&form.to_lowercase()), "{shown}");
                }
            }
        }
    }
}

fn secret_of(key: &PrivateKey) -> Vec<u8> {
    match key {
        PrivateKey::Ed25519(seed) => seed.to_vec(),
        PrivateKey::P256(scalar) => scalar.to_vec(),
        PrivateKey::Rsa(der) => der.to_vec(),
        PrivateKey::Hmac(secret) => secret.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// The first bytes, as `Debug` of arrays, hexadecimal and base64 would write them.
fn forms(secret: &[u8]) -> [String; 3] {
    let start = &secret[..6];
    let numbers: Vec<_> = start.iter().map(ToString::to_string).collect();
    let hexadecimal = start.iter().map(|byte| format!("{byte:02x}")).collect();
    [numbers.join(", "), hexadecimal, base64url_encode(start)]
}

// Signatures of wrong forms

#[test]
fn a_signature_of_another_length_or_for_another_message_or_key_is_rejected() {
    for algorithm in ALGORITHMS {
        for provider in providers() {
            let key = private_key(algorithm);
            let verifier = provider.verifier(&provider.verification_key(&key).unwrap()).unwrap();
            let good = provider.signer(&key).unwrap().sign(b"message").unwrap();
            assert!(verifier.verify(b"message", &good), "{algorithm} {provider:?}");
            assert!(!verifier.verify(b"another message", &good));
            assert!(!verifier.verify(b"", &good));
            let longer = [&good[..], &[0]].concat();
            let shifted = [&[0], &good[..]].concat();
            let twice = [&good[..], &good[..]].concat();
            let (zeros, ones) = (vec![0; good.len()], vec![0xff; good.len()]);
            let shorter = good[..good.len() - 1].to_vec();
            for bad in [vec![], vec![0], shorter, longer, shifted, twice, zeros, ones] {
                assert!(!verifier.verify(b"message", &bad), "{algorithm} {provider:?} {bad:?}");
            }
            for bit in [0, 7, good.len() * 4, good.len() * 8 - 1] {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(!verifier.verify(b"message", &bad), "{algorithm} {provider:?} {bit}");
            }
        }
    }
}

#[test]
fn an_rsa_signature_that_begins_with_zero_is_as_long_as_the_modulus_still() {
    // Found by trying numbers: one message in 256 has such a signature.
    const MESSAGE: &[u8] = b"message 558";
    let key = private_key(Algorithm::RS256);
    for provider in providers() {
        let signature = provider.signer(&key).unwrap().sign(MESSAGE).unwrap();
        assert_eq!((signature.len(), signature[0]), (256, 0));
        let verifier = provider.verifier(&provider.verification_key(&key).unwrap()).unwrap();
        assert!(verifier.verify(MESSAGE, &signature));
        assert!(!verifier.verify(MESSAGE, &signature[1..]), "{provider:?}");
        assert!(!verifier.verify(MESSAGE, &[&[0], &signature[..]].concat()), "{provider:?}");
    }
}

#[test]
fn an_rsa_signature_not_below_the_modulus_is_rejected() {
    const MESSAGE: &[u8] = b"message 558";
    let key = private_key(Algorithm::RS256);
    for provider in providers() {
        let public = provider.verification_key(&key).unwrap();
        let VerificationKey::Rsa { modulus, .. } = &public else { panic!("{public:?}") };
        let verifier = provider.verifier(&public).unwrap();
        let signature = provider.signer(&key).unwrap().sign(MESSAGE).unwrap();
        // It begins with zero, so the sum is no longer than the modulus.
        let sum = sum(&signature, modulus);
        assert_eq!(sum.len(), 256);
        for bad in [&sum, modulus] {
            assert!(!verifier.verify(MESSAGE, bad), "{provider:?}");
        }
    }
}

/// Of two big-endian numbers of one length.
fn sum(left: &[u8], right: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let mut sum: Vec<u8> = left
        .iter()
        .zip(right)
        .rev()
        .map(|(left, right)| {
            let digit = u16::from(*left) + u16::from(*right) + carry;
            carry = digit >> 8;
            digit as u8
        })
        .collect();
    if carry > 0 {
        sum.push(1);
    }
    sum.reverse();
    sum
}

#[cfg(all(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod both_providers {
    use countersign::Algorithm;
    use countersign::jose::{AwsLcRs, CryptoProvider, RustCrypto, SigningKey};

    use crate::support::jose::{ALGORITHMS, private_key};

    const PAIRS: [(&dyn CryptoProvider, &dyn CryptoProvider); 2] =
        [(&AwsLcRs, &RustCrypto), (&RustCrypto, &AwsLcRs)];

    #[test]
    fn what_one_signs_the_other_verifies() {
        for algorithm in ALGORITHMS {
            for (signing, verifying) in PAIRS {
                let key = private_key(algorithm);
                let signer = signing.signer(&key).unwrap();
                let public = verifying.verification_key(&key).unwrap();
                let verifier = verifying.verifier(&public).unwrap();
                for len in [0, 1, 64, 1_000, 8_192] {
                    let message = vec![0x61; len];
                    let signature = signer.sign(&message).unwrap();
                    assert!(verifier.verify(&message, &signature), "{algorithm} {verifying:?}");
                }
            }
        }
    }

    #[test]
    fn what_one_generates_the_other_signs_with() {
        for algorithm in ALGORITHMS {
            for (generating, signing) in PAIRS {
                let key = generating.generate(algorithm).unwrap();
                assert_eq!(key.algorithm(), algorithm);
                let signature = signing.signer(&key).unwrap().sign(b"message").unwrap();
                let public = generating.verification_key(&key).unwrap();
                let verifier = generating.verifier(&public).unwrap();
                assert!(verifier.verify(b"message", &signature), "{algorithm} {signing:?}");
            }
        }
    }

    #[test]
    fn both_derive_the_same_public_key_and_the_same_kid() {
        for algorithm in ALGORITHMS {
            let key = private_key(algorithm);
            let [left, right] = [&AwsLcRs as &dyn CryptoProvider, &RustCrypto]
                .map(|provider| SigningKey::new(&key, provider).unwrap());
            assert_eq!(left.kid(), right.kid());
            assert_eq!(left.verifying_key().to_jwk(), right.verifying_key().to_jwk());
            let public = AwsLcRs.verification_key(&key).unwrap();
            assert!(public == RustCrypto.verification_key(&key).unwrap(), "{algorithm}");
        }
    }

    #[test]
    fn where_a_signature_is_determined_by_its_message_both_make_the_same() {
        for algorithm in [Algorithm::EdDSA, Algorithm::RS256, Algorithm::HS256] {
            let key = private_key(algorithm);
            let [left, right] = [&AwsLcRs as &dyn CryptoProvider, &RustCrypto]
                .map(|provider| provider.signer(&key).unwrap().sign(b"message").unwrap());
            assert_eq!(left, right, "{algorithm}");
        }
    }
}

// Keys that are rejected, made for these tests

const ED25519_ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhn33yCq7cU4wICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEGGmEcD8ZajeKmJ/W5nmv4cEQAQp
snhKvNK2IIQOCvw7zJZZWaGeEZ75lEn0zbT5DD1gYTzIoh0H0NT4cRLHBccYPSQk
ywxcorr9N4Q9HrVCfPo=
-----END ENCRYPTED PRIVATE KEY-----
";
const X25519_PKCS8: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VuBCIEIOg3dOGGRIHDUfAOmMVRNus9eRjy7LxtQDceu7s7ycx6
-----END PRIVATE KEY-----
";
const X25519_SPKI: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VuAyEAJ9+YAI2pOTj0Jc+CEG1T6FwJtEQqVcHH3Ki8Y0rPfS0=
-----END PUBLIC KEY-----
";
const P384_PKCS8: &str = "-----BEGIN PRIVATE KEY-----
MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDCOSv3PpyDfNRRc80My
9OBD/MaRAN2bH6p48fzCa3CCGV92bwWqlV3IpCrm5523ks2hZANiAARDAKIjOcyg
pGup3eF0Cf+riAtesXFOiwDxzLX525ITh/rHBYvWtAawb28E3tJnS14dhw8nPeTd
i4+l9G5Ib4t0H4mBcAtZYgQfyYi7HrO1O2IWT8ICPE8qRq4CufMI+Eo=
-----END PRIVATE KEY-----
";
const P384_SPKI: &str = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEQwCiIznMoKRrqd3hdAn/q4gLXrFxTosA
8cy1+duSE4f6xwWL1rQGsG9vBN7SZ0teHYcPJz3k3YuPpfRuSG+LdB+JgXALWWIE
H8mIux6ztTtiFk/CAjxPKkauArnzCPhK
-----END PUBLIC KEY-----
";
const RSA_1024_PKCS8: &str = "-----BEGIN PRIVATE KEY-----
MIICdwIBADANBgkqhkiG9w0BAQEFAASCAmEwggJdAgEAAoGBAMGGwLG4ej1iGCoV
+hDMpwmJJo1ilywBbxtRmNyqiJWI/GD7WNv8jo3Gy+UgkHRYh+x7kDpj+lhsG7eh
Ghq3NC+LBf8XgKLUppMG2fF5iMkRozqE4heNXsQV4elRK11k3KbFhKzLJkFj63CR
JyGFkT8C1WZ2I6oJYWHVQxZQrqbzAgMBAAECgYEAg1fwae3ZUNXFrrKRsFslNuyV
dLmn/d7PSIw9oe4/mrWJDE0qRsuG+KQmd9B9GemH/rDx9x8ppl9hBGTbcaxLRpZA
HU+/WU0yOS76EP7pZODQKOAM4bYOoUHqeUn6F68QjaJE2v8YoXqI/T7LXkEtrovW
0fE5wivmsQZhwjCWAhkCQQDu+6jfJNtvzmhH9LfGMy7QaD1J5WT7qTA3y4uvNuon
SVjC+Hk33ERVXq+MyP7B3x07TlN5ygycs2qxJdIDo2gNAkEAz056nm9IuSMFagjV
wYZ32lPByrobhAm3P9XCQP6/rcK/zyjWKF7rBJ/l6r8QdufuMIvtZWnDPYOJPShp
dl+K/wJBAJNTza2S+TyaEKubb9feIdQVDwOJSZHjoXgkIX7o6b1CeFfp+kC3p+DB
OJQgLP2z4D95b/i62L+Z1AJVgH0BtdkCQCib8P00Q4SwzZC15lmgo73LBn1V86nr
1U/V6dWdkaLSMYy9LSZ/YX5obDuN7gW87TXpUzm4fByCtdGbJv2fPbUCQDOfybUU
oyj13RjQIN/UOx6GwEbIxxyu51zO6UIupu408XWipY98RGVztGPTgRsR1yPxaPIf
qbteLi4E/XRTpzg=
-----END PRIVATE KEY-----
";
const RSA_1024_SPKI: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDBhsCxuHo9YhgqFfoQzKcJiSaN
YpcsAW8bUZjcqoiViPxg+1jb/I6NxsvlIJB0WIfse5A6Y/pYbBu3oRoatzQviwX/
F4Ci1KaTBtnxeYjJEaM6hOIXjV7EFeHpUStdZNymxYSsyyZBY+twkSchhZE/AtVm
diOqCWFh1UMWUK6m8wIDAQAB
-----END PUBLIC KEY-----
";
const RSA_2047_PKCS8: &str = "-----BEGIN PRIVATE KEY-----
MIIEuwIBADANBgkqhkiG9w0BAQEFAASCBKUwggShAgEAAoIBAGF0h/fOhluQIVvR
s2Vkxs9VpM8krWZxbCcD0FXHAix0JPuedyJeM/t1jOWKLCT0u7nMpgFVbpcijdUC
u+ncs6eqlVsLiQF5D3+Fna/3rnqrCFthZi2SpN1Gy5E60l0XbYtlZOJMm91fciDd
gM0eqovmUEztbepbAeM9U6AMKmBxvJJ2c2hOFfUwMeYG4W/B+7Y6/h1cgRSO9zQO
fMgOCUbnIzfhZCPx0KIrKzf6ZFLtuBUezRx3k2NhsEnd8CUc0nNiuQl67dlRlviG
cHU2YXmWXxOHhdiZxtubwKrTuD6PYtWwz7+rzMX+tAk7TyCb1o7bNLTwAU8gjEiH
9yPLi4cCAwEAAQKCAQA74q/qxy4o9diJ48Kpe9PvdGFiKNelK+2Zy+4px7C+QGC5
fhcXN2waCZIbO10FGJ6C/g7EowriNImTa6qtesGrNlexKtV14j5zzlen2juNhawM
+z0epA5LK0XMaKj8K3lVP2lO5mShFBW9vF95rG6AqXaOzxfL+0CdswHAR7mCqZaj
YL+e37pe/Pmi+hqGARHjJRuf3Z0H4dexKjmdV/X2py8zm4KkUD1oNqYSgQTUT8kZ
BjLYO9bXZZyMLnU+eg6CTIBSIbfnwGXx6Ztj/TDzSLrG3TbGe4bBf9Gu0kWAEcN4
KFvqBMul4fHFHGVBg98TA4/jvVaMb5HIy5FwB3iBAoGBANUW3RJi22AjqcNItTtE
5f5zQmP7MCgbd/B9n3j16t5z3/ipZNUEeGPFoGoqNT1R0h1B2zsCe7c7ZnU3zOOs
pa6dlLDdA8vAecpMWcuY8o2YZNL+u8bACWMMzmC79mgvlmNMRAUq4AJb6aBgia2/
sRwIKdeuKwFbhXFf7KxV6EKbAoGAdRSFhtv0iHb1PUlItvLYlS/oPB+SYXtIqaFe
Kh3mbSWiIfHJnULzxP0qJF1c2sp2Cj3b2rszMfo8MoQDAP87wu4lE+D8Gpy0uYlk
mcobNvDLi8dYUoyzSxyRPq7dYxAloCxJXvVqHVcuDGSPmAjhkjSy+OYjhfDsLZHd
vpONY4UCgYBBvaMIuB0MRRRr3jOjjHcUkISsCePqi8buGCOqEtyaMs+njMNCAPYP
efoqpsj0GRkk05uKUhLPDfFnOobouuwGujEUe6tfIguxAOs3KAG0844vlk1iXP7I
YzwMlhDIRd401mOp4Hdp4udqBj6Try86Ab6+/snfyleaCckfxgU4/wKBgG42+VPw
r4vfYBFncXo3tccLKDWhCu2VXtvAuqIvL4HEEZKeyEqwgkYIhKli8kxMlz4g6VxJ
KXJ8vDpZp3JC0wE3qdPC0dBDgKXAPuG/LktT9mkJKY3cQdQNenVlq6bbxm+4AQHR
SSmBrimgaMSYZ7B4x5ojG4G1QL/NNs92m3z5AoGBAJuJlW5eeh9/T+VFnciNv01B
x//RTcXxqpjYm3JE/O2z/YXoZ4xZl5nLk4YiWRVstM+GcL9r24SKs9VM3GCdx4tn
t25iXIYn6ChHZ1uC63+xGKjlBb2FUYmxAfwEorR/CXxQDXg6UI9DhmF8/i7iTlIr
KpUWbq++aEx3jdRBykpq
-----END PRIVATE KEY-----
";
const RSA_2047_SPKI: &str = "-----BEGIN PUBLIC KEY-----
MIIBITANBgkqhkiG9w0BAQEFAAOCAQ4AMIIBCQKCAQBhdIf3zoZbkCFb0bNlZMbP
VaTPJK1mcWwnA9BVxwIsdCT7nnciXjP7dYzliiwk9Lu5zKYBVW6XIo3VArvp3LOn
qpVbC4kBeQ9/hZ2v9656qwhbYWYtkqTdRsuROtJdF22LZWTiTJvdX3Ig3YDNHqqL
5lBM7W3qWwHjPVOgDCpgcbySdnNoThX1MDHmBuFvwfu2Ov4dXIEUjvc0DnzIDglG
5yM34WQj8dCiKys3+mRS7bgVHs0cd5NjYbBJ3fAlHNJzYrkJeu3ZUZb4hnB1NmF5
ll8Th4XYmcbbm8Cq07g+j2LVsM+/q8zF/rQJO08gm9aO2zS08AFPIIxIh/cjy4uH
AgMBAAE=
-----END PUBLIC KEY-----
";
