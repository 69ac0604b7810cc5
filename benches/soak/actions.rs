//! Somebody who does all that can be done, in no order.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::report::Report;
use crate::{PASSWORD, World, acl, machine, user};

#[derive(Clone, Copy)]
enum Action {
    LogUserIn,
    GuessPassword,
    LogMachineIn,
    GuessSecret,
    ResetSecret,
    StartSession,
    LookAtSession,
    ExchangeAndKeep,
    ExchangeTwice,
    ExchangeTooWide,
    LogOut,
    ListSessions,
    FetchKeys,
    ShowBadToken,
    ShowSessionToLayer,
    SendMalformedBody,
    ShowKnownToken,
}

/// How often each comes, next to the others.
const MIX: [(usize, Action); 17] = [
    (5, Action::LogUserIn),
    (3, Action::GuessPassword),
    (172, Action::LogMachineIn),
    (15, Action::GuessSecret),
    (2, Action::ResetSecret),
    (113, Action::StartSession),
    (110, Action::LookAtSession),
    (80, Action::ExchangeAndKeep),
    (60, Action::ExchangeTwice),
    (20, Action::ExchangeTooWide),
    (30, Action::LogOut),
    (5, Action::ListSessions),
    (25, Action::FetchKeys),
    (60, Action::ShowBadToken),
    (80, Action::ShowSessionToLayer),
    (20, Action::SendMalformedBody),
    (200, Action::ShowKnownToken),
];

/// Sessions live for a minute: none that is this old is used, lest it ends meanwhile.
const OLDEST_SESSION: Duration = Duration::from_secs(40);

pub struct RequestContext {
    number: usize,
    world: World,
    connection: SendRequest<Full<Bytes>>,
    random: u64,
    /// Whoever it has started lately, and when.
    sessions: Vec<(String, Instant)>,
    secret: Option<String>,
    report: Report,
}

