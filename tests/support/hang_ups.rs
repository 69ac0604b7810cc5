//! Clients that hang up in the midst of a request, and what two nodes that share a store make of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Router};
use countersign::store::{EntityStore, KeyStore, PageRequest, SessionStore};
use countersign::tokens::AccessToken;
use countersign::{
    Actor, Algorithm, AuthenticationToken, Bearer, CustomerId, Entity, EntityId, ExchangeRequest,
    Grant, Housekeeping, KeyRing, NewSession, RequestContext, SealingKey, Secret, TokenService,
};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::log::Log;
use crate::support::managed_keys::until;
use crate::support::sessions::{SESSIONS, exchange_path, session_path};
use crate::support::{AUDIENCE, ISSUER, Server, acl_of, unique};

/// What a request asks a node to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    LogOutBySession,
    LogOutByToken,
    Exchange,
    Start,
    ResetSecret,
    Disable,
}

impl Asked {
    pub const ALL: [Self; 6] = [
        Self::LogOutBySession,
        Self::LogOutByToken,
        Self::Exchange,
        Self::Start,
        Self::ResetSecret,
        Self::Disable,
    ];

    fn operation(self) -> &'static str {
        match self {
            Self::LogOutBySession => "end_session",
            Self::LogOutByToken => "log_out",
            Self::Exchange => "exchange",
            Self::Start => "start_session",
            Self::ResetSecret => "reset_secret",
            Self::Disable => "disable_entity",
        }
    }
}

/// A request, and what tells whether a node has done what it asks for.
pub struct Case {
    asked: Asked,
    request: Vec<u8>,
    token: Option<AuthenticationToken>,
    jwt: Option<AccessToken>,
    customer: CustomerId,
    machine: EntityId,
    secret: Secret,
}

/// Two nodes, of which one is served.
pub struct Nodes {
    pub tokens: [TokenService; 2],
    server: Server,
    given_up: Arc<AtomicUsize>,
    _housekeeping: [Housekeeping; 2],
}

/// Counts requests whose handler was dropped before it had a response.
struct Handling(Option<Arc<AtomicUsize>>);

