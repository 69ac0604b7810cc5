//! `oauth-as`, with its store in memory, its limiter and its adapter for axum: the client's id and
//! secret in a form, for a token with `scope` in place of an ACL.
//!
//! It compares the SHA-256 of the secret, counts each attempt of a client, and keeps a record of each
//! token, by which it introspects and revokes it, until the host sweeps what has expired. Its tokens
//! have no custom claims, and without a sink of the host's it audits nothing.
//!
//! Its adapter runs each request in a task of its own. Where one core serves connections that are
//! all busy, that alone made other routes here a tenth to a fifth faster.

use std::sync::Arc;

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use axum::Router;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth_as::http::ServiceBuilder;
use oauth_as::rate_limit::{FixedWindowRateLimiter, RateLimitConfig};
use oauth_as::server::{AuthorizationServer, ServerConfig};
use oauth_as::store::MemoryStorage;
use oauth_as::{
    AccessTokenFormat, Client, ClientAuth, ClientId, Ed25519Signer, GrantType, Jwk, JwsAlg,
    JwsSignature, JwsSigner, JwtConfig, OkpCurve, ScopeSet, SecretHash, SignerError,
};

use crate::entity_tokens::issuer::{Issuer, Posted};
use crate::entity_tokens::{ID, KID};
use crate::runtime;
use crate::setup::{AUDIENCE, ISSUER, permissions};

const SECRET: &str = "forty-three-characters-of-256-random-bits-x";

/// With its own backend, and with the one that all others have.
pub fn issuers(key: &Arc<Ed25519KeyPair>) -> [Issuer; 2] {
    let seed = key.seed().and_then(|seed| seed.as_be_bytes()).expect("a seed");
    let own = Ed25519Signer::from_seed_bytes(KID, seed.as_ref()).expect("32 bytes");
    [
        issuer("oauth-as, its own Ed25519", key, own),
        issuer("oauth-as, a signer of aws-lc-rs", key, Signer(Arc::clone(key))),
    ]
}

fn issuer(name: &'static str, key: &Ed25519KeyPair, signer: impl JwsSigner + 'static) -> Issuer {
    let form = |secret| {
        let path = "/token";
        let form = format!("grant_type=client_credentials&client_id={ID}&client_secret={secret}");
        Posted { path, form }
    };
    Issuer {
        name,
        app: app(signer),
        good: form(SECRET),
        bad: Some(form("another")),
        member: "access_token",
        public_key: URL_SAFE_NO_PAD.encode(key.public_key()),
    }
}

fn app(signer: impl JwsSigner + 'static) -> Router {
    let mut config = ServerConfig::new(ISSUER, format!("{ISSUER}/device"));
    config.access_token_format = AccessTokenFormat::Jwt(Box::new(JwtConfig::new(signer, AUDIENCE)));
    let limits = RateLimitConfig::default().with_client_authentication_capacity_for(ID, u64::MAX);
    let server = AuthorizationServer::new(config, MemoryStorage::new())
        .with_rate_limiter(Box::new(FixedWindowRateLimiter::with_config(limits)));
    let scopes = ScopeSet::from_tokens(permissions()).expect("scopes");
    let client = Client {
        client_id: ClientId::new(ID),
        auth: ClientAuth::ConfidentialSecretHash { hash: SecretHash::sha256(SECRET) },
        grant_types: vec![GrantType::ClientCredentials],
        redirect_uris: Vec::new(),
        allowed_scopes: scopes.clone(),
        default_scopes: scopes,
        name: None,
        registration: None,
    };
    runtime().block_on(server.register_client(client)).expect("a store in memory");
    ServiceBuilder::new(Arc::new(server)).build().expect("a good configuration").into()
}

struct Signer(Arc<Ed25519KeyPair>);

impl JwsSigner for Signer {
    fn alg(&self) -> JwsAlg {
        JwsAlg::EdDsa
    }

    async fn sign(&self, input: &[u8]) -> Result<JwsSignature, SignerError> {
        let signature = self.0.sign(input);
        Ok(JwsSignature::EdDsa(signature.as_ref().try_into().expect("64 bytes")))
    }

    fn public_jwk(&self) -> Jwk {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key());
        Jwk::Okp { crv: OkpCurve::Ed25519, x, kid: Some(KID.to_owned()) }
    }
}
