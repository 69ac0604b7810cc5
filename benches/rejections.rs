//! What those can cost who are rejected: for each route and layer the dearest request that is not let
//! in, before a throttle holds its sender back and after.
//!
//! ```text
//! cargo bench -p countersign-benches --bench rejections
//! ```
//!
//! It takes a minute and prints one table. Times are of the processor, on all threads together: medians
//! of 200 calls in process, with nobody who listens to the log.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a program that prints figures, and has nobody to tell its errors"
)]

use std::error::Error;
use std::net::Ipv6Addr;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::clock::{Clock, SystemClock};
use countersign::sessions::{OneTimePasswordMessage, OneTimePasswordSender};
use countersign::{
    Actor, Algorithm, AuthenticationToken, ClientAddress, CustomerId, Entity, EntityId, Grant,
    KeyRing, NewSession, Password, RequestContext, Secret, Timestamp, TokenService,
};
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, IF_NONE_MATCH};
use http_body_util::BodyExt as _;
use rustix::time::{ClockId, clock_gettime};
use tower::ServiceExt as _;

/// What the default policy takes of a body and of a token, and a server of a path and a header.
const BODY: usize = 16 * 1024;
const TOKEN: usize = 8 * 1024;
const HEAD: usize = 64_000;
const SAMPLES: usize = 200;
/// Failures that the default policy lets pass, and wrong codes that end a session.
const FREE: usize = 10;
const TRIES: usize = 5;
/// The number of whoever is throttled. Those before fail once each.
const THROTTLED: usize = SAMPLES;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("| to | request | bytes | status | µs | throttled | µs | ratio | bytes answered |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for rejected in rejections() {
        let scene = runtime.block_on(Scene::new(rejected.algorithm));
        runtime.block_on(scene.measure(&rejected));
    }
}

type Fields = &'static [(&'static str, fn(usize) -> String)];

/// A request that is rejected. `#` stands for the number of its sender, `$` for a forged token.
struct Rejected {
    route: &'static str,
    what: &'static str,
    algorithm: Algorithm,
    method: &'static str,
    path: String,
    header: Option<(HeaderName, String)>,
    fields: Fields,
    filler: Filler,
}

impl Rejected {
    fn get(route: &'static str, path: &str, what: &'static str) -> Self {
        Self {
            route,
            what,
            algorithm: Algorithm::ES256,
            method: "GET",
            path: path.into(),
            header: None,
            fields: &[],
            filler: NOTHING,
        }
    }

    /// With a bearer token that is as long as one may be, and reads well until its signature.
    fn forged(self) -> Self {
        self.header(AUTHORIZATION, "Bearer $".to_owned())
    }

    fn header(self, name: HeaderName, value: String) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    fn post(self, filler: Filler, fields: Fields) -> Self {
        Self { method: "POST", filler, fields, ..self }
    }

    fn request(&self, scene: &Scene, number: usize) -> Request<Body> {
        let path = self.path.replace('#', &number.to_string());
        let network = u128::try_from(number.min(THROTTLED)).unwrap() << 64;
        let mut request = Request::builder()
            .method(self.method)
            .uri(path)
            .extension(ClientAddress(Ipv6Addr::from(network).into()))
            .header(CONTENT_TYPE, self.filler.media);
        if let Some((name, value)) = &self.header {
            request = request.header(name, value.replace('$', &scene.forged));
        }
        let fields = self.fields.iter().map(|(name, value)| (*name, value(number)));
        request.body(Body::from(self.filler.body(fields))).unwrap()
    }
}

