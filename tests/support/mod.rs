//! A service with a clock that tests move, served over HTTP, and a client for it.

pub mod durable;
pub mod hang_ups;
pub mod jose;
pub mod log;
pub mod managed_keys;
pub mod models;
pub mod problems;
pub mod programs;
pub mod releases;
pub mod repeats;
pub mod sessions;
pub mod shared_cache;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Mutex};

use axum::Router;
use countersign::builder::{KeySource, TokenServiceBuilder};
use countersign::entities::PasswordChange;
use countersign::sessions::{OneTimePasswordMessage, OneTimePasswordSender};
use countersign::tokens::IssuedToken;
use countersign::{
    Acl, Actor, Algorithm, AuthenticationToken, CustomerId, Entity, EntityId, Error, Grant,
    KeyRing, NewSession, Password, RequestContext, Secret, TokenService,
};
use futures_util::FutureExt as _;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::runtime::{Handle, Runtime};

pub use countersign::testing::TestClock;

pub const ISSUER: &str = "https://auth.example.com";
pub const AUDIENCE: &str = "https://api.example.com";
pub const PASSWORD: &str = "correct horse battery staple";
/// 2026-01-01T00:00:00Z
pub const START: u64 = 1_767_225_600;

/// A clock that stands at [`START`], a whole second, so that instants are easy to name.
pub fn clock_at_start() -> TestClock {
    TestClock::at(countersign::Timestamp::from_secs(START))
}

/// Keeps the one-time passwords that were sent.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    sent: Arc<Mutex<Vec<OneTimePasswordMessage>>>,
    broken: Arc<std::sync::atomic::AtomicBool>,
}

impl Outbox {
    #[track_caller]
    pub fn last(&self) -> OneTimePasswordMessage {
        self.sent.lock().unwrap().last().expect("a code was sent").clone()
    }

    /// The code that was sent last.
    #[track_caller]
    pub fn last_code(&self) -> String {
        self.last().one_time_password.expose().to_owned()
    }

    pub fn count(&self) -> usize {
        self.sent.lock().unwrap().len()
    }

    /// From now on nothing can be sent, until it is mended.
    pub fn break_down(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }

    pub fn mend(&self) {
        self.broken.store(false, Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl OneTimePasswordSender for Outbox {
    async fn send(
        &self,
        message: OneTimePasswordMessage,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if self.broken.load(Ordering::SeqCst) {
            return Err("smtp.internal:25 does not answer".into());
        }
        self.sent.lock().unwrap().push(message);
        Ok(())
    }
}

/// A service over memory, its clock and what it sent.
#[derive(Clone, Debug)]
pub struct Fixture {
    pub tokens: TokenService,
    pub clock: TestClock,
    pub outbox: Outbox,
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(|builder| builder)
    }

    /// A fixture whose builder a test changes first.
    pub fn with(change: impl FnOnce(TokenServiceBuilder) -> TokenServiceBuilder) -> Self {
        Self::with_keys(KeyRing::generate(Algorithm::EdDSA).unwrap(), change)
    }

    /// The same, with keys of the test's own.
    pub fn with_keys(
        keys: impl Into<KeySource>,
        change: impl FnOnce(TokenServiceBuilder) -> TokenServiceBuilder,
    ) -> Self {
        let (clock, outbox) = (clock_at_start(), Outbox::default());
        let builder = TokenService::builder()
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .keys(keys)
            .clock(clock.clone())
            .one_time_password_sender(outbox.clone());
        Self { tokens: change(builder).build().unwrap(), clock, outbox }
    }

    /// Registers a user with [`PASSWORD`].
    pub async fn user(&self, name: &str, acl: Value) {
        let hash = self.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
        let user = Entity::user(name, hash).unwrap().acl(acl_of(acl));
        self.tokens.register(user).await.unwrap();
    }

    /// Registers an entity with a known secret.
    pub async fn machine(&self, id: &str, secret: &str) {
        self.tokens.register(Entity::machine(id).unwrap()).await.unwrap();
        let secret = Secret::dangerous_from_text(secret).unwrap();
        let id = EntityId::machine(id).unwrap();
        self.tokens.import_secret(&id, &secret, None).await.unwrap();
    }

    /// Starts a session of `cus_1` and answers its authentication token.
    pub async fn session(&self, change: impl FnOnce(NewSession) -> NewSession) -> String {
        let new = NewSession::of(CustomerId::new("cus_1").unwrap());
        let started = self
            .tokens
            .start_session(Actor::Host, change(new), &RequestContext::without_address())
            .await
            .unwrap();
        started.token.expose().to_owned()
    }

    /// A user's access token.
    pub async fn user_token(&self, name: &str) -> String {
        let password = Password::new(PASSWORD).unwrap();
        let issued = self
            .tokens
            .issue_user_token(name, password, &RequestContext::without_address())
            .await
            .unwrap();
        issued.access_token.expose().to_owned()
    }

    /// Serves the documented routes.
    pub async fn serve(&self) -> Server {
        Server::start(self.tokens.router()).await
    }
}

/// Issues a token over a store that answers at once.
pub fn issue_now(tokens: &TokenService, grant: Grant) -> Result<IssuedToken, Error> {
    // What measures a store's time needs a runtime, if only to begin.
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    let _entered = Handle::try_current().is_err().then(|| RUNTIME.enter());
    tokens.issue(grant).now_or_never().expect("a store that answers at once")
}

pub fn acl_of(value: Value) -> Acl {
    serde_json::from_value(value).unwrap()
}

/// The names of an object's members, in the order of the alphabet.
#[track_caller]
pub fn member_names(object: &Value) -> Vec<String> {
    let mut names: Vec<_> = object.as_object().unwrap().keys().cloned().collect();
    names.sort();
    names
}

/// A router on a port of the loopback, until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Server {
    pub async fn start(router: Router) -> Self {
        let (listener, address) = Self::listen();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, serving }
    }

