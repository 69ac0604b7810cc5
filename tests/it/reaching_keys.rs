//! How the keys of a trusted issuer are reached: what is asked for, through what, with what, and what is said where
//! they are not.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use countersign::faults::TokenFault;
use countersign::jose::SigningKey;
use countersign::testing::{TestClock, TestIssuer};
use countersign::trusted_issuer::{JwkSet, KeyFetcher};
use countersign::{Algorithm, Error, ErrorKind, Timestamp, TrustedIssuer, Validator};
use http::StatusCode;
use http::header::{ACCEPT, AUTHORIZATION, PROXY_AUTHORIZATION};
use serde_json::json;

use crate::support::programs::{Folder, free_address};
use crate::support::{AUDIENCE, Server, clock_at_start};

const MINUTE: Duration = Duration::from_secs(60);
const IDP: &str = "https://idp.example.com";

fn issuer() -> TestIssuer {
    TestIssuer::named(IDP)
        .signing_with(SigningKey::generate(Algorithm::EdDSA).unwrap())
        .by_clock(clock_at_start())
}

fn trusted(name: &str) -> TrustedIssuer {
    TrustedIssuer::new(name).audience(AUDIENCE).dangerous_allow_http()
}

fn trusting(clock: &TestClock, trusted: TrustedIssuer) -> Validator {
    Validator::for_issuers([trusted]).clock(clock.clone()).build().unwrap()
}

