//! A token whose signature is good is accepted only if its header and its claims say what they have
//! to; of any bytes that are signed, none makes a panic. The header ends at the first line end.

#![no_main]

use std::sync::LazyLock;

use countersign::TokenService;
use countersign_fuzz::{AUDIENCE, ISSUER, NOW, kid, service, sign};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static SERVICE: LazyLock<TokenService> = LazyLock::new(|| service(0));
static KID: LazyLock<String> = LazyLock::new(kid);
/// By the policy that it is built with.
const LEEWAY: u64 = 60;

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (header, claims) = bytes.split_at(end);
    let header = String::from_utf8_lossy(header).replace("$KID", &KID);
    let claims = claims.get(1..).unwrap_or_default();
    let token = sign(header.as_bytes(), claims);
    let Ok(validated) = SERVICE.validator().validate(&token) else { return };

    let header: Value = serde_json::from_str(&header).unwrap();
    assert_eq!(header["alg"], "HS256");
    assert_eq!(header["kid"], KID.as_str());
    let typ = header["typ"].as_str().unwrap().to_ascii_lowercase();
    assert!(typ == "at+jwt" || typ == "application/at+jwt");
    for never in ["crit", "b64", "zip", "enc"] {
        assert!(header.get(never).is_none());
    }

    let claims: Value = serde_json::from_slice(claims).unwrap();
    assert_eq!(claims["iss"], ISSUER);
    let is_audience = |audience: &Value| *audience == AUDIENCE;
    let audiences = &claims["aud"];
    assert!(is_audience(audiences) || audiences.as_array().unwrap().iter().any(is_audience));
    assert!(claims["exp"].as_u64().unwrap() + LEEWAY > NOW);
    assert!(claims["iat"].as_u64().unwrap() <= NOW + LEEWAY);
    assert!(claims.get("nbf").is_none_or(|nbf| nbf.as_u64().unwrap() <= NOW + LEEWAY));
    assert_eq!(claims["sub"], validated.principal().id());
    for filled in ["sub", "jti", "client_id"] {
        assert!(!claims[filled].as_str().unwrap().is_empty());
    }
    assert_eq!(serde_json::to_value(validated.acl()).unwrap(), claims["acl"]);
});
