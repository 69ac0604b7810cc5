//! JWT Profile for OAuth 2.0 Access Tokens.

use countersign::Grant;
use serde_json::Value;

use crate::support::Fixture;
use crate::support::jose::base64url_decode;

#[tokio::test]
async fn section_2_a_token_of_ours_has_what_is_required() {
    let fixture = Fixture::new();
    let token = fixture.tokens.issue(Grant::user("jane@example.com")).await.unwrap().access_token;
    let segments: Vec<_> = token.expose().split('.').collect();
    let read = |segment| serde_json::from_slice::<Value>(&base64url_decode(segment)).unwrap();
    let (header, claims) = (read(segments[0]), read(segments[1]));
    // Section 2.1; its letters may be of either case.
    assert!(header["typ"].as_str().unwrap().eq_ignore_ascii_case("at+jwt"));
    assert_ne!(header["alg"], "none");
    // Section 2.2.
    for claim in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"] {
        assert!(!claims[claim].is_null(), "{claim}");
    }
}

#[cfg(feature = "remote-jwks")]
#[tokio::test]
async fn section_3_the_example_is_accepted_of_an_issuer_that_is_trusted() {
    use std::sync::Arc;

    use countersign::testing::{IssuerServer, TestClock};
    use countersign::{Algorithm, KeyRing, Timestamp, TrustedIssuer, Validator};
    use serde_json::json;

    use crate::support::{AUDIENCE, ISSUER};

    let server = IssuerServer::start().await;
    let issuer = "https://authorization-server.example.com/";
    let trusted = TrustedIssuer::new(issuer)
        .audience("https://rs.example.com/")
        .jwks_url(server.jwks_url())
        .dangerous_allow_http();
    let issued_at = Timestamp::from_secs(1_618_354_090);
    let validator = Validator::builder()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .keys(KeyRing::generate(Algorithm::EdDSA).unwrap())
        .clock(Arc::new(TestClock::at(issued_at)))
        .trusted_issuer(trusted)
        .build()
        .unwrap();
    let claims = json!({
        "iss": issuer,
        "sub": "5ba552d67",
        "aud": "https://rs.example.com/",
        "exp": 1_639_528_912_u64,
        "iat": 1_618_354_090_u64,
        "jti": "dbe39bf3a3ba4238a513f51d6e1691c4",
        "client_id": "s6BhdRkqt3",
        "scope": "openid profile reademail",
    });
    let mut token = server.issuer().token().header("typ", "at+JWT");
    for claim in ["subject_type", "acl", "nbf"] {
        token = token.without(claim);
    }
    for (name, value) in claims.as_object().unwrap() {
        token = token.claim(name, value);
    }
    let validated = validator.validate_fetching(&token.sign()).await.unwrap();
    assert_eq!(validated.principal().id(), "5ba552d67");
    assert_eq!(validated.issuer(), issuer);
    assert_eq!(validated.client_id(), "s6BhdRkqt3");
    assert_eq!(validated.token_id().as_str(), "dbe39bf3a3ba4238a513f51d6e1691c4");
    // What the scopes of another mean here is the host's to say.
    assert!(!validated.allows("openid", &[]));
}