/// What its error says where the keys cannot be fetched, with all causes.
async fn failure(validator: &Validator) -> String {
    let error = validator.fetch_keys().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn url(server: &Server, path: &str) -> String {
    format!("http://{}{path}", server.address)
}

/// A server of keys at `/jwks.json`, for those alone whom it wants.
async fn picky(
    set: String,
    wants: impl Fn(&Request) -> StatusCode + Clone + Send + Sync + 'static,
) -> Server {
    let answer = move |request: Request| async move {
        match wants(&request) {
            StatusCode::OK => Ok(set),
            status => Err(status),
        }
    };
    Server::start(Router::new().route("/jwks.json", get(answer.clone())).fallback(answer)).await
}

fn header(request: &Request, name: http::HeaderName) -> String {
    let value = request.headers().get(name);
    value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_set_that_is_served_as_a_jwk_set_alone_is_asked_for_as_one() {
    let issuer = issuer();
    let server = picky(issuer.jwks(), |request| {
        let accepted = header(request, ACCEPT);
        let names_it = accepted.split(',').any(|one| one.trim() == "application/jwk-set+json");
        if names_it { StatusCode::OK } else { StatusCode::NOT_ACCEPTABLE }
    })
    .await;
    let validator = trusting(issuer.clock(), trusted(IDP).jwks_url(url(&server, "/jwks.json")));
    validator.fetch_keys().await.unwrap();
    validator.validate(&issuer.token().sign()).unwrap();
}

#[tokio::test]
async fn a_bearer_is_read_again_at_each_fetch_and_is_sent_to_no_other_origin() {
    let (issuer, folder) = (issuer(), Folder::new("bearer"));
    let file = folder.write("token", "first-canary\n");
    let wanted = Arc::new(Mutex::new("Bearer first-canary"));
    let shared = Arc::clone(&wanted);
    let server = picky(issuer.jwks(), move |request| {
        let is_right = header(request, AUTHORIZATION) == *shared.lock().unwrap();
        if is_right { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
    })
    .await;
    let cluster = trusted(IDP).jwks_url(url(&server, "/jwks.json")).bearer_file(&file);
    let validator = trusting(issuer.clock(), cluster.max_staleness(5 * MINUTE));
    validator.fetch_keys().await.unwrap();

    *wanted.lock().unwrap() = "Bearer second-canary";
    issuer.clock().advance(60 * MINUTE);
    let text = failure(&validator).await;
    assert!(text.contains("status 401") && !text.contains("canary"), "{text}");
    folder.write("token", "second-canary");
    issuer.clock().advance(MINUTE);
    validator.fetch_keys().await.unwrap();

    // Another port is another origin.
    let sent = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&sent);
    let elsewhere = picky(issuer.jwks(), move |request| {
        *seen.lock().unwrap() = Some(header(request, AUTHORIZATION));
        StatusCode::OK
    })
    .await;
    let keys = url(&elsewhere, "/jwks.json");
    let metadata = get(move |request: Request| async move {
        assert_eq!(header(&request, AUTHORIZATION), "Bearer second-canary");
        let name = format!("http://{}", header(&request, http::header::HOST));
        json!({"issuer": name, "jwks_uri": keys}).to_string()
    });
    let app = Router::new().route("/.well-known/oauth-authorization-server", metadata);
    let server = Server::start(app).await;
    let discovering = trusted(&url(&server, "")).bearer_file(&file);
    trusting(issuer.clock(), discovering).fetch_keys().await.unwrap();
    assert_eq!(sent.lock().unwrap().as_deref(), Some(""));
}

#[tokio::test]
async fn where_the_first_metadata_hang_the_second_are_asked_within_the_deadline() {
    let issuer = issuer();
    let set = issuer.jwks();
    let metadata = get(|request: Request| async move {
        let name = format!("http://{}", header(&request, http::header::HOST));
        json!({"issuer": name, "jwks_uri": format!("{name}/jwks.json")}).to_string()
    });
    let hangs = get(|| async { std::future::pending::<String>().await });
    for (first, second) in [(hangs.clone(), metadata.clone()), (metadata, hangs)] {
        let set = set.clone();
        let app = Router::new()
            .route("/.well-known/oauth-authorization-server", first)
            .route("/.well-known/openid-configuration", second)
            .route("/jwks.json", get(|| async { set }));
        let server = Server::start(app).await;
        let discovering = trusted(&url(&server, "")).fetch_timeout(Duration::from_secs(10));
        trusting(issuer.clock(), discovering).fetch_keys().await.unwrap();
    }
}

#[tokio::test]
async fn keys_are_fetched_through_the_hosts_proxy_and_its_password_is_shown_nowhere() {
    let issuer = issuer();
    let proxy = picky(issuer.jwks(), |request| {
        let is_for_us = *request.uri() == "http://idp.invalid/jwks.json";
        let is_known = header(request, PROXY_AUTHORIZATION).starts_with("Basic ");
        if is_for_us && is_known { StatusCode::OK } else { StatusCode::BAD_GATEWAY }
    })
    .await;
    let proxied = trusted(IDP)
        .jwks_url("http://idp.invalid/jwks.json")
        .proxy(format!("http://svc:pass-word@{}", proxy.address));
    let shown = format!("{proxied:?}");
    let validator = trusting(issuer.clock(), proxied);
    validator.fetch_keys().await.unwrap();
    for shown in [shown, format!("{validator:?}")] {
        assert!(!shown.contains("pass-word"), "{shown}");
    }
    let bad = trusted(IDP).jwks_url("http://idp.invalid/").proxy("http://pass-word@");
    let error = Validator::for_issuers([bad]).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(!format!("{error:?}").contains("pass-word"), "{error:?}");
}

/// A server with a certificate by an authority that nobody else knows.
struct TlsServer {
    child: Child,
    address: SocketAddr,
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn openssl(folder: &Folder, arguments: &str) {
    let mut command = Command::new("openssl");
    command.current_dir(folder.path()).args(arguments.split(' '));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

impl TlsServer {
    async fn start(folder: &Folder, set: &str) -> Self {
        let ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        openssl(
            folder,
            &format!("req -x509 {ec} -keyout ca.key -out ca.pem -days 30 -subj /CN=authority"),
        );
        openssl(folder, &format!("req {ec} -keyout key.pem -out request.pem -subj /CN=localhost"));
        folder.write("names", "subjectAltName=IP:127.0.0.1,DNS:localhost");
        openssl(
            folder,
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
             -extfile names -out cert.pem",
        );
        // It serves a file as the whole of a response.
        let head = "HTTP/1.0 200 OK\r\nContent-Type: application/jwk-set+json\r\n\r\n";
        folder.write("jwks.json", &format!("{head}{set}"));
        let address = free_address();
        let child = Command::new("openssl")
            .current_dir(folder.path())
            .args(["s_server", "-quiet", "-HTTP", "-cert", "cert.pem", "-key", "key.pem"])
            .args(["-accept", &address.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, address };
        let listening = async {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(MINUTE, listening).await.unwrap();
        server
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_its_certificate_is_given_and_nowhere_else() {
    let (issuer, folder) = (issuer(), Folder::new("authority"));
    let server = TlsServer::start(&folder, &issuer.jwks()).await;
    let at = |trusted: TrustedIssuer| {
        trusted.audience(AUDIENCE).jwks_url(format!("https://{}/jwks.json", server.address))
    };
    let text = failure(&trusting(issuer.clock(), at(TrustedIssuer::new(IDP)))).await;
    assert!(text.contains("TLS failed") && text.contains("certificate"), "{text}");

    let root = std::fs::read(folder.path().join("ca.pem")).unwrap();
    let trusted = at(TrustedIssuer::new(IDP)).root_certificate(root);
    let validator = trusting(issuer.clock(), trusted);
    validator.fetch_keys().await.unwrap();
    validator.validate(&issuer.token().sign()).unwrap();

    for pem in
        ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
    {
        let trusted = at(TrustedIssuer::new(IDP)).root_certificate(pem);
        let error = Validator::for_issuers([trusted]).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{pem}");
    }
}

#[test]
fn keys_of_the_host_are_used_at_once_without_a_runtime_and_no_longer_than_they_are_good() {
    let issuer = issuer();
    let validator = trusting(issuer.clock(), trusted(IDP).keys(issuer.keys().clone()));
    let (old, kid) = (issuer.token().sign(), issuer.keys().active().unwrap().kid().to_owned());
    validator.validate(&old).unwrap();
    issuer.rotate();
    validator.validate(&issuer.token().sign()).unwrap();
    validator.validate(&old).unwrap();
    // From an instant on: nothing happens to the ring when it comes.
    let until = Timestamp::from_secs(countersign::clock::Clock::now(issuer.clock()).as_secs() + 10);
    issuer.keys().retire(&kid, until).unwrap();
    validator.validate(&old).unwrap();
    issuer.clock().set(until);
    assert_eq!(validator.validate(&old).unwrap_err(), TokenFault::UnknownKey);
    validator.validate(&issuer.token().sign()).unwrap();
}

#[tokio::test]
async fn a_file_of_keys_is_read_again_by_the_rules_of_those_that_are_fetched() {
    let (issuer, folder) = (issuer(), Folder::new("jwks"));
    let file = folder.write("jwks.json", &issuer.jwks());
    let validator = trusting(issuer.clock(), trusted(IDP).jwks_file(&file));
    let old = issuer.token().sign();
    validator.validate_fetching(&old).await.unwrap();

    let kid = issuer.keys().active().unwrap().kid().to_owned();
    issuer.rotate();
    issuer.retire(&kid);
    folder.write("jwks.json", &issuer.jwks());
    let new = issuer.token().sign();
    assert_eq!(validator.validate_fetching(&new).await.unwrap_err(), TokenFault::UnknownKey);
    issuer.clock().advance(MINUTE);
    validator.validate_fetching(&new).await.unwrap();
    assert_eq!(validator.validate_fetching(&old).await.unwrap_err(), TokenFault::UnknownKey);

    // Cut off, it is no set: what is known serves on.
    std::fs::write(&file, "{\"keys\": [").unwrap();
    issuer.clock().advance(9 * MINUTE);
    validator.validate_fetching(&new).await.unwrap();

    std::fs::remove_file(&file).unwrap();
    let fresh = trusting(issuer.clock(), trusted(IDP).jwks_file(&file));
    assert!(failure(&fresh).await.contains("the file of the JWK Set cannot be read"));
}

/// Keys by a way of the host's own.
#[derive(Debug)]
struct OwnWay {
    set: Option<String>,
    fetches: Arc<AtomicUsize>,
}

#[async_trait::async_trait]
impl KeyFetcher for OwnWay {
    async fn fetch(&self) -> Result<JwkSet, Error> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let set = self.set.clone();
        let set = set.ok_or_else(|| Error::new(ErrorKind::Unavailable, "the sidecar is down"))?;
        Ok(JwkSet::new(set).max_age(20 * MINUTE))
    }

    fn name(&self) -> String {
        "sidecar".to_owned()
    }
}

#[tokio::test]
async fn keys_come_by_a_way_of_the_hosts_own_and_are_kept_as_long_as_it_says() {
    let (issuer, fetches) = (issuer(), Arc::new(AtomicUsize::new(0)));
    let own_way = OwnWay { set: Some(issuer.jwks()), fetches: Arc::clone(&fetches) };
    let validator = trusting(issuer.clock(), trusted(IDP).key_fetcher(own_way));
    let token = issuer.token().sign();
    validator.validate_fetching(&token).await.unwrap();
    issuer.clock().advance(14 * MINUTE);
    validator.validate_fetching(&token).await.unwrap();
    assert_eq!(fetches.load(Ordering::SeqCst), 1);

    let down = OwnWay { set: None, fetches };
    let validator = trusting(issuer.clock(), trusted(IDP).key_fetcher(down));
    let text = failure(&validator).await;
    assert!(text.contains(IDP) && text.contains("the sidecar is down"), "{text}");
}

#[tokio::test]
async fn why_keys_cannot_be_fetched_is_told_with_the_cause() {
    let clock = clock_at_start();
    let named = |name: &'static str| {
        move || async move { json!({"issuer": name, "jwks_uri": "https://idp.test/"}).to_string() }
    };
    let app = Router::new()
        .route("/hangs", get(|| async { std::future::pending::<String>().await }))
        .route("/html", get(|| async { "<html>Sign in</html>" }))
        .route("/no-keys", get(|| async { r#"{"keys": []}"# }))
        .route("/long", get(|| async { " ".repeat(100_000) }))
        .route("/other/.well-known/openid-configuration", get(named("https://other.test")))
        .route("/bare/.well-known/openid-configuration", get(|| async { "{}" }));
    let server = Server::start(app).await;
    let closed = free_address();
    let at = |path: &str| {
        trusted(IDP).jwks_url(url(&server, path)).fetch_timeout(Duration::from_millis(300))
    };
    for (trusted, why) in [
        (at("/hangs"), "timed out"),
        (at("/missing"), "status 404"),
        (at("/html"), "the JWK Set"),
        (at("/no-keys"), "no key of use"),
        (at("/long"), "too long"),
        (trusted(IDP).jwks_url(format!("http://{closed}/")), "the connection failed"),
        (
            TrustedIssuer::new(IDP)
                .audience(AUDIENCE)
                .jwks_url(url(&server, "/").replace("http:", "https:")),
            "TLS failed",
        ),
        (
            trusted(&url(&server, "/other")),
            "the issuer in the metadata is another one: \"https://other.test\"",
        ),
        (trusted(&url(&server, "/bare")), "the issuer in the metadata is another one"),
        (trusted(&url(&server, "/none")), "status 404"),
        (at("/html").bearer_file("/nowhere/token"), "the bearer file cannot be read"),
    ] {
        let shown = format!("{trusted:?}");
        let text = failure(&trusting(&clock, trusted)).await;
        assert!(text.contains(why), "{text}: {shown}");
    }
}

#[test]
fn keys_are_in_one_place() {
    let ring = issuer().keys().clone();
    let elsewhere = || trusted(IDP).keys(ring.clone());
    Validator::for_issuers([elsewhere()]).build().unwrap();
    for bad in [
        elsewhere().jwks_url("https://idp.example.com/keys"),
        elsewhere().root_certificate("x"),
        elsewhere().proxy("http://proxy.example.com"),
        elsewhere().bearer_file("/token"),
    ] {
        let error = Validator::for_issuers([bad]).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    }
}
