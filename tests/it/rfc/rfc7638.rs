//! JSON Web Key (JWK) Thumbprint.

use countersign::jose::{VerificationKey, VerifyingKey};
use serde_json::json;

use crate::support::jose::{base64url_decode, providers};

pub const SECTION_3_1_MODULUS: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

#[test]
fn section_3_1_a_thumbprint() {
    for provider in providers() {
        let jwk = json!({
            "kty": "RSA",
            "n": SECTION_3_1_MODULUS,
            "e": "AQAB",
            "alg": "RS256",
            "kid": "2011-04-29",
        });
        let named = VerifyingKey::from_jwk_with(jwk.to_string().as_bytes(), provider).unwrap();
        assert_eq!(named.kid(), "2011-04-29");
        let material =
            VerificationKey::rsa(&base64url_decode(SECTION_3_1_MODULUS), &[1, 0, 1]).unwrap();
        let key = VerifyingKey::new(material, None, provider).unwrap();
        assert_eq!(key.kid(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        let padded = [vec![0; 3], base64url_decode(SECTION_3_1_MODULUS)].concat();
        let material = VerificationKey::rsa(&padded, &[0, 1, 0, 1]).unwrap();
        assert_eq!(VerifyingKey::new(material, None, provider).unwrap().kid(), key.kid());
    }
}