fn rejections() -> Vec<Rejected> {
    let get = Rejected::get;
    let (session, forged) = ("unknown session", "bad signature");
    let sessions = "/authentication-tokens";
    let of_session = |token, what| format!("{sessions}/{token}/{what}");
    let (unknown, one) = (of_session("x", "exchange"), of_session("s#", "exchange"));
    let escaped = |letters| format!("{sessions}/{}", "%41".repeat(letters));
    let longest = AuthenticationToken::MAX_LEN;
    let layer =
        |name, algorithm| Rejected { algorithm, ..get(name, "/protected", forged).forged() };
    vec![
        get("user's login", "/user/token/generate", "wrong password").post(FORM, USER),
        get("machine's login", "/entity/token/generate", "wrong secret").post(FORM, MACHINE),
        get("reading a secret", "/entity/secret/read", forged).forged().post(MEMBERS, &[]),
        get("resetting a secret", "/entity/secret/reset", forged).forged().post(MEMBERS, &[]),
        get("customer's login", sessions, "wrong password").post(MEMBERS, USER),
        get("starting a session", sessions, forged).forged().post(MEMBERS, PASSWORDLESS),
        get("listing sessions", sessions, forged).forged(),
        get("verifying a session", &escaped(longest), session),
        get("verifying a session", &escaped(HEAD / 3), "the longest path"),
        Rejected { method: "DELETE", ..get("ending a session", &escaped(longest), session) },
        get("exchange", &unknown, session).post(MEMBERS, &[]),
        get("exchange", &unknown, "a list of permissions").post(PERMISSIONS, &[]),
        get("exchange", &unknown, "a list of blank permissions").post(BLANKS, &[]),
        get("exchange", &unknown, forged).forged().post(NOTHING, &[]),
        get("exchange", &one, "wrong code").post(MEMBERS, CODE),
        get("exchange", &one, "wrong code, a list of permissions").post(PERMISSIONS, CODE),
        get("another one-time password", &of_session("x", "one-time-password"), session)
            .post(MEMBERS, &[]),
        get("JWKS, which rejects nobody", "/.well-known/jwks.json", "a header of 64,000 tags")
            .header(IF_NONE_MATCH, ",".repeat(HEAD)),
        layer("`ValidateLayer`, EdDSA", Algorithm::EdDSA),
        layer("`ValidateLayer`, ES256", Algorithm::ES256),
        layer("`ValidateLayer`, RS256", Algorithm::RS256),
        get("`ExchangeLayer`", "/session", forged).forged(),
        get("`ExchangeLayer`", "/session", session)
            .header(AUTHORIZATION, format!("Bearer {}", "A".repeat(longest))),
    ]
}

const USER: Fields = &[("username", name), ("password", wrong)];
const MACHINE: Fields = &[("id", name), ("secret", wrong)];
const PASSWORDLESS: Fields = &[("mode", |_| "passwordless".to_owned())];
const CODE: Fields = &[("oneTimePassword", |_| "000000".to_owned())];

/// What fills a body up to what is read of it.
#[derive(Clone, Copy)]
struct Filler {
    media: &'static str,
    begin: &'static str,
    one: fn(usize) -> String,
    end: &'static str,
}

