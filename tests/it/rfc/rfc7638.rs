//! JSON Web Key (JWK) Thumbprint.

use countersign::jose::{VerificationKey, VerifyingKey};
use serde_json::json;

use crate::keys::{RFC_7638_MODULUS, bytes, providers};

#[test]
fn section_3_1_a_thumbprint() {
    for provider in providers() {
        let jwk = json!({
            "kty": "RSA", "n": RFC_7638_MODULUS, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        });
        let named = VerifyingKey::from_jwk_with(jwk.to_string().as_bytes(), provider).unwrap();
        assert_eq!(named.kid(), "2011-04-29");
        let material = VerificationKey::rsa(&bytes(RFC_7638_MODULUS), &[1, 0, 1]).unwrap();
        let key = VerifyingKey::new(material, None, provider).unwrap();
        assert_eq!(key.kid(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        let padded = [vec![0; 3], bytes(RFC_7638_MODULUS)].concat();
        let material = VerificationKey::rsa(&padded, &[0, 1, 0, 1]).unwrap();
        assert_eq!(VerifyingKey::new(material, None, provider).unwrap().kid(), key.kid());
    }
}
