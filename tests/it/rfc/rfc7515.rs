//! JSON Web Signature (JWS).

use countersign::jose::{PrivateKey, VerificationKey, VerifyingKey};
use countersign::{Algorithm, TokenFault};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::keys::{
    RFC_7515_A2_JWK, RFC_7515_A3_SCALAR, RFC_7515_A3_X, RFC_7515_A3_Y, assert_invalid_key, bytes,
    private_key, providers, text,
};
use crate::rfc::validator;

pub const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

#[test]
fn appendix_a_1_hmac_sha_256() {
    const SIGNATURE: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let input = format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{PAYLOAD}");
    for provider in providers() {
        let key = private_key(Algorithm::HS256);
        let signature = provider.signer(&key).unwrap().sign(input.as_bytes()).unwrap();
        assert_eq!(text(&signature), SIGNATURE);
        let verifier = provider.verifier(&provider.verification_key(&key).unwrap()).unwrap();
        assert!(verifier.verify(input.as_bytes(), &signature));
        for bad in [&signature[..31], &signature[..16], &[], &[&signature[..], &[0]].concat()] {
            assert!(!verifier.verify(input.as_bytes(), bad), "{provider:?}");
        }
    }
}

#[test]
fn appendix_a_2_rsassa_pkcs1_v1_5_sha_256() {
    const SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let input = format!("eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}");
    let jwk: Value = serde_json::from_str(RFC_7515_A2_JWK).unwrap();
    let modulus = bytes(jwk["n"].as_str().unwrap());
    let public = VerificationKey::rsa(&modulus, &[1, 0, 1]).unwrap();
    for provider in providers() {
        let verifier = provider.verifier(&public).unwrap();
        assert!(verifier.verify(input.as_bytes(), &bytes(SIGNATURE)));
        assert!(!verifier.verify(b"another message", &bytes(SIGNATURE)));
    }
}

#[test]
fn appendix_a_3_ecdsa_p256_sha_256() {
    const SIGNATURE: &str =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let input = format!("eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}");
    let point = [vec![4], bytes(RFC_7515_A3_X), bytes(RFC_7515_A3_Y)].concat();
    let public = VerificationKey::p256(&point).unwrap();
    let scalar: [u8; 32] = bytes(RFC_7515_A3_SCALAR).try_into().unwrap();
    for provider in providers() {
        let verifier = provider.verifier(&public).unwrap();
        assert!(verifier.verify(input.as_bytes(), &bytes(SIGNATURE)));
        assert!(!verifier.verify(b"another message", &bytes(SIGNATURE)));
        let private = PrivateKey::P256(Zeroizing::new(scalar));
        assert_eq!(provider.verification_key(&private).unwrap(), public);
    }
}

#[test]
fn appendix_a_4_a_key_for_ecdsa_p521_is_none_of_ours() {
    let jwk = json!({
        "kty": "EC",
        "crv": "P-521",
        "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4XUQcWceqwQGk",
        "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
    });
    for provider in providers() {
        assert_invalid_key(VerifyingKey::from_jwk_with(jwk.to_string().as_bytes(), provider));
    }
}

#[test]
fn appendix_a_5_an_unsecured_jws_is_refused() {
    let token = format!("eyJhbGciOiJub25lIn0.{PAYLOAD}.");
    assert_eq!(validator().validate(&token).unwrap_err(), TokenFault::Malformed);
}

#[test]
fn appendix_a_6_and_a_7_the_json_serializations_are_refused() {
    let signature =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let signed = json!({
        "protected": "eyJhbGciOiJFUzI1NiJ9",
        "header": {"kid": "e9bc097a-ce51-4036-9562-d2ade882db0d"},
        "signature": signature,
    });
    let general = json!({"payload": PAYLOAD, "signatures": [signed]});
    let mut flattened = signed;
    flattened["payload"] = PAYLOAD.into();
    for token in [general.to_string(), flattened.to_string()] {
        assert_eq!(validator().validate(&token).unwrap_err(), TokenFault::Malformed);
    }
}

#[test]
fn appendix_c_base64url_without_padding() {
    assert_eq!(text([3, 236, 255, 224, 193]), "A-z_4ME");
    assert_eq!(bytes("A-z_4ME"), [3, 236, 255, 224, 193]);
}

#[test]
fn appendix_e_an_unknown_critical_extension_is_refused() {
    let header = text(
        r#"{"alg":"none","crit":["http://example.invalid/UNDEFINED"],"http://example.invalid/UNDEFINED":true}"#,
    );
    let token = format!("{header}.RkFJTA.");
    assert!(validator().validate(&token).is_err());
    let signed = format!("{header}.RkFJTA.c2lnbmF0dXJl");
    assert_eq!(validator().validate(&signed).unwrap_err(), TokenFault::UnsupportedHeader);
}
