//! A service with a user, a machine and a customer in it, and what is tried on its routes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::middleware::{Next, from_fn};
use countersign::policy::ThrottleLimit;
use countersign::store::{MemoryStore, SessionStore};
use countersign::{Algorithm, CustomerId, Entity, Grant, KeyRing, Password, Policy, SealingKey};
use http::{Method, Request};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::sessions::SESSIONS;
use crate::support::{
    Answer, Fixture, Outbox, PASSWORD, Server, TestClock, acl_of, clock_at_start, issue_now, send,
};

pub const USER_TOKEN: &str = "/user/token/generate";
pub const ENTITY_TOKEN: &str = "/entity/token/generate";
pub const JSON: &str = "application/json";
pub const SECRET: &str = "a secret that the tests know";
pub const NAME: &str = "josé@example.com";
pub const HOME: &str = "192.0.2.1";
pub const ELSEWHERE: &str = "198.51.100.7";
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3_600);
pub const DAY: Duration = Duration::from_secs(86_400);

/// Stands for the address that a request's connection comes from.
pub const PEER: &str = "x-test-peer";

/// Serves the routes, also below an organization, with each request's peer as its header says.
pub async fn serve(fixture: &Fixture) -> Server {
    let connect = from_fn(|mut request: axum::extract::Request, next: Next| async move {
        if let Some(peer) = request.headers_mut().remove(PEER) {
            let address: IpAddr = peer.to_str().unwrap().parse().unwrap();
            request.extensions_mut().insert(ConnectInfo(SocketAddr::new(address, 4_711)));
        }
        next.run(request).await
    });
    let routes = fixture.tokens.router();
    let host = Router::new().nest("/organizations/{organizationId}", routes.clone()).merge(routes);
    Server::start(host.layer(connect)).await
}

/// A user, an entity and a customer's credential of one name, each with a secret that is known.
pub async fn populated_service(policy: Policy) -> (Fixture, Server) {
    let fixture = Fixture::with(|builder| builder.policy(policy));
    fixture.user(NAME, json!([])).await;
    fixture.machine(NAME, SECRET).await;
    let hash = fixture.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    let customer = CustomerId::new("cus_1").unwrap();
    let credential = Entity::customer(NAME, hash, customer, false).unwrap();
    fixture.tokens.register(credential).await.unwrap();
    let server = serve(&fixture).await;
    (fixture, server)
}

/// One name has so many free failures from one address, and nothing else is limited.
pub fn by_name_and_address(free: u32) -> Policy {
    Policy::default().throttle(|throttle| {
        throttle
            .by_name(ThrottleLimit::unlimited())
            .by_address(ThrottleLimit::unlimited())
            .by_name_and_address(limit(free))
    })
}

pub fn limit(free: u32) -> ThrottleLimit {
    ThrottleLimit::new(free, DAY).delays(MINUTE, HOUR)
}

/// The routes that somebody logs in by.
#[derive(Clone, Copy, Debug)]
pub enum Login {
    User,
    Entity,
    Customer,
}

pub const LOGINS: [Login; 3] = [Login::User, Login::Entity, Login::Customer];

impl Login {
    pub fn path(self) -> &'static str {
        match self {
            Self::User => USER_TOKEN,
            Self::Entity => ENTITY_TOKEN,
            Self::Customer => SESSIONS,
        }
    }

    pub fn right(self) -> &'static str {
        if matches!(self, Self::Entity) { SECRET } else { PASSWORD }
    }

    pub fn request(
        self,
        path: &str,
        headers: &[(&str, &str)],
        name: &str,
        secret: &str,
    ) -> Request<String> {
        let body = match self {
            Self::Entity => json!({"id": name, "secret": secret}),
            Self::User | Self::Customer => json!({"username": name, "password": secret}),
        };
        let mut request = Request::builder().method(Method::POST).uri(path);
        for (header, value) in headers {
            request = request.header(*header, *value);
        }
        request.header("content-type", JSON).body(body.to_string()).unwrap()
    }

    /// Tries a secret from an address.
    pub async fn attempt(self, server: &Server, from: &str, name: &str, secret: &str) -> Answer {
        server.send(self.request(self.path(), &[(PEER, from)], name, secret)).await
    }

    pub async fn guess(self, server: &Server, from: &str, name: &str) -> u16 {
        self.attempt(server, from, name, "a guess").await.status().as_u16()
    }

    /// Whether the owner of [`NAME`] gets in.
    pub async fn owner_gets_in(self, server: &Server, from: &str) -> bool {
        let answer = self.attempt(server, from, NAME, self.right()).await;
        match answer.status().as_u16() {
            200 | 201 => true,
            429 => false,
            other => panic!("{other} in {answer:?}"),
        }
    }
}

