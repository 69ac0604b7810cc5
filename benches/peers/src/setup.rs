//! The token service whose tokens all contenders check.

use std::collections::BTreeMap;

use countersign::jose::{CryptoProvider as _, DefaultProvider, PrivateKey, SigningKey};
use countersign::{Acl, AclEntry, Algorithm, Grant, KeyRing, Policy, TokenService};
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
}

impl Setup {
    pub fn signing_with(algorithm: Algorithm) -> Self {
        let key = match algorithm {
            Algorithm::HS256 => PrivateKey::from_hmac_secret(HMAC_SECRET.as_bytes()),
            _ => DefaultProvider.generate(algorithm),
        };
        let key = key.expect("a key");
        let service = service(&key, Policy::default());
        let forgetful = service_without_cache(&key);
        let token = token(&service);
        Self { algorithm, service, forgetful, token }
    }

    pub fn jwks(&self) -> String {
        self.service.jwks()
    }
}

fn service(key: &PrivateKey, policy: Policy) -> TokenService {
    TokenService::builder()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .keys(KeyRing::new(SigningKey::new(key, &DefaultProvider).expect("a good key")))
        .policy(policy)
        .build()
        .expect("a good configuration")
}

fn service_without_cache(key: &PrivateKey) -> TokenService {
    service(key, Policy::default().tokens(|tokens| tokens.cache_bytes(0)))
}

pub fn acl() -> Acl {
    let permissions = (0..8).map(|n| format!("Operation{n}"));
    let entry = AclEntry::new([("organizationId", ["org_1", "org_2"])], permissions);
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
#[serde(rename_all = "camelCase")]
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
    #[serde(default)]
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
