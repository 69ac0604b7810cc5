//! What those get who guess, flood and fill: whether time tells a known name from an unknown one,
//! what a flood of logins does to everybody else, and how much memory random names take.
//!
//! ```text
//! cargo bench -p countersign-benches --bench abuse
//! ```
//!
//! It takes about four minutes and prints one table for each. Set `ABUSE_SAMPLES` to compare more
//! logins than 1,000 of each kind.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    missing_docs,
    reason = "a program that prints figures, and has nobody to tell its errors"
)]

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use countersign::policy::ThrottleLimit;
use countersign::{
    Algorithm, Bearer, Entity, Grant, KeyRing, Password, Policy, RequestContext, Secret,
    TokenService,
};
use futures_util::FutureExt as _;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

const ROUNDS: usize = 5;
const PASSWORD: &str = "correct horse battery staple";

fn main() {
    let samples = std::env::var("ABUSE_SAMPLES").ok();
    let samples = samples.and_then(|text| text.parse().ok()).unwrap_or(1_000);
    // First, while nothing has been freed that it could take.
    memory_of_names();
    time_of_logins(samples);
    flood_of_logins();
}

fn service(policy: Policy) -> TokenService {
    TokenService::builder()
        .issuer("https://auth.example.com")
        .audience("https://api.example.com")
        .keys(KeyRing::generate(Algorithm::EdDSA).unwrap())
        .policy(policy)
        .build()
        .unwrap()
}

fn unthrottled() -> Policy {
    Policy::default().throttle(|throttle| {
        throttle
            .by_name(ThrottleLimit::unlimited())
            .by_address(ThrottleLimit::unlimited())
            .by_name_and_address(ThrottleLimit::unlimited())
    })
}

/// Samples that are only summed up.
#[derive(Default)]
struct Sample {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Sample {
    /// Welford's way, which loses nothing.
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let off = value - self.mean;
        self.mean += off / self.count;
        self.squares += off * (value - self.mean);
    }

    fn variance(&self) -> f64 {
        self.squares / (self.count - 1.0)
    }
}

/// Welch's t: how many standard errors two means are apart.
fn welch(a: &Sample, b: &Sample) -> f64 {
    (a.mean - b.mean) / (a.variance() / a.count + b.variance() / b.count).sqrt()
}

/// Logins in turns, so that whatever else the machine does happens to both kinds.
fn time_of_logins(samples: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let tokens = service(unthrottled());
    runtime.block_on(async {
        let hash = tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
        let disabled = hash.clone();
        tokens.register(Entity::user("known@example.com", hash).unwrap()).await.unwrap();
        let shut_out = Entity::user("disabled@example.com", disabled).unwrap().disabled(true);
        tokens.register(shut_out).await.unwrap();
        tokens.register(Entity::machine("aa-1").unwrap()).await.unwrap();
    });
    let login = |name: &str| {
        let password = Password::new("a wrong password").unwrap();
        let begun = Instant::now();
        let rejected = runtime.block_on(tokens.issue_user_token(
            name,
            password,
            &RequestContext::without_address(),
        ));
        let took = begun.elapsed().as_secs_f64() * 1e6;
        assert!(rejected.is_err());
        took
    };
    let secret = Secret::presented("a wrong secret");
    let machine_login = |id: &str| {
        let begun = Instant::now();
        let rejected = runtime.block_on(tokens.issue_machine_token(
            id,
            &secret,
            &RequestContext::without_address(),
        ));
        let took = begun.elapsed().as_secs_f64() * 1e6;
        assert!(rejected.is_err());
        took
    };
    println!("\n## Whether time tells why a login is rejected\n");
    println!("| | mean | against | mean | Welch's t | samples |");
    println!("|---|---|---|---|---|---|");
    compare(
        "wrong password",
        "unknown name",
        samples,
        [&|| login("known@example.com"), &|| login("nobody@example.com")],
    );
    compare(
        "wrong password",
        "disabled user",
        samples,
        [&|| login("known@example.com"), &|| login("disabled@example.com")],
    );
    compare(
        "wrong secret",
        "unknown id",
        samples * 20,
        [&|| machine_login("aa-1"), &|| machine_login("aa-2")],
    );
    println!("\nBelow 4.5, the two cannot be told apart by so many samples.");
}

