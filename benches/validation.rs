//! What a host pays for every request of its own: a token that is checked for the first time, and one
//! that is known.
//!
//! ```text
//! cargo bench -p countersign-benches --bench validation
//! ```
//!
//! It prints one table for each question. A figure is the median of many rounds, in which all that
//! is compared takes turns, and says what a request costs above the floor: the same axum router with
//! no authentication, called in process.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a program that prints figures, and has nobody to tell its errors"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::jose::{CryptoProvider as _, DefaultProvider, SigningKey};
use countersign::{
    Acl, AclEntry, Algorithm, Bearer, Grant, KeyRing, Policy, TokenService, Validated,
};
use futures_util::FutureExt as _;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use tower::{Layer, Service};

const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256, Algorithm::HS256];
const ROUNDS: usize = 41;
/// Of something that takes less than a microsecond, and of something that takes fifty.
const FAST: usize = 5_000;
const SLOW: usize = 200;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        by_algorithm().await;
        by_permissions().await;
        by_tokens().await;
    });
    by_threads();
}

fn service(algorithm: Algorithm, cache: usize, max_token_len: usize) -> TokenService {
    let policy =
        Policy::default().tokens(|tokens| tokens.cache_bytes(cache).max_len(max_token_len));
    TokenService::builder()
        .issuer("https://auth.example.com")
        .audience("https://api.example.com")
        .keys(KeyRing::new(SigningKey::generate(algorithm).unwrap()))
        .policy(policy)
        .build()
        .unwrap()
}

fn acl(permissions: usize) -> Acl {
    let permissions: Vec<_> = (0..permissions).map(|n| format!("Operation{n}")).collect();
    let entry = AclEntry::new([("organizationId", ["org_1", "org_2"])], permissions);
    Acl::new([entry.unwrap()])
}

fn token(tokens: &TokenService, acl: Acl) -> String {
    // A customer's, of whom no store is asked.
    let custom = serde_json::json!({"tier": "gold", "locale": "en-GB"});
    let grant = Grant::customer("jane.doe@example.com").acl(acl).custom_claims(custom);
    let issued = tokens.issue(grant.unwrap()).now_or_never().unwrap();
    issued.unwrap().access_token.expose().to_owned()
}

async fn plain() -> &'static str {
    "hello"
}

async fn with_bearer(Bearer(claims): Bearer) -> &'static str {
    black_box(claims.principal().id());
    "hello"
}

fn floor() -> Router {
    Router::new().route("/", get(plain))
}

fn protected(tokens: &TokenService) -> Router {
    Router::new().route("/", get(with_bearer)).layer(tokens.validate_layer())
}

/// The least that a layer can do which hands something on.
#[derive(Clone)]
struct Insert<S> {
    inner: S,
    something: Arc<str>,
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for Insert<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> S::Future {
        request.extensions_mut().insert(Arc::clone(&self.something));
        self.inner.call(request)
    }
}

#[derive(Clone)]
struct InsertLayer(Arc<str>);

impl<S> Layer<S> for InsertLayer {
    type Service = Insert<S>;

    fn layer(&self, inner: S) -> Insert<S> {
        Insert { inner, something: Arc::clone(&self.0) }
    }
}

fn header(token: &str) -> HeaderValue {
    HeaderValue::try_from(format!("Bearer {token}")).unwrap()
}

/// Microseconds a request, of requests with these headers in turn.
async fn time_of(app: &mut Router, headers: &[HeaderValue], count: usize) -> f64 {
    let begun = Instant::now();
    for n in 0..count {
        let request = Request::get("/").header(AUTHORIZATION, headers[n % headers.len()].clone());
        let response = app.call(request.body(Body::empty()).unwrap()).await.unwrap();
        assert!(response.status().is_success());
    }
    micros(begun, count)
}

fn micros(begun: Instant, count: usize) -> f64 {
    begun.elapsed().as_secs_f64() * 1e6 / count as f64
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}

async fn by_algorithm() {
    println!("A request above the floor, by algorithm (us)\n");
    println!(
        "| algorithm | floor | a layer that inserts an Arc | known token | new token | bare check, JSON read | ratio |"
    );
    println!("|---|---|---|---|---|---|---|");
    for algorithm in ALGORITHMS {
        let private = DefaultProvider.generate(algorithm).unwrap();
        let public = DefaultProvider.verification_key(&private).unwrap();
        let verifier = DefaultProvider.verifier(&public).unwrap();
        let policy = |cache| Policy::default().tokens(|tokens| tokens.cache_bytes(cache));
        let service = |cache| {
            TokenService::builder()
                .issuer("https://auth.example.com")
                .audience("https://api.example.com")
                .keys(KeyRing::new(SigningKey::new(&private, &DefaultProvider).unwrap()))
                .policy(policy(cache))
                .build()
                .unwrap()
        };
        let (cached, uncached) = (service(1 << 26), service(0));
        let token = token(&cached, acl(8));
        let headers = [header(&token)];
        let (mut plain, mut known, mut new) = (floor(), protected(&cached), protected(&uncached));
        let mut insert = floor().layer(InsertLayer("something".into()));
        let mut times = [const { Vec::new() }; 5];
        for _ in 0..ROUNDS {
            times[0].push(time_of(&mut plain, &headers, FAST).await);
            times[1].push(time_of(&mut insert, &headers, FAST).await);
            times[2].push(time_of(&mut known, &headers, FAST).await);
            times[3].push(time_of(&mut new, &headers, SLOW).await);
            let begun = Instant::now();
            for _ in 0..SLOW {
                let (signed, signature) = black_box(&token).rsplit_once('.').unwrap();
                let (_, payload) = signed.split_once('.').unwrap();
                let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
                assert!(verifier.verify(signed.as_bytes(), &signature));
                let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
                black_box(serde_json::from_slice::<serde_json::Value>(&payload).unwrap());
            }
            times[4].push(micros(begun, SLOW));
        }
        let [floor, insert, known, new, bare] = times.map(median);
        println!(
            "| {algorithm}, {} bytes | {floor:.2} | {:.2} | {:.2} | {:.2} | {bare:.2} | {:.2} |",
            token.len(),
            insert - floor,
            known - floor,
            new - floor,
            (new - floor) / bare,
        );
    }
}

