//! Routes that somebody writes in an hour: they sign, and look at nothing of the request.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::{Grant, SubjectType};
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;

use crate::entity_tokens::issuer::{Issuer, Posted};
use crate::entity_tokens::{ID, KID};
use crate::runtime;
use crate::setup::{Claims, Setup, acl};

const PATH: &str = "/token";

pub fn issuers(setup: &Setup, key: &Arc<Ed25519KeyPair>) -> [Issuer; 2] {
    let claims = claims_of(setup);
    let prepared = Prepared::new(key);
    let encoding = EncodingKey::from_ed_der(key.to_pkcs8().expect("a key").as_ref());
    let encode = move |claims: &Claims| {
        let mut header = Header::new(jsonwebtoken::Algorithm::EdDSA);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(KID.to_owned());
        jsonwebtoken::encode(&header, claims, &encoding).expect("a token")
    };
    let sign = move |claims: &Claims| prepared.sign(claims);
    [
        ("by hand, a prepared key of aws-lc-rs", route(claims.clone(), sign)),
        ("by hand, `encode` of jsonwebtoken", route(claims, encode)),
    ]
    .map(|(name, app)| Issuer {
        name,
        app,
        good: Posted { path: PATH, form: format!("id={ID}&secret=which-is-not-looked-at") },
        bad: None,
        member: "token",
        public_key: URL_SAFE_NO_PAD.encode(key.public_key()),
    })
}

fn route(
    claims: Claims,
    sign: impl Fn(&Claims) -> String + Clone + Send + Sync + 'static,
) -> Router {
    let answer = async move || {
        let mut claims = claims.clone();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("later than 1970").as_secs();
        (claims.iat, claims.exp) = (now, now + 3600);
        Json(Answer { token: sign(&claims), token_type: "Bearer", expires_in: 3600 })
    };
    Router::new().route(PATH, post(answer))
}

#[derive(Serialize)]
struct Answer {
    token: String,
    token_type: &'static str,
    expires_in: u64,
}

/// What is the same in all tokens is encoded once.
#[derive(Clone)]
struct Prepared {
    key: Arc<Ed25519KeyPair>,
    header: String,
}

impl Prepared {
    fn new(key: &Arc<Ed25519KeyPair>) -> Self {
        let header = serde_json::json!({"alg": "EdDSA", "kid": KID, "typ": "at+jwt"});
        Self { key: Arc::clone(key), header: URL_SAFE_NO_PAD.encode(header.to_string()) }
    }

    fn sign(&self, claims: &Claims) -> String {
        let claims = serde_json::to_vec(claims).expect("JSON");
        let mut token = self.header.clone();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.key.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }
}

/// Of a token that the service gives the machine.
fn claims_of(setup: &Setup) -> Claims {
    let grant = Grant::new(SubjectType::Machine, ID).acl(acl());
    let token = runtime().block_on(setup.service.issue(grant)).expect("a token").access_token;
    let payload = token.expose().split('.').nth(1).expect("three segments").to_owned();
    let payload = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice(&payload).expect("claims")
}