fn compare(a: &str, b: &str, samples: u32, of: [&dyn Fn() -> f64; 2]) {
    let mut measured = [Sample::default(), Sample::default()];
    for run in of {
        run();
    }
    for number in 0..samples {
        // Who comes first changes, too.
        let first = (number % 2) as usize;
        for index in [first, 1 - first] {
            measured[index].add(of[index]());
        }
    }
    let [first, second] = &measured;
    let t = welch(first, second).abs();
    println!(
        "| {a} | {:.1} µs | {b} | {:.1} µs | {t:.2} | 2 × {samples} |",
        first.mean, second.mean
    );
}

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn send(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> u16 {
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    response.into_body().collect().await.unwrap();
    status
}

/// Validated requests, at a pace, while nobody logs in and while everybody does.
fn flood_of_logins() {
    let tokens = service(unthrottled());
    let token = tokens.issue(Grant::customer("ops@example.com")).now_or_never().unwrap().unwrap();
    let bearer = format!("Bearer {}", token.access_token.expose());
    let protected = get(|Bearer(claims): Bearer| async move { claims.principal().id().to_owned() })
        .layer(tokens.validate_layer());
    let app = Router::new().route("/protected", protected).merge(tokens.router());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move { axum::serve(listener, app).await });

    let (mut quiet, mut busy, mut flooded) = (Vec::new(), Vec::new(), Vec::new());
    let mut responses = [0, 0];
    // In turns, so that whatever else the machine does happens to all.
    for _ in 0..ROUNDS {
        quiet.push(validated_requests(address, &bearer));
        let flood = Flood::start(address, "");
        busy.push(validated_requests(address, &bearer));
        flood.stop();
        let flood = Flood::start(address, "whatever-it-is");
        flooded.push(validated_requests(address, &bearer));
        for (total, round) in responses.iter_mut().zip(flood.stop()) {
            *total += round;
        }
    }

    println!("\n## What a flood of logins does to validated requests\n");
    println!("| medians of {ROUNDS} rounds | median | p99 | slowest |");
    println!("|---|---|---|---|");
    for (when, rounds) in [
        ("quiet", &quiet),
        ("during as many requests that are no logins (400)", &busy),
        ("during the flood", &flooded),
    ] {
        let [half, p99, all] = [0.5, 0.99, 1.0].map(|share| median_of(rounds, share));
        println!("| {when} | {half:.0?} | {p99:.0?} | {all:.1?} |");
    }
    let [quiet, flooded] = [&quiet, &flooded].map(|rounds| median_of(rounds, 0.99).as_secs_f64());
    let [hashed, rejected] = responses;
    println!(
        "\np99 during the flood: {:.2} × of its value without it. The flood had {hashed} passwords \
         hashed and {rejected} requests answered 503.",
        flooded / quiet
    );
}

/// The median over all rounds of what so large a share of a round's requests took at most.
fn median_of(rounds: &[Vec<Duration>], share: f64) -> Duration {
    let at = |times: &Vec<Duration>| times[((times.len() - 1) as f64 * share) as usize];
    let mut values: Vec<_> = rounds.iter().map(at).collect();
    values.sort();
    values[values.len() / 2]
}

/// How long each of 5,000 requests took, 500 a second, sorted.
fn validated_requests(address: SocketAddr, bearer: &str) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut sender = connect(address).await;
        let mut pace = tokio::time::interval(Duration::from_millis(2));
        let mut times = Vec::new();
        for _ in 0..5_000 {
            pace.tick().await;
            let request = Request::get("/protected").header("host", "localhost");
            let request = request.header("authorization", bearer).body(Full::default()).unwrap();
            let begun = Instant::now();
            assert_eq!(send(&mut sender, request).await, 200);
            times.push(begun.elapsed());
        }
        times.sort();
        times
    })
}

/// Logins with random names from 32 connections, 500 a second: five times what two cores hash.
struct Flood {
    over: Arc<AtomicBool>,
    responses: Arc<[AtomicU64; 2]>,
    thread: std::thread::JoinHandle<()>,
}

impl Flood {
    fn start(address: SocketAddr, password: &'static str) -> Self {
        let over = Arc::<AtomicBool>::default();
        let responses = Arc::<[AtomicU64; 2]>::default();
        let (until, counts) = (Arc::clone(&over), Arc::clone(&responses));
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let flooding: Vec<_> = (0..32)
                    .map(|connection| {
                        let (until, counts) = (Arc::clone(&until), Arc::clone(&counts));
                        tokio::spawn(flood(address, connection, password, until, counts))
                    })
                    .collect();
                for flooding in flooding {
                    flooding.await.unwrap();
                }
            });
        });
        Self { over, responses, thread }
    }

    /// Returns how many passwords were hashed, and how many logins rejected.
    fn stop(self) -> [u64; 2] {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        [0, 1].map(|index| self.responses[index].load(Ordering::Relaxed))
    }
}

async fn flood(
    address: SocketAddr,
    connection: u32,
    password: &'static str,
    until: Arc<AtomicBool>,
    counts: Arc<[AtomicU64; 2]>,
) {
    let mut sender = connect(address).await;
    // One after the other, so that what is measured is not how they queue for one another.
    let first = tokio::time::Instant::now() + Duration::from_millis(2) * connection;
    let mut pace = tokio::time::interval_at(first, Duration::from_millis(64));
    let mut number = 0_u32;
    while !until.load(Ordering::Relaxed) {
        pace.tick().await;
        number += 1;
        let body = format!("username=n{connection}-{number}%40example.com&password={password}");
        let request = Request::post("/user/token/generate")
            .header("host", "localhost")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::from(body))
            .unwrap();
        let rejected = usize::from(send(&mut sender, request).await == 503);
        counts[rejected].fetch_add(1, Ordering::Relaxed);
    }
}

/// One million logins with random names from random addresses, all of which fail.
fn memory_of_names() {
    let tokens = service(Policy::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let secret = Secret::presented("a wrong secret");
    let before = resident_bytes();
    let mut most = before;
    for number in 0..1_000_000_u128 {
        // Spread over all of the address space, each in a subnet of its own.
        let address =
            Ipv6Addr::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        let context = RequestContext::from_address(IpAddr::V6(address));
        let name = format!("random-{number}");
        assert!(runtime.block_on(tokens.issue_machine_token(&name, &secret, &context)).is_err());
        if number % 1_000 == 0 {
            most = most.max(resident_bytes());
        }
    }
    println!("\n## What a million random names and addresses take\n");
    println!(
        "{:.1} MB at most, above what the process took before; the policy's bound for 100,000 \
         keys is 32 MB.",
        (most - before) as f64 / 1e6
    );
}

/// What the process holds in memory, by Linux's account.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this reads Linux's /proc");
    let pages: u64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4_096
}
