//! Tokens that a validator rejects. Each is forged by hand, and differs in one thing from a token
//! that is accepted.

mod algorithms;
mod claims;
mod form;
mod keys;
mod random_json;
#[cfg(feature = "remote-jwks")]
mod trusted;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use countersign::builder::ValidatorBuilder;
use countersign::faults::TokenFault;
use countersign::jose::{CryptoProvider as _, DefaultProvider, PrivateKey, Signer, SigningKey};
use countersign::{Algorithm, KeyRing, Validated, Validator};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::support::jose::{base64url_encode, private_key};
use crate::support::{AUDIENCE, Answer, Fixture, ISSUER, START, Server, TestClock};

/// The members of a JSON object, with values as they are to be written.
#[derive(Clone)]
struct Members(Vec<(String, String)>);

impl Members {
    fn of(members: &[(&str, &str)]) -> Self {
        Self(members.iter().map(|(name, raw)| ((*name).into(), (*raw).into())).collect())
    }

    /// In place of the member of that name, or as the last one.
    fn with(mut self, name: &str, raw: impl Into<String>) -> Self {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, value)) => *value = raw.into(),
            None => self.0.push((name.into(), raw.into())),
        }
        self
    }

    /// As the last one, whether or not there is one of that name.
    fn and(mut self, name: &str, raw: impl Into<String>) -> Self {
        self.0.push((name.into(), raw.into()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        let before = self.0.len();
        self.0.retain(|(known, _)| known != name);
        assert_eq!(self.0.len(), before - 1, "{name}");
        self
    }

    /// Names are written as they are, so that they may hold escapes.
    fn text(&self) -> String {
        let members: Vec<_> =
            self.0.iter().map(|(name, raw)| format!("\"{name}\":{raw}")).collect();
        format!("{{{}}}", members.join(","))
    }
}

/// Somebody with a key of their own, and that key as a JWK.
fn stranger() -> (Forger, String) {
    let private = DefaultProvider.generate(Algorithm::EdDSA).unwrap();
    let key = SigningKey::new(&private, &DefaultProvider).unwrap();
    (Forger::of(&private), key.verifying_key().to_jwk().unwrap().to_string())
}

/// An address at which nobody may ask for keys.
fn watched_address() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = quoted(&format!("http://{}/jwks.json", listener.local_addr().unwrap()));
    (listener, url)
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Good claims, which expire in an hour.
fn claims() -> Members {
    Members::of(&[
        ("iss", &quoted(ISSUER)),
        ("sub", "\"cus_1\""),
        ("subject_type", "\"customer\""),
        ("aud", &quoted(AUDIENCE)),
        ("iat", &START.to_string()),
        ("nbf", &START.to_string()),
        ("exp", &(START + 3_600).to_string()),
        ("jti", "\"jwt_1\""),
        ("client_id", "\"first-party\""),
        ("acl", r#"[{"scope":{},"permissions":["GetOrders"]}]"#),
    ])
}

/// A private key in the hands of whoever forges.
struct Forger {
    algorithm: Algorithm,
    kid: String,
    signer: Box<dyn Signer>,
}

impl Forger {
    fn of(key: &PrivateKey) -> Self {
        let signer = DefaultProvider.signer(key).unwrap();
        let signing = SigningKey::new(key, &DefaultProvider).unwrap();
        Self { algorithm: key.algorithm(), kid: signing.kid().to_owned(), signer }
    }

    /// One who signs HS256 with bytes that no constructor takes as a secret.
    fn with_hmac(secret: &[u8], kid: &str) -> Self {
        let key = PrivateKey::Hmac(Zeroizing::new(secret.to_vec()));
        let signer = DefaultProvider.signer(&key).unwrap();
        Self { algorithm: Algorithm::HS256, kid: kid.to_owned(), signer }
    }

    /// A good header.
    fn header(&self) -> Members {
        Members::of(&[
            ("alg", &quoted(self.algorithm.as_str())),
            ("kid", &quoted(&self.kid)),
            ("typ", "\"at+jwt\""),
        ])
    }

    fn forge(&self, header: &Members, claims: &Members) -> String {
        self.forge_bytes(header.text(), claims.text())
    }

    fn forge_bytes(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        self.forge_segments(&base64url_encode(header), &base64url_encode(claims))
    }

    fn forge_segments(&self, header: &str, payload: &str) -> String {
        let input = format!("{header}.{payload}");
        let signature = self.signer.sign(input.as_bytes()).unwrap();
        format!("{input}.{}", base64url_encode(signature))
    }
}

/// A validator, and one who has the key that it trusts.
struct Target {
    key: SigningKey,
    forger: Forger,
    validator: Validator,
    /// The same, and it remembers no token.
    forgetful: Validator,
    clock: TestClock,
}

impl Target {
    fn new() -> Self {
        Self::of(Algorithm::EdDSA)
    }

    fn of(algorithm: Algorithm) -> Self {
        let private = private_key(algorithm);
        let key = SigningKey::new(&private, &DefaultProvider).unwrap();
        let clock = TestClock::new();
        let ring = KeyRing::new(key.clone());
        let forgetful = building(ring.clone(), &clock).token_cache_bytes(0).build().unwrap();
        let validator = validator(ring, &clock);
        let target = Self { key, forger: Forger::of(&private), validator, forgetful, clock };
        target.accepts(&target.good());
        target
    }

    fn good(&self) -> String {
        self.forger.forge(&self.forger.header(), &claims())
    }

    fn with_header(&self, header: &Members) -> String {
        self.forger.forge(header, &claims())
    }

    fn with_claims(&self, claims: &Members) -> String {
        self.forger.forge(&self.forger.header(), claims)
    }

    /// When it comes, when it comes again, and where it is not remembered.
    #[track_caller]
    fn accepts(&self, token: &str) -> Arc<Validated> {
        accepts(&self.forgetful, token);
        accepts(&self.validator, token);
        accepts(&self.validator, token)
    }

    #[track_caller]
    fn rejects(&self, token: &str, fault: TokenFault) {
        rejects(&self.forgetful, token, fault);
        rejects(&self.validator, token, fault);
        rejects(&self.validator, token, fault);
    }

    #[track_caller]
    fn accepts_header(&self, header: &Members) {
        self.accepts(&self.with_header(header));
    }

    #[track_caller]
    fn rejects_header(&self, header: &Members, fault: TokenFault) {
        self.rejects(&self.with_header(header), fault);
    }

    #[track_caller]
    fn accepts_claims(&self, claims: &Members) -> Arc<Validated> {
        self.accepts(&self.with_claims(claims))
    }

    #[track_caller]
    fn rejects_claims(&self, claims: &Members, fault: TokenFault) {
        self.rejects(&self.with_claims(claims), fault);
    }
}

fn building(keys: KeyRing, clock: &TestClock) -> ValidatorBuilder {
    Validator::builder().issuer(ISSUER).audience(AUDIENCE).keys(keys).clock(Arc::new(clock.clone()))
}

fn validator(keys: KeyRing, clock: &TestClock) -> Validator {
    building(keys, clock).build().unwrap()
}

#[track_caller]
fn accepts(validator: &Validator, token: &str) -> Arc<Validated> {
    validator.validate(token).unwrap_or_else(|fault| panic!("{fault:?}: {}", readable(token)))
}

#[track_caller]
fn rejects(validator: &Validator, token: &str, fault: TokenFault) {
    match validator.validate(token) {
        Ok(_) => panic!("accepted: {}", readable(token)),
        Err(found) => assert_eq!(found, fault, "{}", readable(token)),
    }
}

fn readable(token: &str) -> String {
    use base64::Engine as _;
    let decoded = token.split('.').take(2).map(|segment| {
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(segment);
        bytes.map_or(segment.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    });
    decoded.collect::<Vec<_>>().join(" . ").chars().take(2_000).collect()
}

/// A host whose one route is behind a layer that validates, and one who has its key.
async fn guarded_host() -> (Forger, Server) {
    let private = private_key(Algorithm::EdDSA);
    let key = SigningKey::new(&private, &DefaultProvider).unwrap();
    let fixture = Fixture::with_keys(KeyRing::new(key), |builder| builder);
    let host = Router::new().route("/", get(|| async { "let through" }));
    let server = Server::start(host.layer(fixture.tokens.validate_layer())).await;
    let forger = Forger::of(&private);
    let good = forger.forge(&forger.header(), &claims());
    assert_eq!(server.get("/", Some(&good)).await.expect(200).text(), "let through");
    (forger, server)
}

#[track_caller]
fn assert_challenged(answer: &Answer, status: u16, error: &str) {
    assert_eq!(answer.status().as_u16(), status, "{answer:?}");
    let challenge = answer.header("www-authenticate");
    assert!(challenge.starts_with("Bearer realm=\""), "{challenge}");
    assert!(challenge.contains(&format!("error=\"{error}\"")), "{challenge}");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(!answer.text().contains("let through"));
}
