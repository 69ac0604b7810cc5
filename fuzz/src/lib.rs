//! A token service that is the same in every run, for what is made up to be tried on.

use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::clock::Clock;
use countersign::jose::{CryptoProvider as _, DefaultProvider, PrivateKey, Signer, SigningKey};
use countersign::policy::ThrottleLimit;
use countersign::{KeyRing, Policy, Timestamp, TokenService};
use http::{Request, Response};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

pub const ISSUER: &str = "https://auth.example.com";
pub const AUDIENCE: &str = "https://api.example.com";
/// 2026-01-01T00:00:00Z, always.
pub const NOW: u64 = 1_767_225_600;

#[derive(Debug)]
struct StandingClock;

impl Clock for StandingClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(NOW)
    }
}

fn private_key() -> PrivateKey {
    PrivateKey::from_hmac_secret(&[7; 32]).expect("long enough")
}

/// A service that remembers this many bytes of tokens, and throttles nobody.
pub fn service(token_cache_bytes: usize) -> TokenService {
    let policy = Policy::default().tokens(|tokens| tokens.cache_bytes(token_cache_bytes)).throttle(
        |throttle| {
            throttle
                .by_name(ThrottleLimit::unlimited())
                .by_address(ThrottleLimit::unlimited())
                .by_name_and_address(ThrottleLimit::unlimited())
        },
    );
    TokenService::builder()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .keys(KeyRing::new(SigningKey::new(&private_key(), &DefaultProvider).expect("a good key")))
        .clock(StandingClock)
        .policy(policy)
        .build()
        .expect("a good configuration")
}

/// The `kid` of what it signs with.
pub fn kid() -> String {
    SigningKey::new(&private_key(), &DefaultProvider).expect("a good key").kid().to_owned()
}

/// A token of this header and these claims, well signed whatever they are.
pub fn sign(header: &[u8], claims: &[u8]) -> String {
    static SIGNER: LazyLock<Box<dyn Signer>> =
        LazyLock::new(|| DefaultProvider.signer(&private_key()).expect("a good key"));
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let signature = SIGNER.sign(token.as_bytes()).expect("an HMAC");
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    token
}

/// The header of a good token.
pub fn header() -> String {
    format!(r#"{{"alg":"HS256","kid":"{}","typ":"at+jwt"}}"#, kid())
}

/// The claims of a good token, with these as their custom ones.
pub fn claims(custom: &str) -> String {
    format!(
        r#"{{"iss":"{ISSUER}","sub":"jane@example.com","subject_type":"user","aud":"{AUDIENCE}","iat":{NOW},"nbf":{NOW},"exp":{},"jti":"jti-1","client_id":"first-party","acl":[{{"scope":{{}},"permissions":["GetOrders"]}}],"customClaims":{custom}}}"#,
        NOW + 60
    )
}

pub fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
    });
    &RUNTIME
}

/// What an app answers.
pub fn answer(app: &Router, request: Request<Body>) -> Response<Body> {
    let Ok(response) = runtime().block_on(app.clone().oneshot(request));
    response
}