#[track_caller]
pub fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().unwrap()
}

/// Sends requests all at once, and counts the statuses of their answers.
pub async fn at_once(
    requests: impl Iterator<Item = (SocketAddr, Request<String>)>,
) -> BTreeMap<u16, usize> {
    let mut running = JoinSet::new();
    for (address, request) in requests {
        running.spawn(async move { send(address, request).await.status().as_u16() });
    }
    let mut statuses = BTreeMap::new();
    for status in running.join_all().await {
        *statuses.entry(status).or_default() += 1;
    }
    statuses
}

pub async fn session_with_code(fixture: &Fixture) -> (String, String) {
    let token = fixture.session(|new| new.otp_required(true)).await;
    (token, fixture.outbox.last_code())
}

/// What the nodes of one service share.
pub struct Cluster {
    pub clock: TestClock,
    pub outbox: Outbox,
    pub keys: KeyRing,
    pub store: MemoryStore,
}

impl Cluster {
    pub fn new() -> Self {
        Self {
            clock: clock_at_start(),
            outbox: Outbox::default(),
            keys: KeyRing::generate(Algorithm::EdDSA).unwrap(),
            store: MemoryStore::new(),
        }
    }

    /// A node with the sealing keys that the bytes stand for, the first of which seals.
    pub fn node(
        &self,
        sealing_keys: &[u8],
        sessions: impl SessionStore,
        policy: Policy,
    ) -> Fixture {
        let fixture = Fixture::with_keys(self.keys.clone(), |builder| {
            let builder = builder
                .clock(self.clock.clone())
                .one_time_password_sender(self.outbox.clone())
                .entity_store(self.store.clone())
                .session_store(sessions)
                .policy(policy);
            let key = |byte: &u8| SealingKey::from_bytes([*byte; 32]);
            sealing_keys.iter().map(key).fold(builder, |builder, key| builder.sealing_key(key))
        });
        Fixture { clock: self.clock.clone(), outbox: self.outbox.clone(), ..fixture }
    }

    pub fn plain_node(&self) -> Fixture {
        self.node(&[1], self.store.clone(), Policy::default())
    }
}

/// The token of a user who may read and reset the secret of one entity.
pub fn manager_of(node: &Fixture, entity: &str) -> String {
    let permissions = ["ReadEntitySecret", "ResetEntitySecret"];
    let acl = json!([{"scope": {"entityId": [entity]}, "permissions": permissions}]);
    let issued = issue_now(&node.tokens, Grant::user("manager").acl(acl_of(acl))).unwrap();
    issued.access_token.expose().to_owned()
}

/// A request for the secret of an entity.
pub fn secret_request(entity: &str) -> Value {
    json!({
        "ver": "1.0.0", "timestamp": "2026-01-01T00:00:00Z", "txnId": "1", "entityId": entity,
    })
}

/// Reads or resets a secret.
pub async fn manage(server: &Server, node: &Fixture, operation: &str, entity: &str) -> Answer {
    let path = format!("/entity/secret/{operation}");
    server.post(&path, Some(&manager_of(node, entity)), &secret_request(entity)).await
}

#[track_caller]
pub fn secret_in(answer: Answer) -> String {
    answer.expect(200).json()["secret"].as_str().unwrap().to_owned()
}
