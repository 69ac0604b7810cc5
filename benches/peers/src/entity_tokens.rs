//! A machine's token over HTTP: the route of this crate, which reads a form, looks the machine up,
//! compares its secret and signs, next to routes written by hand that sign the same claims and do
//! nothing else.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::{
    Actor, Algorithm, Entity, EntityId, Grant, RequestContext, SubjectType, TokenService,
};
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;

use crate::app::App;
use crate::over_http::{Cores, rates, ratio};
use crate::setup::{Claims, Setup, acl};
use crate::table::{Table, median};
use crate::{Effort, runtime};

const ID: &str = "aa-1";
const KID: &str = "a-key-of-thirty-two-bytes-as-hash";

pub fn compare(effort: Effort, cores: Cores) {
    let setup = Setup::signing_with(Algorithm::EdDSA);
    let secret = register(&setup.service);
    let claims = claims_of(&setup);
    let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
    let prepared = Prepared::new(key.as_ref());
    let encoding = EncodingKey::from_ed_der(key.as_ref());

    let prepared_claims = claims.clone();
    let apps = [
        ("countersign", App::new(setup.service.router())),
        (
            "by hand, a prepared key of aws-lc-rs",
            App::new(route(prepared_claims, move |claims| prepared.sign(claims))),
        ),
        (
            "by hand, `encode` of jsonwebtoken",
            App::new(route(claims, move |claims| {
                let mut header = Header::new(jsonwebtoken::Algorithm::EdDSA);
                header.typ = Some("at+jwt".to_owned());
                header.kid = Some(KID.to_owned());
                jsonwebtoken::encode(&header, claims, &encoding).expect("a token")
            })),
        ),
    ];
    let request = request(&secret);
    let asked = apps.iter().map(|(_, app)| (app.clone(), request.clone()));
    let rates = rates(asked.collect(), effort, cores);

    let mut table = Table::new(
        "A machine's token, EdDSA, over HTTP on one core",
        &["", "requests a second", "countersign to it"],
    );
    for ((name, _), rate) in apps.iter().zip(&rates) {
        let ratio = ratio(&rates[0], rate);
        table.row(&[
            (*name).to_owned(),
            format!("{:.0}", median(rate.clone())),
            format!("{ratio:.2}"),
        ]);
    }
    table.print();
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
    Router::new().route("/entity/token/generate", post(answer))
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
    fn new(pkcs8: &[u8]) -> Self {
        let key = Ed25519KeyPair::from_pkcs8(pkcs8).expect("a key");
        let header = serde_json::json!({"alg": "EdDSA", "kid": KID, "typ": "at+jwt"});
        Self { key: Arc::new(key), header: URL_SAFE_NO_PAD.encode(header.to_string()) }
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

/// The machine, and its secret.
fn register(service: &TokenService) -> String {
    runtime().block_on(async {
        let machine = Entity::machine(ID).expect("an id").acl(acl());
        service.register(machine).await.expect("a store in memory");
        let (id, context) =
            (EntityId::machine(ID).expect("an id"), RequestContext::without_address());
        let reset = service.reset_secret(Actor::Host, &id, None, &context).await;
        reset.expect("a secret").secret.expose().to_owned()
    })
}

fn request(secret: &str) -> Vec<u8> {
    // Of the base64url alphabet, which a form takes as it is.
    let form = format!("id={ID}&secret={secret}");
    format!(
        "POST /entity/token/generate HTTP/1.1\r\nhost: localhost\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    )
    .into_bytes()
}
