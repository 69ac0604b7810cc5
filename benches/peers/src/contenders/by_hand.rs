//! Layers that somebody writes in an afternoon: one that does nothing but hand something on, and
//! ones that remember checked tokens. None of these knows of revocation or of keys that change.

use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::future::{Either, Ready, ready};
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use sha2::{Digest as _, Sha256};
use tower::{Layer, Service};

use crate::contender::{Contender, Credentials, Kind};
use crate::setup::{AUDIENCE, Claims, HMAC_SECRET, ISSUER, Setup};

pub fn contenders(setup: &Setup) -> Vec<Contender> {
    let contender =
        |name, app| Contender::new(name, Kind::ByHand, app, Credentials::Token(&setup.token));
    let checked = Arc::new(check(setup, &setup.token).expect("a good token"));
    vec![
        Contender::new(
            "inserts an Arc",
            Kind::Unchecked,
            app(Always(checked)),
            Credentials::Token(&setup.token),
        ),
        contender("moka by the token", app(Remembering::new(setup, MokaByToken(moka_cache())))),
        contender(
            "quick_cache by the token",
            app(Remembering::new(setup, QuickByToken(quick_cache()))),
        ),
        contender("moka by its SHA-256", app(Remembering::new(setup, MokaByDigest(moka_cache())))),
    ]
}

const CAPACITY: u64 = 100_000;

fn moka_cache<K: std::hash::Hash + Eq + Send + Sync + 'static>() -> moka::sync::Cache<K, Arc<Claims>>
{
    moka::sync::Cache::new(CAPACITY)
}

fn quick_cache() -> Arc<quick_cache::sync::Cache<String, Arc<Claims>>> {
    Arc::new(quick_cache::sync::Cache::new(CAPACITY as usize))
}

fn app(claims: impl ClaimsOf) -> Router {
    Router::new().route("/", get(hello)).layer(InsertLayer(claims))
}

async fn hello(Extension(claims): Extension<Arc<Claims>>) -> &'static str {
    black_box(&claims.sub);
    "hello"
}

trait ClaimsOf: Clone + Send + Sync + 'static {
    fn claims_of(&self, request: &Request<Body>) -> Option<Arc<Claims>>;
}

#[derive(Clone)]
struct Always(Arc<Claims>);

impl ClaimsOf for Always {
    fn claims_of(&self, _: &Request<Body>) -> Option<Arc<Claims>> {
        Some(Arc::clone(&self.0))
    }
}

trait Memory: Clone + Send + Sync + 'static {
    fn get(&self, token: &str) -> Option<Arc<Claims>>;
    fn insert(&self, token: &str, claims: Arc<Claims>);
}

#[derive(Clone)]
struct MokaByToken(moka::sync::Cache<String, Arc<Claims>>);

impl Memory for MokaByToken {
    fn get(&self, token: &str) -> Option<Arc<Claims>> {
        self.0.get(token)
    }

    fn insert(&self, token: &str, claims: Arc<Claims>) {
        self.0.insert(token.to_owned(), claims);
    }
}

#[derive(Clone)]
struct MokaByDigest(moka::sync::Cache<[u8; 32], Arc<Claims>>);

impl Memory for MokaByDigest {
    fn get(&self, token: &str) -> Option<Arc<Claims>> {
        self.0.get(&<[u8; 32]>::from(Sha256::digest(token)))
    }

    fn insert(&self, token: &str, claims: Arc<Claims>) {
        self.0.insert(Sha256::digest(token).into(), claims);
    }
}

#[derive(Clone)]
struct QuickByToken(Arc<quick_cache::sync::Cache<String, Arc<Claims>>>);

impl Memory for QuickByToken {
    fn get(&self, token: &str) -> Option<Arc<Claims>> {
        self.0.get(token)
    }

    fn insert(&self, token: &str, claims: Arc<Claims>) {
        self.0.insert(token.to_owned(), claims);
    }
}

#[derive(Clone)]
struct Remembering<M> {
    memory: M,
    checks: Arc<(DecodingKey, Validation)>,
}

impl<M> Remembering<M> {
    fn new(setup: &Setup, memory: M) -> Self {
        Self { memory, checks: Arc::new(checks(setup)) }
    }
}

impl<M: Memory> ClaimsOf for Remembering<M> {
    fn claims_of(&self, request: &Request<Body>) -> Option<Arc<Claims>> {
        let token = request.headers().get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
        if let Some(known) = self.memory.get(token) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
            return (known.exp > now).then_some(known);
        }
        let (key, validation) = &*self.checks;
        let claims = jsonwebtoken::decode::<Claims>(token, key, validation).ok()?.claims;
        let claims = Arc::new(claims);
        self.memory.insert(token, Arc::clone(&claims));
        Some(claims)
    }
}

fn checks(setup: &Setup) -> (DecodingKey, Validation) {
    let algorithm = setup.algorithm.as_str().parse().expect("an algorithm that all know");
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    let set: JwkSet = serde_json::from_str(&setup.jwks()).expect("a JWK Set");
    let key = match set.keys.first() {
        Some(key) => DecodingKey::from_jwk(key).expect("a public key"),
        None => DecodingKey::from_secret(HMAC_SECRET.as_bytes()),
    };
    (key, validation)
}

fn check(setup: &Setup, token: &str) -> jsonwebtoken::errors::Result<Claims> {
    let (key, validation) = checks(setup);
    Ok(jsonwebtoken::decode(token, &key, &validation)?.claims)
}

#[derive(Clone)]
struct InsertLayer<C>(C);

impl<S, C: Clone> Layer<S> for InsertLayer<C> {
    type Service = Insert<S, C>;

    fn layer(&self, inner: S) -> Insert<S, C> {
        Insert { inner, claims: self.0.clone() }
    }
}

#[derive(Clone)]
struct Insert<S, C> {
    inner: S,
    claims: C,
}

impl<S, C> Service<Request<Body>> for Insert<S, C>
where
    S: Service<Request<Body>, Response = Response>,
    C: ClaimsOf,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.claims.claims_of(&request) {
            Some(claims) => {
                request.extensions_mut().insert(claims);
                Either::Left(self.inner.call(request))
            }
            None => Either::Right(ready(Ok(StatusCode::UNAUTHORIZED.into_response()))),
        }
    }
}
