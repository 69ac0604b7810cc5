//! JSON Web Key (JWK).

use countersign::jose::{SigningKey, VerifyingKey};
use countersign::{Algorithm, KeyRing, Timestamp};
use serde_json::{Value, json};

use crate::rfc::rfc7638::SECTION_3_1_MODULUS;
use crate::support::jose::{assert_invalid_key, providers};

fn p256() -> Value {
    json!({
        "kty": "EC",
        "crv": "P-256",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        "use": "enc",
        "kid": "1",
    })
}

#[test]
fn appendix_a_1_of_two_public_keys_the_one_that_is_for_signatures_is_read() {
    let rsa = json!({
        "kty": "RSA", "n": SECTION_3_1_MODULUS, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
    });
    let set = json!({"keys": [p256(), rsa]}).to_string();
    for provider in providers() {
        let ring = KeyRing::from_jwks_with(set.as_bytes(), provider).unwrap();
        let published: Value = serde_json::from_str(&ring.to_jwks(Timestamp::MIN)).unwrap();
        let kids: Vec<_> =
            published["keys"].as_array().unwrap().iter().map(|key| &key["kid"]).collect();
        assert_eq!(kids, ["2011-04-29"]);
    }
}

#[test]
fn appendix_a_2_a_private_key_for_encryption_signs_nothing() {
    let mut private = p256();
    private["d"] = "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE".into();
    for provider in providers() {
        let key = private.to_string();
        assert_invalid_key(SigningKey::from_jwk_with(key.as_bytes(), provider));
        assert_invalid_key(VerifyingKey::from_jwk_with(key.as_bytes(), provider));
        // Where it does not say what it is for, it is a key.
        private.as_object_mut().unwrap().remove("use");
        let key = SigningKey::from_jwk_with(private.to_string().as_bytes(), provider).unwrap();
        assert_eq!(key.verifying_key().algorithm(), Algorithm::ES256);
        private["use"] = "enc".into();
    }
}
