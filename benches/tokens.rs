//! What the crate adds to a bare signature: issuing, validating and exchanging, next to the raw
//! operations of the same backend on the same bytes.
//!
//! ```text
//! cargo bench -p countersign-benches --bench tokens
//! ```

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a benchmark that cannot be set up is not run"
)]

use std::convert::Infallible;
use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::jose::{CryptoProvider, DefaultProvider, SigningKey};
use countersign::{
    Acl, AclEntry, Actor, Algorithm, CustomerId, Entity, EntityId, ExchangeRequest, Grant, KeyRing,
    NewSession, Policy, RequestContext, TokenService,
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use serde_json::Value;
use tower::{Layer, Service, ServiceExt, service_fn};

const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256, Algorithm::HS256];

fn acl() -> Acl {
    let permissions: Vec<_> = (0..8).map(|n| format!("Operation{n}")).collect();
    Acl::new([AclEntry::new([("organizationId", ["org_1"])], permissions).unwrap()])
}

fn benches(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for algorithm in ALGORITHMS {
        let private = DefaultProvider.generate(algorithm).unwrap();
        let signer = DefaultProvider.signer(&private).unwrap();
        let public = DefaultProvider.verification_key(&private).unwrap();
        let verifier = DefaultProvider.verifier(&public).unwrap();
        let tokens = TokenService::builder()
            .issuer("https://auth.example.com")
            .audience("https://api.example.com")
            .keys(KeyRing::new(SigningKey::new(&private, &DefaultProvider).unwrap()))
            // Each token is checked as if it were new.
            .policy(
                Policy::default()
                    .tokens(|tokens| tokens.cache_bytes(0))
                    .sessions(|sessions| sessions.max_per_customer(usize::MAX)),
            )
            .build()
            .unwrap();
        let issue = || runtime.block_on(tokens.issue(Grant::user("jane@example.com").acl(acl())));
        let token = issue().unwrap();
        let token = token.access_token.expose().to_owned();
        let (signed, signature) = token.rsplit_once('.').unwrap();

        let mut group = c.benchmark_group(algorithm.as_str());
        group.bench_function("validate/raw", |b| {
            b.iter(|| {
                let (header, payload) = black_box(signed).split_once('.').unwrap();
                let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
                assert!(verifier.verify(signed.as_bytes(), &signature));
                let header = URL_SAFE_NO_PAD.decode(header).unwrap();
                let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
                let header: Value = serde_json::from_slice(&header).unwrap();
                let claims: Value = serde_json::from_slice(&payload).unwrap();
                (header, claims)
            });
        });
        group.bench_function("validate/validator", |b| {
            b.iter(|| tokens.validator().validate(black_box(&token)).unwrap());
        });
        let handler = service_fn(|_: Request<String>| async {
            Ok::<_, Infallible>(Response::new(String::new()))
        });
        let mut layered = tokens.validate_layer().layer(handler);
        group.bench_function("validate/layer", |b| {
            b.iter(|| {
                let request = Request::builder().header("authorization", format!("Bearer {token}"));
                let request = request.body(String::new()).unwrap();
                let response = runtime.block_on(async {
                    layered.ready().await.unwrap().call(request).await.unwrap()
                });
                assert!(response.status().is_success());
            });
        });
        group.bench_function("issue/raw", |b| {
            b.iter(|| signer.sign(black_box(signed.as_bytes())).unwrap());
        });
        group.bench_function("issue/grant", |b| {
            b.iter(|| issue().unwrap());
        });
        let secret = runtime.block_on(async {
            tokens.register(Entity::machine("aa-1").unwrap().acl(acl())).await.unwrap();
            tokens
                .reset_secret(
                    Actor::Host,
                    &EntityId::machine("aa-1").unwrap(),
                    None,
                    &RequestContext::without_address(),
                )
                .await
                .unwrap()
                .secret
        });
        group.bench_function("issue/entity_token", |b| {
            b.iter(|| {
                runtime
                    .block_on(tokens.issue_machine_token(
                        "aa-1",
                        &secret,
                        &RequestContext::without_address(),
                    ))
                    .unwrap()
            });
        });
        let router = tokens.router::<()>();
        let body = format!("id=aa-1&secret={}", secret.expose());
        group.bench_function("issue/route", |b| {
            b.iter(|| {
                let request = Request::post("/entity/token/generate")
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(axum::body::Body::from(body.clone()))
                    .unwrap();
                let response = runtime.block_on(router.clone().oneshot(request)).unwrap();
                assert!(response.status().is_success());
            });
        });
        group.bench_function("exchange", |b| {
            b.iter_batched(
                || {
                    let new = NewSession::of(CustomerId::new("cus_1").unwrap()).acl(acl());
                    runtime
                        .block_on(tokens.start_session(
                            Actor::Host,
                            new,
                            &RequestContext::without_address(),
                        ))
                        .unwrap()
                        .token
                },
                |token| {
                    let request = ExchangeRequest::default();
                    runtime
                        .block_on(tokens.exchange(
                            &token,
                            request,
                            &RequestContext::without_address(),
                        ))
                        .unwrap()
                },
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

criterion_group!(tokens, benches);
criterion_main!(tokens);
