//! The token service whose tokens all contenders check.

use std::collections::BTreeMap;

use countersign::clock::{Clock, SystemClock};
use countersign::jose::{CryptoProvider as _, DefaultProvider, PrivateKey, SigningKey};
use countersign::{Acl, AclEntry, Algorithm, Grant, KeyRing, Policy, Timestamp, TokenService};
use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};

pub const ISSUER: &str = "https://auth.example.com";
pub const AUDIENCE: &str = "https://api.example.com";
/// Text, for a peer takes nothing else for a shared secret.
pub const HMAC_SECRET: &str = "a shared secret of 32 bytes, or of a few more";

pub struct Setup {
    pub algorithm: Algorithm,
    /// Remembers the tokens that it has checked.
    pub service: TokenService,
    /// Does not.
    pub forgetful: TokenService,
    /// Of eight permissions, as a login hands it out.
    pub token: String,
    /// Tokens that the same key has signed and nobody may accept, each with its fault.
    pub bad_tokens: Vec<(&'static str, String)>,
}

impl Setup {
    pub fn signing_with(algorithm: Algorithm) -> Self {
        let key = match algorithm {
            Algorithm::HS256 => PrivateKey::from_hmac_secret(HMAC_SECRET.as_bytes()),
            _ => DefaultProvider.generate(algorithm),
        };
        let key = key.expect("a key");
        let build = |policy| service(&key, ISSUER, AUDIENCE, SystemClock, policy);
        let service = build(Policy::default());
        let forgetful = build(Policy::default().tokens(|tokens| tokens.cache_bytes(0)));
        let token = token(&service);
        Self { algorithm, service, forgetful, token, bad_tokens: bad_tokens(&key) }
    }

    pub fn jwks(&self) -> String {
        self.service.jwks()
    }
}

fn service(
    key: &PrivateKey,
    issuer: &str,
    audience: &str,
    clock: impl Clock,
    policy: Policy,
) -> TokenService {
    TokenService::builder()
        .issuer(issuer)
        .audience(audience)
        .keys(KeyRing::new(SigningKey::new(key, &DefaultProvider).expect("a good key")))
        .policy(policy)
        .clock(clock)
        .build()
        .expect("a good configuration")
}

fn bad_tokens(key: &PrivateKey) -> Vec<(&'static str, String)> {
    let other = "https://other.example.com";
    let policy = Policy::default;
    vec![
        ("another issuer", token(&service(key, other, AUDIENCE, SystemClock, policy()))),
        ("another audience", token(&service(key, ISSUER, other, SystemClock, policy()))),
        ("has expired", token(&service(key, ISSUER, AUDIENCE, LongAgo, policy()))),
    ]
}

/// The beginning of 2020.
#[derive(Debug)]
struct LongAgo;

impl Clock for LongAgo {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1_577_836_800)
    }
}

pub fn permissions() -> impl Iterator<Item = String> {
    (0..8).map(|n| format!("Operation{n}"))
}

pub fn acl() -> Acl {
    let entry = AclEntry::new([("organizationId", ["org_1", "org_2"])], permissions());
    Acl::new([entry.expect("a good entry")])
}

fn token(service: &TokenService) -> String {
    let custom = serde_json::json!({"tier": "gold", "locale": "en-GB"});
    // A customer's, of whom no store is asked.
    let grant = Grant::customer("jane.doe@example.com").acl(acl());
    let grant = grant.custom_claims(custom).expect("an object");
    let issued = service.issue(grant).now_or_never().expect("at once").expect("a token");
    issued.access_token.expose().to_owned()
}

/// What the peers, which leave it to their users, read of the claims: all that our own type has.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Claims {
    pub iss: String,
    pub sub: String,
    pub aud: OneOrMany,
    pub exp: u64,
    pub iat: u64,
    pub jti: String,
    pub subject_type: Option<String>,
    #[serde(default)]
    pub acl: Vec<Entry>,
    #[serde(default, rename = "customClaims")]
    pub custom_claims: serde_json::Map<String, serde_json::Value>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Entry {
    #[serde(default)]
    pub scope: BTreeMap<String, Vec<String>>,
    pub permissions: Vec<String>,
}
