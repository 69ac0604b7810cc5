//! JSON Web Signature (JWS).

use countersign::faults::TokenFault;
use countersign::jose::{PrivateKey, VerificationKey, VerifyingKey};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::rfc::validator;
use crate::support::jose::{assert_invalid_key, base64url_decode, base64url_encode, providers};

pub const APPENDIX_A_1_SECRET: &str =
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
pub const APPENDIX_A_2_JWK: &str = r#"{"kty": "RSA",
"n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
"e": "AQAB",
"d": "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ",
"p": "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc",
"q": "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc",
"dp": "BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0",
"dq": "h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU",
"qi": "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U"}"#;
pub const APPENDIX_A_3_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
pub const APPENDIX_A_3_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
pub const APPENDIX_A_3_D: &str = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";
/// Of appendices A.1 to A.3.
pub const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

#[test]
fn appendix_a_1_hmac_sha_256() {
    const SIGNATURE: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let input = format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{PAYLOAD}");
    for provider in providers() {
        let key = PrivateKey::from_hmac_secret(&base64url_decode(APPENDIX_A_1_SECRET)).unwrap();
        let signature = provider.signer(&key).unwrap().sign(input.as_bytes()).unwrap();
        assert_eq!(base64url_encode(&signature), SIGNATURE);
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
    let jwk: Value = serde_json::from_str(APPENDIX_A_2_JWK).unwrap();
    let modulus = base64url_decode(jwk["n"].as_str().unwrap());
    let public = VerificationKey::rsa(&modulus, &[1, 0, 1]).unwrap();
    for provider in providers() {
        let verifier = provider.verifier(&public).unwrap();
        assert!(verifier.verify(input.as_bytes(), &base64url_decode(SIGNATURE)));
        assert!(!verifier.verify(b"another message", &base64url_decode(SIGNATURE)));
    }
}

#[test]
fn appendix_a_3_ecdsa_p256_sha_256() {
    const SIGNATURE: &str =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let input = format!("eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}");
    let point =
        [vec![4], base64url_decode(APPENDIX_A_3_X), base64url_decode(APPENDIX_A_3_Y)].concat();
    let public = VerificationKey::p256(&point).unwrap();
    let scalar: [u8; 32] = base64url_decode(APPENDIX_A_3_D).try_into().unwrap();
    for provider in providers() {
        let verifier = provider.verifier(&public).unwrap();
        assert!(verifier.verify(input.as_bytes(), &base64url_decode(SIGNATURE)));
        assert!(!verifier.verify(b"another message", &base64url_decode(SIGNATURE)));
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
fn appendix_a_5_an_unsecured_jws_is_rejected() {
    let token = format!("eyJhbGciOiJub25lIn0.{PAYLOAD}.");
    assert_eq!(validator().validate(&token).unwrap_err(), TokenFault::Malformed);
}

#[test]
fn appendix_a_6_and_a_7_the_json_serializations_are_rejected() {
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
    assert_eq!(base64url_encode([3, 236, 255, 224, 193]), "A-z_4ME");
    assert_eq!(base64url_decode("A-z_4ME"), [3, 236, 255, 224, 193]);
}

#[test]
fn appendix_e_an_unknown_critical_extension_is_rejected() {
    let header = base64url_encode(
        r#"{"alg":"none","crit":["http://example.invalid/UNDEFINED"],"http://example.invalid/UNDEFINED":true}"#,
    );
    let token = format!("{header}.RkFJTA.");
    assert!(validator().validate(&token).is_err());
    let signed = format!("{header}.RkFJTA.c2lnbmF0dXJl");
    assert_eq!(validator().validate(&signed).unwrap_err(), TokenFault::UnsupportedHeader);
}