    /// Tells the router where connections come from.
    pub async fn start_with_addresses(router: Router) -> Self {
        let (listener, address) = Self::listen();
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let serving = tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        Self { address, serving }
    }

    fn listen() -> (tokio::net::TcpListener, SocketAddr) {
        // Room for all of those that tests send at once: the kernel resets what finds no place.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let listener = socket.listen(4_096).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    pub async fn send(&self, request: Request<impl Into<Bytes>>) -> Answer {
        send(self.address, request).await
    }

    /// Posts JSON, with a bearer token where one is given.
    pub async fn post(&self, path: &str, bearer: Option<&str>, body: &Value) -> Answer {
        self.post_text(path, bearer, Some("application/json"), body.to_string()).await
    }

    pub async fn post_text(
        &self,
        path: &str,
        bearer: Option<&str>,
        content_type: Option<&str>,
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder().method(Method::POST).uri(path);
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        if let Some(token) = bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        self.send(request.body(body).unwrap()).await
    }

    pub async fn get(&self, path: &str, bearer: Option<&str>) -> Answer {
        let mut request = Request::builder().uri(path);
        if let Some(token) = bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        self.send(request.body("").unwrap()).await
    }
}

/// Sends one request on a connection of its own.
pub async fn send(address: SocketAddr, request: Request<impl Into<Bytes>>) -> Answer {
    try_send(address, request).await.unwrap()
}

/// Writes bytes as they are, and reads what comes back until the server hangs up.
pub async fn send_raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    // A server that does not read the rest of a body may reset the connection behind its answer.
    let _ = stream.write_all(request).await;
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

/// Why a request has no answer.
#[derive(Debug)]
#[allow(dead_code, reason = "the causes are there to be read when a test fails")]
pub enum Unanswered {
    /// Nobody listened, so nothing was sent.
    Rejected(std::io::Error),
    /// The connection ended. The request may have been carried out.
    Lost(hyper::Error),
}

/// The same, to a server that may be gone, or go away meanwhile.
pub async fn try_send(
    address: SocketAddr,
    request: Request<impl Into<Bytes>>,
) -> Result<Answer, Unanswered> {
    let stream = tokio::net::TcpStream::connect(address).await.map_err(Unanswered::Rejected)?;
    ask_over(stream, request).await.map_err(Unanswered::Lost)
}

/// Sends one request over a connection that is there.
pub async fn send_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<impl Into<Bytes>>,
) -> Answer {
    ask_over(stream, request).await.unwrap()
}

async fn ask_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<impl Into<Bytes>>,
) -> Result<Answer, hyper::Error> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driving = tokio::spawn(connection);
    let mut request = request.map(|body| Full::new(body.into()));
    request.headers_mut().insert("host", "localhost".parse().unwrap());
    let answering = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { response: Response::from_parts(parts, body) })
    };
    let answer = answering.await;
    driving.abort();
    answer
}

/// A response that was read to its end.
#[derive(Debug)]
pub struct Answer {
    response: Response<Bytes>,
}

impl Answer {
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers().get(name).unwrap_or_else(|| panic!("no {name} in {self:?}"));
        value.to_str().unwrap()
    }

    pub fn body(&self) -> &[u8] {
        self.response.body()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.response.body()).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(self.response.body())
            .unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The same, if its status is as expected.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status().as_u16(), status, "{self:?}");
        self
    }
}

/// A number that is another one each time, and in each process.
pub fn random() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    RandomState::new().build_hasher().finish()
}

/// The kid that a token names.
pub fn kid_of(token: &str) -> String {
    let header = jose::base64url_decode(token.split('.').next().unwrap());
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// A change of a password that needs nothing but the old one.
pub fn change_of(id: EntityId, old: &str, new: &str) -> PasswordChange {
    let [old, new] = [old, new].map(|text| Password::new(text).unwrap());
    PasswordChange::new(id, old, new)
}

/// A code of the same form that is not it.
pub fn wrong_code_for(code: &str) -> String {
    let last = if code.ends_with('0') { "1" } else { "0" };
    format!("{}{last}", &code[..code.len() - 1])
}

/// A name that nobody else has.
pub fn unique(prefix: &str) -> String {
    let token = AuthenticationToken::generate().unwrap();
    let tail: String = token.expose().bytes().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{prefix}{}", &tail[..24])
}