async fn by_permissions() {
    println!("\nA known token and `allows`, by number of permissions (us)\n");
    println!("| permissions | known token | `allows` the last, ns | the first, ns | none, ns |");
    println!("|---|---|---|---|---|");
    let tokens = service(Algorithm::EdDSA, 1 << 26, 1 << 20);
    for permissions in [1, 8, 100, 512, 10_000] {
        let token = token(&tokens, acl(permissions));
        let headers = [header(&token)];
        let (mut plain, mut known) = (floor(), protected(&tokens));
        let validated = tokens.validator().validate(&token).unwrap();
        let last = format!("Operation{}", permissions - 1);
        let mut times = [const { Vec::new() }; 5];
        for _ in 0..ROUNDS {
            times[0].push(time_of(&mut plain, &headers, FAST).await);
            times[1].push(time_of(&mut known, &headers, FAST).await);
            times[2].push(time_of_allows(&validated, &last, true));
            times[3].push(time_of_allows(&validated, "Operation0", true));
            times[4].push(time_of_allows(&validated, "NoOperation", false));
        }
        let [floor, known, last, first, none] = times.map(median);
        println!(
            "| {permissions} | {:.2} | {:.0} | {:.0} | {:.0} |",
            known - floor,
            last * 1e3,
            first * 1e3,
            none * 1e3
        );
    }
}

fn time_of_allows(validated: &Validated, permission: &str, expected: bool) -> f64 {
    let begun = Instant::now();
    for _ in 0..FAST {
        let scope = [("organizationId", black_box("org_2"))];
        assert_eq!(validated.allows(black_box(permission), &scope), expected);
    }
    micros(begun, FAST)
}

async fn by_tokens() {
    println!("\nA known token, by how many are known, in random order (us)\n");
    println!("| tokens | above the floor |\n|---|---|");
    for count in [1_000, 10_000, 100_000, 1_000_000] {
        let tokens = service(Algorithm::HS256, count * 8_192, 8_192);
        let mut headers: Vec<_> = (0..count).map(|_| header(&token(&tokens, acl(8)))).collect();
        shuffle(&mut headers);
        let (mut plain, mut known) = (floor(), protected(&tokens));
        time_of(&mut known, &headers, count).await;
        let mut times = [const { Vec::new() }; 2];
        // Each round goes on where the last one ended.
        let rounds = headers.chunks((count / 10).clamp(1_000, 100_000)).cycle();
        for part in rounds.take(ROUNDS) {
            times[0].push(time_of(&mut plain, part, part.len()).await);
            times[1].push(time_of(&mut known, part, part.len()).await);
        }
        let [floor, known] = times.map(median);
        println!("| {count} | {:.2} |", known - floor);
    }
}

/// Fisher and Yates, with a generator that is good enough for that.
fn shuffle<T>(items: &mut [T]) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for at in (1..items.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        items.swap(at, (state % (at as u64 + 1)) as usize);
    }
}

fn by_threads() {
    println!("\nKnown tokens a second, by threads (1,000 tokens)\n");
    println!("| | 1 thread | 2 threads | ratio |\n|---|---|---|---|");
    let tokens = service(Algorithm::EdDSA, 1 << 26, 8_192);
    let mut headers: Vec<_> = (0..1_000).map(|_| header(&token(&tokens, acl(8)))).collect();
    shuffle(&mut headers);
    let floor = floor();
    let router = protected(&tokens);
    let text = |header: &HeaderValue| header.to_str().unwrap()["Bearer ".len()..].to_owned();
    let texts: Vec<_> = headers.iter().map(text).collect();
    let in_router = |app: &Router| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(time_of(&mut app.clone(), &headers, PER_THREAD));
    };
    print_threads("the floor", &|| in_router(&floor));
    print_threads("the router with its layer", &|| in_router(&router));
    print_threads("`Validator::validate` alone", &|| {
        for n in 0..PER_THREAD {
            black_box(tokens.validator().validate(&texts[n % texts.len()]).unwrap());
        }
    });
}

const PER_THREAD: usize = 200_000;

fn print_threads(name: &str, work: &(dyn Fn() + Sync)) {
    let throughput = |threads: usize| {
        let mut rates = Vec::new();
        for _ in 0..ROUNDS / 4 {
            let begun = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(work);
                }
            });
            rates.push((threads * PER_THREAD) as f64 / begun.elapsed().as_secs_f64());
        }
        median(rates)
    };
    let [one, two] = [throughput(1), throughput(2)];
    println!("| {name} | {one:.0} | {two:.0} | {:.2} |", two / one);
}