impl Drop for Handling {
    fn drop(&mut self) {
        if let Some(given_up) = &self.0 {
            given_up.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn count_given_up(
    State(given_up): State<Arc<AtomicUsize>>,
    request: Request,
    next: Next,
) -> Response {
    let mut handling = Handling(Some(given_up));
    let response = next.run(request).await;
    handling.0 = None;
    response
}

async fn log_out(Extension(tokens): Extension<TokenService>, Bearer(caller): Bearer) -> StatusCode {
    tokens.log_out(&caller).await.map_or(StatusCode::SERVICE_UNAVAILABLE, |()| StatusCode::OK)
}

async fn disable(
    Extension(tokens): Extension<TokenService>,
    Path(name): Path<String>,
) -> StatusCode {
    let id = EntityId::machine(name).unwrap();
    let disabled = tokens.disable_entity(&id).await;
    disabled.map_or(StatusCode::SERVICE_UNAVAILABLE, |()| StatusCode::OK)
}

fn anywhere() -> RequestContext {
    RequestContext::without_address()
}

impl Nodes {
    /// Each over its own handle of one store.
    pub async fn over<S: EntityStore + SessionStore + KeyStore>(stores: [S; 2]) -> Self {
        let keys = KeyRing::generate(Algorithm::EdDSA).unwrap();
        let tokens = stores.map(|store| {
            TokenService::builder()
                .issuer(ISSUER)
                .audience(AUDIENCE)
                .keys(keys.clone())
                .sealing_key(SealingKey::from_bytes([7; 32]))
                .store(store)
                .build()
                .unwrap()
        });
        let housekeeping = [tokens[0].start().await.unwrap(), tokens[1].start().await.unwrap()];
        let given_up = Arc::new(AtomicUsize::new(0));
        let own = Router::new()
            .route("/log-out", post(log_out).route_layer(tokens[0].validate_layer()))
            .route("/disable/{name}", post(disable));
        let router = own
            .merge(tokens[0].router())
            .layer(Extension(tokens[0].clone()))
            .layer(from_fn_with_state(Arc::clone(&given_up), count_given_up));
        let server = Server::start(router).await;
        Self { tokens, server, given_up, _housekeeping: housekeeping }
    }

    /// Sets up what a request is about.
    pub async fn case(&self, asked: Asked) -> Case {
        let tokens = &self.tokens[0];
        let customer = CustomerId::new(unique("cus-")).unwrap();
        let machine = EntityId::machine(unique("aa-")).unwrap();
        let secret = Secret::generate().unwrap();
        let (mut token, mut jwt) = (None, None);
        let (mut path, mut method, mut body, mut bearer) = (String::new(), "POST", json!({}), None);
        match asked {
            Asked::LogOutBySession | Asked::LogOutByToken | Asked::Exchange => {
                let new = NewSession::of(customer.clone());
                let started = tokens.start_session(Actor::Host, new, &anywhere()).await.unwrap();
                path = exchange_path(started.token.expose());
                if asked != Asked::Exchange {
                    let keep = ExchangeRequest::default().invalidate(false);
                    let exchanged =
                        tokens.exchange(&started.token, keep, &anywhere()).await.unwrap();
                    jwt = Some(exchanged.token.access_token);
                    path = session_path(started.token.expose());
                    method = "DELETE";
                }
                if asked == Asked::LogOutByToken {
                    (path, method, bearer) = ("/log-out".to_owned(), "POST", jwt.clone());
                }
                token = Some(started.token);
            }
            Asked::Start => {
                path = SESSIONS.to_owned();
                body = json!({"mode": "passwordless", "customerId": customer});
                bearer = Some(self.manager(&json!({}), "PostAuthenticationToken").await);
            }
            Asked::ResetSecret | Asked::Disable => {
                tokens.register(Entity::machine(machine.name()).unwrap()).await.unwrap();
                tokens.import_secret(&machine, &secret, None).await.unwrap();
            }
        }
        if asked == Asked::ResetSecret {
            path = "/entity/secret/reset".to_owned();
            let now = tokens.now().to_string();
            body =
                json!({"ver": "1.0.0", "timestamp": now, "txnId": "1", "entityId": machine.name()});
            let scope = json!({"entityId": [machine.name()]});
            bearer = Some(self.manager(&scope, "ResetEntitySecret").await);
        }
        if asked == Asked::Disable {
            path = format!("/disable/{}", machine.name());
            jwt = Some(tokens.issue_for(&machine).await.unwrap().access_token);
        }
        let body = if method == "DELETE" { String::new() } else { body.to_string() };
        let authorization =
            bearer.map(|token| format!("authorization: Bearer {}\r\n", token.expose()));
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{}content-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            authorization.unwrap_or_default(),
            body.len(),
        );
        Case { asked, request: request.into_bytes(), token, jwt, customer, machine, secret }
    }

    /// The token of a user of its own: nobody asks as often as a test needs.
    async fn manager(&self, scope: &Value, permission: &str) -> AccessToken {
        let acl = acl_of(json!([{"scope": scope, "permissions": [permission]}]));
        let grant = Grant::user(unique("ops-")).acl(acl);
        self.tokens[0].issue(grant).await.unwrap().access_token
    }

    pub async fn send(&self, case: &Case) -> TcpStream {
        let mut stream = TcpStream::connect(self.server.address).await.unwrap();
        stream.write_all(&case.request).await.unwrap();
        stream
    }

    /// Hangs up, and waits until the node has given the request up.
    pub async fn hang_up(&self, stream: TcpStream) {
        let before = self.given_up.load(Ordering::SeqCst);
        drop(stream);
        until(async || self.given_up.load(Ordering::SeqCst) > before).await;
    }

    /// Sends a request, and hangs up after a while, if it has not been answered by then.
    pub async fn send_and_hang_up_after(&self, case: &Case, pause: Duration) {
        let mut stream = self.send(case).await;
        let sent = Instant::now();
        while sent.elapsed() < pause {
            tokio::task::yield_now().await;
        }
        // A reset, where an answer has come that nobody reads.
        let _ = stream.try_read(&mut [0; 1]);
        let _ = stream.shutdown().await;
    }

    /// Waits until each node has done all of what was asked for or nothing, both the same, with as many
    /// events of it, and `at_least` so much was done. Returns how much.
    #[track_caller]
    pub fn settle<'a>(
        &'a self,
        cases: &'a [Case],
        log: &'a Log,
        at_least: usize,
    ) -> impl Future<Output = usize> + 'a {
        let at = std::panic::Location::caller();
        async move {
            let mut seen = Vec::new();
            for _ in 0..400 {
                seen.clear();
                for case in cases {
                    seen.push((case.asked, self.is_done(case).await));
                }
                let done = seen.iter().filter(|(_, done)| *done == Some(true)).count();
                let is_whole = seen.iter().all(|(_, done)| done.is_some());
                if is_whole && done >= at_least && accepted(log, cases[0].asked) == done {
                    return done;
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            let accepted = accepted(log, cases[0].asked);
            panic!("{at}: {accepted} events of {seen:?}");
        }
    }

    /// Whether what was asked for is done: nothing where it is on one node alone, or in part.
    async fn is_done(&self, case: &Case) -> Option<bool> {
        let mut signs = Vec::new();
        for tokens in &self.tokens {
            if let Some(jwt) = &case.jwt {
                signs.push(tokens.validator().validate(jwt.expose()).is_err());
            }
            if let Some(token) = &case.token {
                signs.push(tokens.find_session(token, &anywhere()).await.is_err());
            }
            match case.asked {
                Asked::Start => {
                    let (customer, page) = (Some(&case.customer), PageRequest::first(10));
                    let context = anywhere();
                    let listed = tokens.list_sessions(Actor::Host, customer, page, &context);
                    signs.push(listed.await.unwrap().total == 1);
                }
                Asked::ResetSecret => {
                    let (id, secret) = (case.machine.name(), &case.secret);
                    let issued = tokens.issue_machine_token(id, secret, &anywhere()).await;
                    signs.push(issued.is_err());
                }
                Asked::Disable => {
                    let found = tokens.find_entity(&case.machine).await.unwrap();
                    signs.push(found.unwrap().is_disabled());
                }
                _ => {}
            }
        }
        let is_whole = signs.iter().all(|sign| *sign == signs[0]);
        is_whole.then(|| signs[0])
    }
}

/// How many events say that it was done.
fn accepted(log: &Log, asked: Asked) -> usize {
    let events = log.audit();
    let is_of = |event: &&std::collections::BTreeMap<String, String>| {
        event["operation"] == asked.operation() && event["outcome"] == "accepted"
    };
    events.iter().filter(is_of).count()
}

/// Has clients hang up at random moments.
pub async fn a_caller_that_hangs_up_at_random_leaves_all_done_or_nothing(
    nodes: &Nodes,
    longest: Duration,
) {
    const EACH: usize = 40;
    let seed = crate::support::random() | 1;
    let mut random = seed;
    for asked in Asked::ALL {
        let mut cases = Vec::new();
        for _ in 0..EACH {
            cases.push(nodes.case(asked).await);
        }
        let log = Log::default();
        let _listening = log.listen();
        for case in &cases {
            // Xorshift.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let nanos = random % u64::try_from(longest.as_nanos()).unwrap();
            nodes.send_and_hang_up_after(case, Duration::from_nanos(nanos)).await;
        }
        println!("{asked:?}, seed {seed}");
        let done = nodes.settle(&cases, &log, 0).await;
        println!("{done} of {EACH} were done");
    }
}

/// Reads whatever is answered.
pub async fn answer_of(stream: &mut TcpStream) -> String {
    let mut head = [0; 64];
    let read = stream.read(&mut head).await.unwrap();
    String::from_utf8_lossy(&head[..read]).into_owned()
}