const NOTHING: Filler = json("", |_| String::new(), "");
const MEMBERS: Filler = json("", |n| format!("\"{}\":0,", short(n)), r#""~":0}"#);
const LIST: &str = r#""acl":[{"scope":{},"permissions":["#;
const PERMISSIONS: Filler = json(LIST, |n| format!("\"{}\",", short(n)), r#""~"]}]}"#);
const BLANKS: Filler = json(LIST, |_| r#""","#.into(), r#"""]}]}"#);
const FORM: Filler = Filler {
    media: "application/x-www-form-urlencoded",
    ..json("", |n| format!("{}&", short(n)), "~")
};

const fn json(begin: &'static str, one: fn(usize) -> String, end: &'static str) -> Filler {
    Filler { media: "application/json", begin, one, end }
}

impl Filler {
    /// Some fields, and as much as there is room for.
    fn body(self, fields: impl Iterator<Item = (&'static str, String)>) -> String {
        let escape = |text: String| text.bytes().map(|b| format!("%{b:02x}")).collect::<String>();
        let field = |(name, value)| match self.media {
            "application/json" => format!("\"{name}\":\"{value}\","),
            _ => format!("{name}={}&", escape(value)),
        };
        let start = if self.media == "application/json" { "{" } else { "" };
        let text = start.to_owned() + &fields.map(field).collect::<String>() + self.begin;
        if self.end.is_empty() { String::new() } else { self.fill(text, BODY) }
    }

    fn fill(self, mut text: String, len: usize) -> String {
        for next in (0..len).map(self.one) {
            if text.len() + next.len() + self.end.len() > len {
                break;
            }
            text.push_str(&next);
        }
        text + self.end
    }
}

/// Two letters for each number, or three, and never `id`.
fn short(number: usize) -> String {
    let letters = b"abc-efghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let digits = [number / 3_844, number / 62 % 62, number % 62].map(|at| char::from(letters[at]));
    digits.into_iter().skip(usize::from(number < 3_844)).collect()
}

/// The longest name, of letters that look like eighteen each: names that look alike count as one.
fn name(number: usize) -> String {
    format!("{}{}", "\u{fdfa}".repeat(84), number.min(THROTTLED))
}

fn wrong(_: usize) -> String {
    "x".repeat(Password::MAX_LEN)
}

/// A service with the default policy, and all who fail there.
struct Scene {
    app: Router,
    forged: String,
}

impl Scene {
    async fn new(algorithm: Algorithm) -> Self {
        let tokens = TokenService::builder()
            .issuer("https://auth.example.com")
            .audience("https://api.example.com")
            .keys(KeyRing::generate(algorithm).unwrap())
            .clock(Stopped(SystemClock.now()))
            .one_time_password_sender(Nowhere)
            .build()
            .unwrap();
        let hash = tokens.hash_password(Password::new("correct horse").unwrap()).await.unwrap();
        let secret = Secret::dangerous_from_text("correct horse").unwrap();
        let customer = |number: usize| CustomerId::new(number.min(THROTTLED).to_string()).unwrap();
        for number in 0..=THROTTLED {
            let (name, hash) = (name(number), hash.clone());
            tokens.register(Entity::user(&name, hash.clone()).unwrap()).await.unwrap();
            let credential = Entity::customer(&name, hash, customer(number), false).unwrap();
            tokens.register(credential).await.unwrap();
            tokens.register(Entity::machine(&name).unwrap()).await.unwrap();
            let id = EntityId::machine(&name).unwrap();
            tokens.import_secret(&id, &secret, None).await.unwrap();
        }
        for number in 0..=THROTTLED + FREE / TRIES {
            let token = AuthenticationToken::from_text(format!("s{number}")).unwrap();
            let new = NewSession::of(customer(number)).otp_required(true).dangerous_token(token);
            tokens
                .start_session(Actor::Host, new, &RequestContext::without_address())
                .await
                .unwrap();
        }
        let token = tokens.issue(Grant::user("ops@example.com")).await.unwrap();
        let app = Router::new()
            .route("/protected", get(|| async {}).layer(tokens.validate_layer()))
            .route("/session", get(|| async {}).layer(tokens.exchange_layer()))
            .merge(tokens.router());
        Self { app, forged: forge(token.access_token.expose()) }
    }

    /// Prints what a request costs, and what it costs of somebody who is throttled, if they are.
    async fn measure(&self, rejected: &Rejected) {
        let make = |number| rejected.request(self, number);
        let request = make(0);
        let headers = request.headers().iter().map(|(k, v)| k.as_str().len() + v.len() + 4);
        let head = request.uri().to_string().len() + headers.sum::<usize>();
        let sent = request.body().size_hint().lower() + head as u64;
        let before = self.send_all((0..SAMPLES).map(make)).await;
        for failure in 0..FREE {
            self.send(make(THROTTLED + failure / TRIES)).await;
        }
        let again = (0..SAMPLES).map(|_| make(THROTTLED + FREE / TRIES));
        let throttled = match self.send_all(again).await {
            Cost { status: 429, micros, .. } => {
                format!("429 | {micros:.0} | {:.1}", before.micros / micros)
            }
            _ => "never | |".to_owned(),
        };
        let Rejected { route, what, .. } = rejected;
        let Cost { status, micros, answered } = before;
        let figures = format!("{sent} | {status} | {micros:.0} | {throttled} | {answered}");
        println!("| {route} | {what} | {figures} |");
    }

    /// The median, of requests that are all answered alike.
    async fn send_all(&self, requests: impl Iterator<Item = Request<Body>>) -> Cost {
        let mut costs = Vec::new();
        for request in requests {
            costs.push(self.send(request).await);
        }
        assert!(costs.iter().all(|cost| cost.status == costs[0].status));
        costs.sort_by(|a, b| a.micros.total_cmp(&b.micros));
        costs.swap_remove(costs.len() / 2)
    }

    async fn send(&self, request: Request<Body>) -> Cost {
        let app = self.app.clone();
        let begun = processor_time();
        let response = app.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let answered = response.into_body().collect().await.unwrap().to_bytes().len();
        let micros = (processor_time() - begun).as_secs_f64() * 1e6;
        Cost { status, micros, answered }
    }
}

/// The same token with a header that takes long to be read, which the signature is not good for.
fn forge(token: &str) -> String {
    let (header, rest) = token.split_once('.').unwrap();
    let header = String::from_utf8(URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    let room = (TOKEN - rest.len() - 1) * 3 / 4;
    let header = MEMBERS.fill(header.replace('}', ","), room);
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))
}

/// Of all threads of this process: passwords are hashed on others.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap()
}

struct Cost {
    status: u16,
    micros: f64,
    answered: usize,
}

/// A clock at which no throttle lets go.
#[derive(Debug)]
struct Stopped(Timestamp);

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        self.0
    }
}

#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl OneTimePasswordSender for Nowhere {
    async fn send(&self, _: OneTimePasswordMessage) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}