impl RequestContext {
    pub async fn connect(number: usize, world: World, address: SocketAddr) -> Self {
        Self {
            number,
            world,
            connection: connect(address).await,
            random: 0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1),
            sessions: Vec::new(),
            secret: None,
            report: Report::default(),
        }
    }

    pub async fn run(mut self, until: Instant) -> Report {
        while Instant::now() < until {
            let action = self.next_action();
            self.act(action).await;
        }
        self.report
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::LogUserIn => self.log_user_in().await,
            Action::GuessPassword => self.guess_password().await,
            Action::LogMachineIn => self.log_machine_in().await,
            Action::GuessSecret => self.guess_secret().await,
            Action::ResetSecret => self.reset_secret().await,
            Action::StartSession => self.start_session().await,
            Action::LookAtSession => self.look_at_session().await,
            Action::ExchangeAndKeep => self.exchange_and_keep().await,
            Action::ExchangeTwice => self.exchange_twice().await,
            Action::ExchangeTooWide => self.exchange_too_wide().await,
            Action::LogOut => self.log_out().await,
            Action::ListSessions => self.list_sessions().await,
            Action::FetchKeys => self.fetch_keys().await,
            Action::ShowBadToken => self.show_bad_token().await,
            Action::ShowSessionToLayer => self.show_session_to_layer().await,
            Action::SendMalformedBody => self.send_malformed_body().await,
            Action::ShowKnownToken => self.show_known_token().await,
        }
    }

    async fn log_user_in(&mut self) {
        let body = json!({"username": user(self.number), "password": PASSWORD});
        self.ask("user's login", post("/user/token/generate", None, &body), &[200]).await;
    }

    async fn guess_password(&mut self) {
        let body = json!({"username": "nobody@example.com", "password": "a guess"});
        let request = post("/user/token/generate", None, &body);
        self.ask("user's login, wrong", request, &[401, 429]).await;
    }

    async fn log_machine_in(&mut self) {
        let secret = match self.secret.clone() {
            Some(secret) => secret,
            None => self.read_secret().await,
        };
        let body = json!({"id": machine(self.number), "secret": secret});
        self.secret = Some(secret);
        self.ask("machine's login", post("/entity/token/generate", None, &body), &[200]).await;
    }

    async fn guess_secret(&mut self) {
        let body = json!({"id": "aa-unknown", "secret": "a guess"});
        let request = post("/entity/token/generate", None, &body);
        self.ask("machine's login, wrong", request, &[401, 429]).await;
    }

    async fn read_secret(&mut self) -> String {
        let request = post("/entity/secret/read", Some(&self.world.manager), &self.envelope());
        let answer = self.ask("secret read", request, &[200]).await;
        answer["secret"].as_str().unwrap_or_default().to_owned()
    }

    async fn reset_secret(&mut self) {
        let request = post("/entity/secret/reset", Some(&self.world.manager), &self.envelope());
        let answer = self.ask("secret reset", request, &[200]).await;
        self.secret = answer["secret"].as_str().map(str::to_owned);
    }

    fn envelope(&self) -> Value {
        json!({
            "ver": "1.0.0", "timestamp": "2026-01-01T00:00:00Z", "txnId": "t-1",
            "entityId": machine(self.number),
        })
    }

    async fn start_session(&mut self) {
        let guarded = self.below(4) == 0;
        let body = json!({
            "mode": "passwordless", "customerId": format!("cus_{}", self.number),
            "otpRequired": guarded, "acl": acl(),
        });
        let request = post("/authentication-tokens", Some(&self.world.manager), &body);
        // Codes are throttled by their customer.
        let answer = self.ask("session started", request, &[201, 429]).await;
        if let Some(token) = answer["token"].as_str().filter(|_| !guarded) {
            self.sessions.push((token.to_owned(), Instant::now()));
        }
    }

    async fn look_at_session(&mut self) {
        let Some(token) = self.session() else { return };
        let request = without_body(Method::GET, &session_path(&token), None);
        self.ask("session looked at", request, &[200]).await;
    }

    async fn exchange_and_keep(&mut self) {
        let Some(token) = self.session() else { return };
        let narrow = json!([{"scope": {"productId": ["p1"]}, "permissions": ["GetOrders"]}]);
        let request = exchange(&token, &json!({"invalidate": false, "acl": narrow}));
        let answer = self.ask("exchange that keeps", request, &[201]).await;
        let jwt = answer["token"].as_str().unwrap_or_default();
        let request = without_body(Method::GET, "/protected", Some(jwt));
        self.ask("new token, checked", request, &[200]).await;
    }

    async fn exchange_twice(&mut self) {
        let Some(token) = self.session() else { return };
        self.forget(&token);
        self.ask("exchange", exchange(&token, &json!({})), &[201]).await;
        self.ask("exchange, again", exchange(&token, &json!({})), &[404]).await;
    }

    async fn exchange_too_wide(&mut self) {
        let Some(token) = self.session() else { return };
        let wide = json!({"acl": [{"scope": {}, "permissions": ["*"]}]});
        self.ask("exchange, too wide", exchange(&token, &wide), &[403]).await;
    }

    async fn log_out(&mut self) {
        let Some(token) = self.session() else { return };
        self.forget(&token);
        let request = without_body(Method::DELETE, &session_path(&token), None);
        self.ask("logout", request, &[204]).await;
    }

    async fn list_sessions(&mut self) {
        let path = format!("/authentication-tokens?customerId=cus_{}&limit=10", self.number);
        let request = without_body(Method::GET, &path, Some(&self.world.manager));
        self.ask("sessions listed", request, &[200]).await;
    }

    async fn fetch_keys(&mut self) {
        let request = without_body(Method::GET, "/.well-known/jwks.json", None);
        self.ask("keys", request, &[200]).await;
    }

    async fn show_bad_token(&mut self) {
        let request = without_body(Method::GET, "/protected", Some("mF_9.B5f-4.1JqM"));
        self.ask("bad token", request, &[401]).await;
    }

    async fn show_session_to_layer(&mut self) {
        let Some(token) = self.session() else { return };
        let request = without_body(Method::GET, "/session", Some(&token));
        self.ask("exchange layer", request, &[200]).await;
    }

    async fn send_malformed_body(&mut self) {
        let request = Request::post("/entity/token/generate")
            .header("content-type", "application/json")
            .body(Full::from("{\"id\": \"aa-1\", \"id\": \"aa-2\"}"));
        self.ask("malformed body", request.unwrap(), &[400]).await;
    }

    async fn show_known_token(&mut self) {
        let request = without_body(Method::GET, "/protected", Some(&self.world.manager));
        self.ask("known token, checked", request, &[200]).await;
    }

    /// A session that has some seconds left to live.
    fn session(&mut self) -> Option<String> {
        self.sessions.retain(|(_, begun)| begun.elapsed() < OLDEST_SESSION);
        let count = self.sessions.len();
        if count == 0 {
            return None;
        }
        let at = self.below(count);
        Some(self.sessions[at].0.clone())
    }

    fn forget(&mut self, token: &str) {
        self.sessions.retain(|(known, _)| known != token);
    }

    fn next_action(&mut self) -> Action {
        let mut left = self.below(MIX.iter().map(|(weight, _)| weight).sum());
        for (weight, action) in MIX {
            match left.checked_sub(weight) {
                None => return action,
                Some(rest) => left = rest,
            }
        }
        unreachable!("it is below the sum of all")
    }

    fn below(&mut self, end: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % end as u64) as usize
    }

    async fn ask(
        &mut self,
        sort: &'static str,
        request: Request<Full<Bytes>>,
        expected: &[u16],
    ) -> Value {
        let begun = Instant::now();
        self.connection.ready().await.expect("it reads");
        let answer = self.connection.send_request(request).await.expect("it answers");
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("it answers").to_bytes();
        self.report.record(sort, status, expected, begun.elapsed());
        serde_json::from_slice(&body).unwrap_or_default()
    }
}

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn session_path(token: &str) -> String {
    format!("/authentication-tokens/{token}")
}

fn exchange(token: &str, body: &Value) -> Request<Full<Bytes>> {
    post(&format!("/authentication-tokens/{token}/exchange"), None, body)
}

fn post(path: &str, bearer: Option<&str>, body: &Value) -> Request<Full<Bytes>> {
    let mut request = Request::post(path).header("content-type", "application/json");
    if let Some(bearer) = bearer {
        request = request.header("authorization", format!("Bearer {bearer}"));
    }
    request.body(Full::from(body.to_string())).unwrap()
}

fn without_body(method: Method, path: &str, bearer: Option<&str>) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(bearer) = bearer {
        request = request.header("authorization", format!("Bearer {bearer}"));
    }
    request.body(Full::default()).unwrap()
}
