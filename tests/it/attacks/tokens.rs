//! Tokens that a validator refuses. Each is forged by hand, and differs in one thing from a token
//! that is accepted.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use countersign::jose::{CryptoProvider as _, VerificationKey};
use countersign::jose::{DefaultProvider, PrivateKey, Signer, SigningKey, VerifyingKey};
use countersign::{
    Algorithm, KeyRing, Timestamp, TokenFault, Validated, Validator, ValidatorBuilder,
};
use http::Request;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::keys::{
    ED25519_SPKI, P256_ORDER, P256_SPKI, RSA_PUBLIC_PKCS1, RSA_SPKI, SMALL_ORDER,
    assert_invalid_key, bytes, private_key, providers, text,
};
use crate::support::{AUDIENCE, Answer, Fixture, ISSUER, START, Server, TestClock};

const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256, Algorithm::HS256];

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
        self.forge_segments(&text(header), &text(claims))
    }

    fn forge_segments(&self, header: &str, payload: &str) -> String {
        let input = format!("{header}.{payload}");
        let signature = self.signer.sign(input.as_bytes()).unwrap();
        format!("{input}.{}", text(signature))
    }
}

/// A validator, and one who has the key that it trusts.
struct House {
    key: SigningKey,
    forger: Forger,
    validator: Validator,
    /// The same, and it remembers no token.
    forgetful: Validator,
    clock: TestClock,
}

impl House {
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
        let house = Self { key, forger: Forger::of(&private), validator, forgetful, clock };
        house.accepts(&house.good());
        house
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
    fn refuses(&self, token: &str, fault: TokenFault) {
        refuses(&self.forgetful, token, fault);
        refuses(&self.validator, token, fault);
        refuses(&self.validator, token, fault);
    }

    #[track_caller]
    fn accepts_header(&self, header: &Members) {
        self.accepts(&self.with_header(header));
    }

    #[track_caller]
    fn refuses_header(&self, header: &Members, fault: TokenFault) {
        self.refuses(&self.with_header(header), fault);
    }

    #[track_caller]
    fn accepts_claims(&self, claims: &Members) -> Arc<Validated> {
        self.accepts(&self.with_claims(claims))
    }

    #[track_caller]
    fn refuses_claims(&self, claims: &Members, fault: TokenFault) {
        self.refuses(&self.with_claims(claims), fault);
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
fn refuses(validator: &Validator, token: &str, fault: TokenFault) {
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
async fn guarded() -> (Forger, Server) {
    let private = private_key(Algorithm::EdDSA);
    let key = SigningKey::new(&private, &DefaultProvider).unwrap();
    let fixture = Fixture::with(|builder| builder.keys(KeyRing::new(key)));
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

// Algorithm

#[test]
fn none_in_any_spelling_and_with_trailing_blanks_is_refused() {
    let house = House::new();
    for none in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "none ",
        "none  ",
        " none",
        "none\t",
        "none\n",
        "none\0",
        "n\u{f6}ne",
        "\u{ff4e}one",
        "nonE\u{301}",
        "",
    ] {
        let header = house.forger.header().with("alg", quoted(none));
        house.refuses_header(&header, TokenFault::Algorithm);
        let unsigned = format!("{}.{}.", text(header.text()), text(claims().text()));
        house.refuses(&unsigned, TokenFault::Malformed);
        house.refuses(unsigned.trim_end_matches('.'), TokenFault::Malformed);
        house.refuses(&format!("{unsigned}AAAA"), TokenFault::Algorithm);
    }
    let escaped = house.forger.header().with("alg", r#""\u006e\u006fne""#);
    house.refuses_header(&escaped, TokenFault::Algorithm);
}

#[test]
fn an_algorithm_is_named_to_the_letter_and_by_a_string() {
    let house = House::new();
    for name in [
        "eddsa", "EDDSA", "EdDSA ", " EdDSA", "EdDSA\0", "ed25519", "ED25519", "Ed448", "ES256K",
        "ES384", "RS512", "PS256", "HS512", "RSA-OAEP", "dir", "A128KW",
    ] {
        let header = house.forger.header().with("alg", quoted(name));
        house.refuses_header(&header, TokenFault::Algorithm);
    }
    house.refuses_header(&house.forger.header().without("alg"), TokenFault::Algorithm);
    for raw in ["null", "true", "0", "[\"EdDSA\"]", "{}"] {
        house.refuses_header(&house.forger.header().with("alg", raw), TokenFault::Malformed);
    }
}

/// Every form in which an attacker may have a public key at hand.
fn public_forms(algorithm: Algorithm) -> Vec<Vec<u8>> {
    let key = SigningKey::new(&private_key(algorithm), &DefaultProvider).unwrap();
    let jwk = key.verifying_key().to_jwk().unwrap();
    let pems = match algorithm {
        Algorithm::EdDSA => vec![ED25519_SPKI],
        Algorithm::ES256 => vec![P256_SPKI],
        _ => vec![RSA_SPKI, RSA_PUBLIC_PKCS1],
    };
    let mut forms = vec![jwk.to_string().into_bytes(), format!("{jwk:#}").into_bytes()];
    for name in ["x", "y", "n"] {
        if let Some(member) = jwk[name].as_str() {
            forms.push(member.as_bytes().to_vec());
            forms.push(bytes(member));
        }
    }
    for pem in pems {
        forms.push(pem.as_bytes().to_vec());
        forms.push(pem.trim_end().as_bytes().to_vec());
        forms.push(pem.replace('\n', "\r\n").into_bytes());
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        forms.push(base64_of(&body));
        forms.push(body.into_bytes());
    }
    let behind_junk: Vec<_> = forms.iter().map(|form| [b"junk\n", &**form].concat()).collect();
    forms.into_iter().chain(behind_junk).collect()
}

fn base64_of(body: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(body).unwrap()
}

#[test]
fn hs256_keyed_with_any_form_of_the_public_key_behind_junk_too_is_refused() {
    let secret = private_key(Algorithm::HS256);
    for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256] {
        let house = House::of(algorithm);
        let shared = SigningKey::new(&secret, &DefaultProvider).unwrap();
        let ring = KeyRing::new(house.key.clone()).with_next(&shared).unwrap();
        let both = validator(ring, &house.clock);
        let PrivateKey::Hmac(bytes) = &secret else { panic!("{secret:?}") };
        let rightly = Forger::with_hmac(bytes, shared.kid());
        accepts(&both, &rightly.forge(&rightly.header(), &claims()));
        for form in public_forms(algorithm) {
            let forger = Forger::with_hmac(&form, house.key.kid());
            let token = forger.forge(&forger.header(), &claims());
            house.refuses(&token, TokenFault::Algorithm);
            refuses(&both, &token, TokenFault::UnknownKey);
            let forger = Forger::with_hmac(&form, shared.kid());
            let token = forger.forge(&forger.header(), &claims());
            refuses(&both, &token, TokenFault::Signature);
        }
    }
}

#[test]
fn the_right_kid_with_another_algorithm_is_refused() {
    let clock = TestClock::new();
    let keys = ALGORITHMS
        .map(|algorithm| SigningKey::new(&private_key(algorithm), &DefaultProvider).unwrap());
    let ring = KeyRing::verifying(keys.iter().map(|key| key.verifying_key().clone())).unwrap();
    let validator = validator(ring, &clock);
    for signing in ALGORITHMS {
        let forger = Forger::of(&private_key(signing));
        for key in &keys {
            let header = forger.header().with("kid", quoted(key.kid()));
            let token = forger.forge(&header, &claims());
            if key.algorithm() == signing {
                accepts(&validator, &token);
                continue;
            }
            refuses(&validator, &token, TokenFault::UnknownKey);
            let header = header.with("alg", quoted(key.algorithm().as_str()));
            let token = forger.forge(&header, &claims());
            refuses(&validator, &token, TokenFault::Signature);
        }
    }
}

#[test]
fn an_algorithm_that_is_not_on_the_list_is_refused_though_there_is_a_key_for_it() {
    let keys = [Algorithm::EdDSA, Algorithm::ES256]
        .map(|algorithm| SigningKey::new(&private_key(algorithm), &DefaultProvider).unwrap());
    let ring = KeyRing::verifying(keys.map(|key| key.verifying_key().clone())).unwrap();
    let validator = Validator::builder()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .keys(ring)
        .algorithms([Algorithm::EdDSA])
        .clock(Arc::new(TestClock::new()))
        .build()
        .unwrap();
    let [allowed, other] =
        [Algorithm::EdDSA, Algorithm::ES256].map(|algorithm| Forger::of(&private_key(algorithm)));
    accepts(&validator, &allowed.forge(&allowed.header(), &claims()));
    refuses(&validator, &other.forge(&other.header(), &claims()), TokenFault::Algorithm);
}

#[test]
fn an_empty_or_short_hmac_key_is_refused_at_construction() {
    for len in [0, 1, 31] {
        let jwk = json!({"kty": "oct", "k": text(vec![0x5a; len])}).to_string();
        assert_invalid_key(PrivateKey::from_hmac_secret(&vec![0x5a; len]));
        assert_invalid_key(KeyRing::from_jwk(jwk.as_bytes()));
    }
    let jwk = json!({"kty": "oct", "k": text([0x5a; 32])}).to_string();
    assert!(KeyRing::from_jwk(jwk.as_bytes()).is_ok());
}

/// With e = 1 a signature is the padded digest itself: anybody can write it down.
#[test]
fn an_rsa_key_with_e_1_or_below_2048_bits_does_not_get_into_a_ring() {
    let house = House::new();
    let good = SigningKey::new(&private_key(Algorithm::RS256), &DefaultProvider).unwrap();
    let good = good.verifying_key().to_jwk().unwrap();
    let short = text(&bytes(good["n"].as_str().unwrap())[..128]);
    let ours = house.key.verifying_key().to_jwk().unwrap();
    for (name, value) in [("e", "AQ"), ("e", "AAAB"), ("n", &*short)] {
        let mut weak = good.clone();
        weak["kid"] = "weak".into();
        let set = json!({"keys": [weak, ours]}).to_string();
        let ring = KeyRing::from_jwks(set.as_bytes()).unwrap();
        assert!(ring.to_jwks(Timestamp::MIN).contains("weak"));
        weak[name] = value.into();
        assert_invalid_key(KeyRing::from_jwks(json!({"keys": [weak]}).to_string().as_bytes()));

        let set = json!({"keys": [weak, ours]}).to_string();
        let validator = validator(KeyRing::from_jwks(set.as_bytes()).unwrap(), &house.clock);
        accepts(&validator, &house.good());
        let header = Members::of(&[("alg", "\"RS256\""), ("kid", "\"weak\"")]);
        let header = header.with("typ", "\"at+jwt\"");
        let input = format!("{}.{}", text(header.text()), text(claims().text()));
        let token = format!("{input}.{}", text(padded_digest(input.as_bytes())));
        refuses(&validator, &token, TokenFault::Algorithm);
    }
}

/// EMSA-PKCS1-v1_5 with SHA-256 for 2048 bits (RFC 8017 §9.2).
fn padded_digest(message: &[u8]) -> Vec<u8> {
    use sha2::Digest as _;
    const PREFIX: [u8; 19] = [
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
        0x05, 0x00, 0x04, 0x20,
    ];
    let digest = sha2::Sha256::digest(message);
    [&[0, 1], &*vec![0xff; 256 - 3 - 51], &[0], &PREFIX, &*digest].concat()
}

/// A token with that signature, judged with each of the providers.
#[track_caller]
fn refuses_signature(algorithm: Algorithm, input: &str, signature: &[u8]) {
    for provider in providers() {
        let key = SigningKey::new(&private_key(algorithm), provider).unwrap();
        let validator = validator(KeyRing::new(key), &TestClock::new());
        let token = format!("{input}.{}", text(signature));
        refuses(&validator, &token, TokenFault::Signature);
    }
}

#[track_caller]
fn good_signature(algorithm: Algorithm) -> (String, Vec<u8>) {
    let token = House::of(algorithm).good();
    let (input, signature) = token.rsplit_once('.').unwrap();
    for provider in providers() {
        let key = SigningKey::new(&private_key(algorithm), provider).unwrap();
        accepts(&validator(KeyRing::new(key), &TestClock::new()), &token);
    }
    (input.to_owned(), bytes(signature))
}

#[test]
fn an_es256_signature_in_der_is_refused() {
    let (input, good) = good_signature(Algorithm::ES256);
    let (r, s) = good.split_at(32);
    let numbers = [der_integer(r), der_integer(s)].concat();
    let der = [&[0x30, u8::try_from(numbers.len()).unwrap()], &*numbers].concat();
    refuses_signature(Algorithm::ES256, &input, &der);
}

fn der_integer(number: &[u8]) -> Vec<u8> {
    let first = number.iter().position(|byte| *byte != 0).unwrap();
    let mut body = number[first..].to_vec();
    if body[0] >= 0x80 {
        body.insert(0, 0);
    }
    [&[0x02, u8::try_from(body.len()).unwrap()], &*body].concat()
}

#[test]
fn an_es256_signature_with_r_or_s_zero_or_not_below_the_order_is_refused() {
    let (input, good) = good_signature(Algorithm::ES256);
    let (r, s) = good.split_at(32);
    let (zero, one, ones) = ([0; 32], [&[0; 31][..], &[1]].concat(), [0xff; 32]);
    let order = bytes(P256_ORDER);
    let above = [&order[..31], &[order[31] + 1]].concat();
    for bad in [&zero[..], &order, &above, &ones] {
        refuses_signature(Algorithm::ES256, &input, &[bad, s].concat());
        refuses_signature(Algorithm::ES256, &input, &[r, bad].concat());
        refuses_signature(Algorithm::ES256, &input, &[bad, bad].concat());
    }
    refuses_signature(Algorithm::ES256, &input, &[&*one, &*one].concat());
    refuses_signature(Algorithm::ES256, &input, &[s, r].concat());
    refuses_signature(Algorithm::ES256, &input, &good[..63]);
    refuses_signature(Algorithm::ES256, &input, &[&good[..], &[0]].concat());
    let wide = [&[0], r, &[0], s].concat();
    refuses_signature(Algorithm::ES256, &input, &wide);
}

#[test]
fn an_ed25519_signature_whose_s_is_not_below_the_order_is_refused() {
    /// L (RFC 8032 §5.1), little-endian.
    const ORDER: &str = "7dP1XBpjEljWnPei3vneFAAAAAAAAAAAAAAAAAAAABA";
    let (input, good) = good_signature(Algorithm::EdDSA);
    let (r, s) = good.split_at(32);
    let mut sum = s.to_vec();
    for _ in 0..7 {
        let mut carry = 0;
        for (digit, order) in sum.iter_mut().zip(bytes(ORDER)) {
            let total = u16::from(*digit) + u16::from(order) + carry;
            (*digit, carry) = (total as u8, total >> 8);
        }
        assert_eq!(carry, 0);
        refuses_signature(Algorithm::EdDSA, &input, &[r, &*sum].concat());
    }
    for high in [0x20, 0x40, 0x80, 0xe0] {
        let mut bad = good.clone();
        bad[63] |= high;
        refuses_signature(Algorithm::EdDSA, &input, &bad);
    }
    refuses_signature(Algorithm::EdDSA, &input, &[r, &bytes(ORDER)].concat());
}

/// Under the neutral element as a key, R = the neutral element and S = 0 sign every message.
#[test]
fn an_ed25519_key_of_small_order_does_not_get_into_a_ring() {
    let house = House::new();
    let ours = house.key.verifying_key().to_jwk().unwrap();
    let signature = [bytes(SMALL_ORDER[0]), vec![0; 32]].concat();
    for x in SMALL_ORDER {
        assert_invalid_key(VerificationKey::ed25519(&bytes(x)));
        let weak = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "weak"});
        for provider in providers() {
            let alone = json!({"keys": [weak]}).to_string();
            assert_invalid_key(KeyRing::from_jwks_with(alone.as_bytes(), provider));
            let set = json!({"keys": [weak, ours]}).to_string();
            let ring = KeyRing::from_jwks_with(set.as_bytes(), provider).unwrap();
            let validator = validator(ring, &house.clock);
            accepts(&validator, &house.good());
            let header = house.forger.header().with("kid", "\"weak\"");
            let input = format!("{}.{}", text(header.text()), text(claims().text()));
            let token = format!("{input}.{}", text(&signature));
            refuses(&validator, &token, TokenFault::UnknownKey);
        }
    }
}

#[test]
fn ed25519_and_eddsa_name_the_same_algorithm() {
    let house = House::new();
    for name in ["EdDSA", "Ed25519"] {
        house.accepts_header(&house.forger.header().with("alg", quoted(name)));
    }
    let p256 = House::of(Algorithm::ES256);
    let header = p256.forger.header().with("alg", "\"Ed25519\"");
    p256.refuses_header(&header, TokenFault::Algorithm);
}

// Keys

#[test]
fn a_key_that_the_header_brings_or_points_to_is_never_used() {
    let house = House::new();
    let private = DefaultProvider.generate(Algorithm::EdDSA).unwrap();
    let stranger = Forger::of(&private);
    let jwk = SigningKey::new(&private, &DefaultProvider).unwrap();
    let jwk = jwk.verifying_key().to_jwk().unwrap().to_string();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = quoted(&format!("http://{}/jwks.json", listener.local_addr().unwrap()));
    let certificate = format!("[{}]", quoted(&base64_text(b"a certificate")));
    for (name, raw) in [
        ("jwk", &*jwk),
        ("jku", &url),
        ("x5u", &url),
        ("x5c", &certificate),
        ("x5t", "\"dGh1bWI\""),
        ("x5t#S256", "\"dGh1bWI\""),
    ] {
        let header = stranger.header().with(name, raw);
        house.refuses(&stranger.forge(&header, &claims()), TokenFault::UnknownKey);
        let ours = header.clone().with("kid", quoted(house.key.kid()));
        house.refuses(&stranger.forge(&ours, &claims()), TokenFault::Signature);
        let nameless = header.without("kid");
        house.refuses(&stranger.forge(&nameless, &claims()), TokenFault::UnknownKey);
        house.accepts_header(&house.forger.header().with(name, raw));
    }
    let asked = listener.accept().map(|_| ()).unwrap_err();
    assert_eq!(asked.kind(), std::io::ErrorKind::WouldBlock);
}

fn base64_text(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn a_kid_with_a_path_sql_nul_or_line_ends_is_the_kid_of_nobody() {
    let house = House::new();
    let own = house.key.kid();
    let upper = own.to_uppercase();
    for kid in [
        "../../../../dev/null",
        "/etc/passwd",
        "file:///etc/passwd",
        "' OR '1'='1",
        "x' UNION SELECT 'secret' --",
        "$(id)",
        "%2e%2e%2f",
        "\0",
        "kid\r\nSet-Cookie: a=b",
        "*",
        "__proto__",
        "",
        &upper,
        &format!("{own}\0"),
        &format!("{own} "),
        &format!(" {own}"),
        &format!("{own}\r\n"),
        &own[..own.len() - 1],
        &"k".repeat(4_096),
    ] {
        let header = house.forger.header().with("kid", quoted(kid));
        house.refuses_header(&header, TokenFault::UnknownKey);
    }
    house.refuses_header(&house.forger.header().without("kid"), TokenFault::UnknownKey);
    for raw in ["null", "0", "true", "[]", "{}", &format!("[{}]", quoted(own))] {
        house.refuses_header(&house.forger.header().with("kid", raw), TokenFault::Malformed);
    }
}

#[test]
fn a_kid_of_64_kibibytes_is_not_read() {
    let house = House::new();
    let header = house.forger.header().with("kid", quoted(&"k".repeat(64 * 1024)));
    house.refuses_header(&header, TokenFault::TooLong);
}

#[tokio::test]
async fn a_kid_is_not_echoed_over_http() {
    let (forger, server) = guarded().await;
    for kid in ["canary\r\nSet-Cookie: a=b", "canary\"", "../canary"] {
        let header = forger.header().with("kid", quoted(kid));
        let answer = server.get("/", Some(&forger.forge(&header, &claims()))).await;
        assert_challenged(&answer, 401, "invalid_token");
        assert!(!format!("{answer:?}").contains("canary"), "{answer:?}");
        assert!(answer.headers().get("set-cookie").is_none());
    }
}

#[test]
fn a_kid_of_another_issuer_is_unknown_and_a_shared_key_does_not_make_its_tokens_ours() {
    let house = House::new();
    let theirs = Forger::of(&private_key(Algorithm::ES256));
    let other = claims().with("iss", "\"https://other.example.com\"");
    house.refuses(&theirs.forge(&theirs.header(), &claims()), TokenFault::Algorithm);
    let neighbour = Forger::of(&DefaultProvider.generate(Algorithm::EdDSA).unwrap());
    house.refuses(&neighbour.forge(&neighbour.header(), &claims()), TokenFault::UnknownKey);
    let our_kid = neighbour.header().with("kid", quoted(house.key.kid()));
    house.refuses(&neighbour.forge(&our_kid, &claims()), TokenFault::Signature);
    house.refuses_claims(&other, TokenFault::Issuer);
}

#[test]
fn a_retired_key_is_refused_after_its_time_without_any_leeway() {
    let house = House::new();
    let until = Timestamp::from_secs(START + 100);
    let ring = KeyRing::generate(Algorithm::ES256)
        .and_then(|ring| ring.with_retired(house.key.verifying_key().clone(), until))
        .unwrap();
    let validator = validator(ring, &house.clock);
    let token = house.good();
    house.clock.set(Timestamp::from_micros(until.as_micros() - 1));
    accepts(&validator, &token);
    house.clock.set(until);
    refuses(&validator, &token, TokenFault::UnknownKey);
    house.clock.advance(Duration::from_secs(1));
    refuses(&validator, &token, TokenFault::UnknownKey);
}

#[test]
fn two_keys_of_one_kid_are_no_ring() {
    let key = |algorithm| {
        let material = DefaultProvider.verification_key(&private_key(algorithm)).unwrap();
        VerifyingKey::new(material, Some("one".into()), &DefaultProvider).unwrap()
    };
    assert!(KeyRing::verifying([key(Algorithm::EdDSA)]).is_ok());
    assert_invalid_key(KeyRing::verifying([key(Algorithm::EdDSA), key(Algorithm::ES256)]));
    assert_invalid_key(KeyRing::verifying([key(Algorithm::EdDSA), key(Algorithm::EdDSA)]));
    let set = json!({"keys": [key(Algorithm::EdDSA).to_jwk(), key(Algorithm::RS256).to_jwk()]});
    assert_invalid_key(KeyRing::from_jwks(set.to_string().as_bytes()));
}

// Form

#[test]
fn any_number_of_segments_but_three_is_refused() {
    let house = House::new();
    let good = house.good();
    let [header, payload, signature]: [&str; 3] =
        good.split('.').collect::<Vec<_>>().try_into().unwrap();
    for token in [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        header.into(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{header}.{good}"),
        format!("{good}.{payload}.{signature}"),
        format!("{header}..{payload}.{signature}"),
        format!("{good}.."),
    ] {
        house.refuses(&token, TokenFault::Malformed);
    }
}

#[test]
fn of_megabytes_of_dots_nothing_is_looked_at_but_the_length() {
    let house = House::new();
    house.refuses(&".".repeat(8 * 1024), TokenFault::Malformed);
    house.refuses(&".".repeat(8 * 1024 + 1), TokenFault::TooLong);
    house.refuses(&".".repeat(4 * 1024 * 1024), TokenFault::TooLong);
}

#[tokio::test]
async fn segments_and_dots_that_make_no_token_are_a_401_over_http() {
    let (forger, server) = guarded().await;
    let good = forger.forge(&forger.header(), &claims());
    for token in [
        ".".to_owned(),
        "..".into(),
        ".".repeat(8 * 1024),
        ".".repeat(64 * 1024),
        format!("{good}."),
        format!("{good}.{good}"),
        good.rsplit_once('.').unwrap().0.into(),
        format!("{good}=="),
        format!("{good}~"),
        format!("{good}+"),
    ] {
        assert_challenged(&server.get("/", Some(&token)).await, 401, "invalid_token");
    }
}

#[test]
fn the_json_serialisations_are_refused() {
    let house = House::new();
    let good = house.good();
    let [header, payload, signature]: [&str; 3] =
        good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let signed = json!({"protected": header, "signature": signature});
    for token in [
        json!({"payload": payload, "protected": header, "signature": signature}),
        json!({"payload": payload, "signatures": [signed]}),
        json!([good]),
        json!(good),
    ] {
        house.refuses(&token.to_string(), TokenFault::Malformed);
        house.refuses(&text(token.to_string()), TokenFault::Malformed);
    }
}

#[tokio::test]
async fn what_cannot_be_a_bearer_token_at_all_is_a_400_over_http() {
    let (forger, server) = guarded().await;
    let good = forger.forge(&forger.header(), &claims());
    let (input, signature) = good.rsplit_once('.').unwrap();
    let json = json!({"payload": input, "signatures": [{"signature": signature}]}).to_string();
    for token in [
        json,
        format!("{input}. {signature}"),
        format!("{good} {good}"),
        format!("{good},"),
        format!("\"{good}\""),
        format!("{input}=.{signature}"),
        format!("{good}\tx"),
        "=".into(),
    ] {
        assert_challenged(&server.get("/", Some(&token)).await, 400, "invalid_request");
    }
    let twice = Request::builder()
        .uri("/")
        .header(AUTHORIZATION, format!("Bearer {good}"))
        .header(AUTHORIZATION, format!("Bearer {good}"));
    let answer = server.send(twice.body("").unwrap()).await;
    assert_challenged(&answer, 400, "invalid_request");
}

/// Claims whose JSON has a length that leaves so many bytes to the last group of base64.
fn claims_with_remainder(remainder: usize) -> Members {
    let padded = |pad: usize| claims().with("jti", quoted(&"j".repeat(pad)));
    (1..=3).map(padded).find(|claims| claims.text().len() % 3 == remainder).unwrap()
}

#[test]
fn padding_in_any_segment_is_refused() {
    let house = House::new();
    for remainder in [1, 2] {
        let claims = claims_with_remainder(remainder);
        let header = (0..3)
            .map(|pad| house.forger.header().with("x", quoted(&"x".repeat(pad))))
            .find(|header| header.text().len() % 3 == remainder)
            .unwrap();
        let (header, payload) = (text(header.text()), text(claims.text()));
        let good = house.forger.forge_segments(&header, &payload);
        house.accepts(&good);
        let pad = "=".repeat(3 - remainder);
        for token in [
            house.forger.forge_segments(&format!("{header}{pad}"), &payload),
            house.forger.forge_segments(&header, &format!("{payload}{pad}")),
            format!("{good}=="),
            format!("{good}="),
            format!("{good}%3D%3D"),
        ] {
            house.refuses(&token, TokenFault::Malformed);
        }
    }
}

#[test]
fn white_space_and_other_bytes_in_any_segment_are_refused() {
    let house = House::new();
    let (header, payload) = (text(house.forger.header().text()), text(claims().text()));
    for blank in [" ", "\t", "\n", "\r\n", "\0", "\u{a0}", "\u{feff}", "~", ":", "é", "%20"] {
        let within = |segment: &str| format!("{}{blank}{}", &segment[..4], &segment[4..]);
        let good = house.good();
        let (input, signature) = good.rsplit_once('.').unwrap();
        for token in [
            house.forger.forge_segments(&within(&header), &payload),
            house.forger.forge_segments(&header, &within(&payload)),
            format!("{input}.{}", within(signature)),
            format!("{good}{blank}"),
            format!("{blank}{good}"),
            format!("{input}{blank}.{signature}"),
        ] {
            house.refuses(&token, TokenFault::Malformed);
        }
    }
}

#[test]
fn the_plus_and_slash_of_other_base64_are_refused() {
    let house = House::new();
    // "?~" and "?\x7f" at every offset make both characters.
    let odd = quoted("???~~~>>>???~~~>>>");
    let header = house.forger.header().with("x", &odd);
    let claims = claims().with("x", &odd);
    let (header, payload) = (text(header.text()), text(claims.text()));
    let token = house.forger.forge_segments(&header, &payload);
    house.accepts(&token);
    let other = |segment: &str| {
        let other = segment.replace('-', "+").replace('_', "/");
        assert_ne!(other, segment);
        other
    };
    house.refuses(&house.forger.forge_segments(&other(&header), &payload), TokenFault::Malformed);
    house.refuses(&house.forger.forge_segments(&header, &other(&payload)), TokenFault::Malformed);
    let signed = (0..200)
        .map(|number| house.with_claims(&claims.clone().with("jti", quoted(&number.to_string()))))
        .find(|token| token.rsplit('.').next().unwrap().contains(['-', '_']))
        .unwrap();
    house.accepts(&signed);
    let (input, signature) = signed.rsplit_once('.').unwrap();
    house.refuses(&format!("{input}.{}", other(signature)), TokenFault::Malformed);
}

#[test]
fn trailing_bits_that_are_not_zero_are_refused_in_any_segment() {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let house = House::new();
    let with_bit = |segment: &str| {
        let (body, last) = segment.split_at(segment.len() - 1);
        let digit = ALPHABET.iter().position(|symbol| *symbol == last.as_bytes()[0]).unwrap();
        assert_eq!(digit % 2, 0);
        format!("{body}{}", char::from(ALPHABET[digit + 1]))
    };
    for remainder in [1, 2] {
        let header = (0..3)
            .map(|pad| house.forger.header().with("x", quoted(&"x".repeat(pad))))
            .find(|header| header.text().len() % 3 == remainder)
            .unwrap();
        let (header, payload) =
            (text(header.text()), text(claims_with_remainder(remainder).text()));
        let good = house.forger.forge_segments(&header, &payload);
        house.accepts(&good);
        let (input, signature) = good.rsplit_once('.').unwrap();
        for token in [
            house.forger.forge_segments(&with_bit(&header), &payload),
            house.forger.forge_segments(&header, &with_bit(&payload)),
            format!("{input}.{}", with_bit(signature)),
        ] {
            house.refuses(&token, TokenFault::Malformed);
        }
    }
}

#[test]
fn a_header_name_that_comes_twice_is_refused_behind_escapes_too() {
    let house = House::new();
    let header = || house.forger.header();
    house.accepts_header(&header().with("x", r#"{"a":1,"b":2}"#));
    let own_kid = quoted(house.key.kid());
    for (name, escaped, raw) in [
        ("alg", r"\u0061lg", "\"EdDSA\""),
        ("kid", r"k\u0069d", &*own_kid),
        ("typ", r"ty\u0070", "\"at+jwt\""),
    ] {
        house.refuses_header(&header().and(name, raw), TokenFault::Malformed);
        house.refuses_header(&header().and(name, "\"other\""), TokenFault::Malformed);
        house.refuses_header(&header().and(escaped, raw), TokenFault::Malformed);
        let only_escaped = header().without(name).and(escaped, raw);
        house.accepts_header(&only_escaped);
    }
    house.refuses_header(&header().with("x", "1").and("x", "1"), TokenFault::Malformed);
    house.refuses_header(&header().with("x", "1").and(r"\u0078", "1"), TokenFault::Malformed);
    house.refuses_header(&header().with("x", r#"{"a":1,"a":1}"#), TokenFault::Malformed);
    house.refuses_header(&header().with("x", r#"[[{"a":1,"\u0061":1}]]"#), TokenFault::Malformed);
}

#[test]
fn a_claims_name_that_comes_twice_is_refused_behind_escapes_too() {
    let house = House::new();
    for (name, raw) in claims().0 {
        house.refuses_claims(&claims().and(&name, &*raw), TokenFault::Claims);
        let escaped = format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
        house.refuses_claims(&claims().and(&escaped, &*raw), TokenFault::Claims);
        house.accepts_claims(&claims().without(&name).and(&escaped, &*raw));
    }
    for (name, raw) in [
        ("nobody_reads", r#"{"a":1,"a":1}"#),
        ("nobody_reads", r#"[{"a":1,"\u0061":1}]"#),
        ("customClaims", r#"{"a":1,"a":1}"#),
        ("customClaims", r#"{"b":[{"a":1,"\u0061":1}]}"#),
        ("acl", r#"[{"scope":{},"scope":{},"permissions":["GetOrders"]}]"#),
        ("acl", r#"[{"scope":{"p":["1"],"p":["2"]},"permissions":["GetOrders"]}]"#),
        ("acl", r#"[{"scope":{},"permissions":["A"],"permi\u0073sions":["*"]}]"#),
    ] {
        house.refuses_claims(&claims().with(name, raw), TokenFault::Claims);
    }
    for (name, raw) in
        [("customClaims", r#"{"a":1,"A":1}"#), ("nobody_reads", r#"[{"a":1},{"a":1}]"#)]
    {
        house.accepts_claims(&claims().with(name, raw));
    }
    for name in ["nobody_reads", "customClaims", "sid", "organizationId"] {
        let raw = if name == "customClaims" { "{}" } else { "\"x\"" };
        house.accepts_claims(&claims().and(name, raw));
        house.refuses_claims(&claims().and(name, raw).and(name, raw), TokenFault::Claims);
    }
    let many = (0..40).fold(claims(), |claims, n| claims.and(&format!("n{n}"), "0"));
    house.accepts_claims(&many);
    house.refuses_claims(&many.clone().and("n3", "0"), TokenFault::Claims);
    house.refuses_claims(&many.and("exp", "0"), TokenFault::Claims);
}

#[test]
fn nesting_of_32_is_read_and_a_nesting_bomb_is_not() {
    let house = House::new();
    let arrays = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let header = |raw: String| house.forger.header().with("x", raw);
    for (good, bad) in [(arrays(31), arrays(32)), (objects(31), objects(32))] {
        house.accepts_header(&header(good.clone()));
        house.refuses_header(&header(bad.clone()), TokenFault::Malformed);
        house.accepts_claims(&claims().with("nobody_reads", &*good));
        house.refuses_claims(&claims().with("nobody_reads", &*bad), TokenFault::Claims);
    }
    house.accepts_claims(&claims().with("customClaims", objects(31)));
    house.refuses_claims(&claims().with("customClaims", objects(32)), TokenFault::Claims);
    for bomb in ["[".repeat(5_000), "{\"a\":".repeat(1_000), arrays(2_500), objects(800)] {
        house.refuses_header(&header(bomb.clone()), TokenFault::Malformed);
        for name in ["nobody_reads", "customClaims", "acl", "aud", "exp", "iss"] {
            house.refuses_claims(&claims().with(name, &*bomb), TokenFault::Claims);
        }
        let token = house.forger.forge_bytes(&bomb, claims().text());
        house.refuses(&token, TokenFault::Malformed);
        let token = house.forger.forge_bytes(house.forger.header().text(), &bomb);
        house.refuses(&token, TokenFault::Claims);
    }
}

#[test]
fn json_in_utf_16_or_behind_a_byte_order_mark_is_refused() {
    let house = House::new();
    let in_utf_16 = |text: &str, write: fn(u16) -> [u8; 2]| {
        text.encode_utf16().flat_map(write).collect::<Vec<u8>>()
    };
    let forms = |text: &str| {
        let marked = format!("\u{feff}{text}");
        vec![
            in_utf_16(text, u16::to_le_bytes),
            in_utf_16(text, u16::to_be_bytes),
            in_utf_16(&marked, u16::to_le_bytes),
            in_utf_16(&marked, u16::to_be_bytes),
            marked.into_bytes(),
        ]
    };
    let (header, claims) = (house.forger.header().text(), claims().text());
    for form in forms(&header) {
        house.refuses(&house.forger.forge_bytes(form, &claims), TokenFault::Malformed);
    }
    for form in forms(&claims) {
        house.refuses(&house.forger.forge_bytes(&header, form), TokenFault::Claims);
    }
}

#[test]
fn lone_surrogates_and_what_is_no_utf_8_are_refused_where_nobody_reads_too() {
    let house = House::new();
    let raw = |text: &[u8]| [&b"\""[..], text, b"\""].concat();
    let good = [&br"\ud83d\ude00"[..], "\u{1f600}".as_bytes(), br"\u00e9"];
    let bad = [
        &br"\ud800"[..],
        br"\udc00",
        br"\ude00\ud83d",
        br"\ud83dx",
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\xff",
        b"\xc3",
        b"\xf8\x88\x80\x80\x80",
        b"\xf4\x90\x80\x80",
        b"\x01",
        br"\x41",
        br"\u12",
    ];
    let (header, claims) = (house.forger.header().text(), claims().text());
    let insert = |object: &str, name: &[u8], value: &[u8]| {
        let object = &object.as_bytes()[1..];
        [b"{", &*raw(name), b":", &*raw(value), b",", object].concat()
    };
    for text in good {
        for (name, value) in [(text, &b"x"[..]), (b"x", text)] {
            house.accepts(&house.forger.forge_bytes(insert(&header, name, value), &claims));
            house.accepts(&house.forger.forge_bytes(&header, insert(&claims, name, value)));
        }
    }
    for text in bad {
        for (name, value) in [(text, &b"x"[..]), (b"x", text)] {
            let token = house.forger.forge_bytes(insert(&header, name, value), &claims);
            house.refuses(&token, TokenFault::Malformed);
            let token = house.forger.forge_bytes(&header, insert(&claims, name, value));
            house.refuses(&token, TokenFault::Claims);
        }
    }
}

#[test]
fn header_and_claims_are_one_json_object_each_and_nothing_more() {
    let house = House::new();
    let (header, claims) = (house.forger.header().text(), claims().text());
    let forms = |object: &str| {
        let body = object.trim_end_matches('}');
        [
            "null".to_owned(),
            "[]".into(),
            "\"text\"".into(),
            "0".into(),
            format!("[{object}]"),
            quoted(object),
            format!("{object}{object}"),
            format!("{object}x"),
            format!("{object}\0"),
            format!("{object}//"),
            format!("/**/{object}"),
            format!("{body},}}"),
            body.to_owned(),
            object.replace('"', "'"),
            object.replacen(':', "=", 1),
        ]
    };
    for form in forms(&header) {
        house.refuses(&house.forger.forge_bytes(form, &claims), TokenFault::Malformed);
    }
    for form in forms(&claims) {
        house.refuses(&house.forger.forge_bytes(&header, form), TokenFault::Claims);
    }
    let spaced = |object: &str| format!(" \r\n\t{object}\n ");
    house.accepts(&house.forger.forge_bytes(spaced(&header), spaced(&claims)));
}

#[test]
fn a_header_with_zip_enc_or_b64_of_any_value_is_refused() {
    let house = House::new();
    for name in ["zip", "enc", "b64"] {
        for raw in ["null", "true", "false", "0", "\"DEF\"", "\"\"", "[]", "{}"] {
            let header = house.forger.header().with(name, raw);
            house.refuses_header(&header, TokenFault::UnsupportedHeader);
            let escaped = format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
            let header = house.forger.header().with(&escaped, raw);
            house.refuses_header(&header, TokenFault::UnsupportedHeader);
        }
        house.accepts_claims(&claims().with(name, "false"));
        house.accepts_header(&house.forger.header().with("x", format!("{{\"{name}\":false}}")));
    }
    house.accepts_header(&house.forger.header().with("ZIP", "\"DEF\""));
}

#[test]
fn a_payload_that_is_not_encoded_is_refused() {
    let house = House::new();
    let header = house.forger.header().with("b64", "false").with("crit", "[\"b64\"]");
    let plain = house.forger.forge_segments(&text(header.text()), &claims().text());
    house.refuses(&plain, TokenFault::UnsupportedHeader);
    let plain = house.forger.forge_segments(&text(house.forger.header().text()), &claims().text());
    house.refuses(&plain, TokenFault::Malformed);
}

#[test]
fn an_encrypted_token_is_refused() {
    let house = House::new();
    for algorithm in ["dir", "RSA-OAEP", "ECDH-ES", "EdDSA"] {
        let header = house.forger.header().with("alg", quoted(algorithm));
        let header = text(header.with("enc", "\"A256GCM\"").text());
        for key in ["", "a2V5"] {
            let token = format!("{header}.{key}.bm9uY2U.{}.dGFn", text(claims().text()));
            house.refuses(&token, TokenFault::UnsupportedHeader);
        }
        let token = house.forger.forge_segments(&header, &text(claims().text()));
        house.refuses(&token, TokenFault::UnsupportedHeader);
    }
}

#[test]
fn a_crit_that_is_unknown_known_empty_or_no_list_is_refused() {
    let house = House::new();
    for raw in [
        r#"["exp"]"#,
        r#"["http://example.com/unknown"]"#,
        r#"["b64"]"#,
        r#"["alg","kid","typ"]"#,
        r#"["x","x"]"#,
        "[]",
        "[[]]",
        "[null]",
        "\"exp\"",
        "\"\"",
        "null",
        "false",
        "0",
        "{}",
    ] {
        let header = house.forger.header().with("x", "1").with("exp", "1").with("crit", raw);
        house.refuses_header(&header, TokenFault::UnsupportedHeader);
        let header = house.forger.header().with(r"\u0063rit", raw);
        house.refuses_header(&header, TokenFault::UnsupportedHeader);
    }
}

#[test]
fn a_crit_that_comes_twice_is_refused() {
    let house = House::new();
    for (first, second) in [("[\"x\"]", "[\"x\"]"), ("[]", "[\"x\"]"), ("null", "null")] {
        let header = house.forger.header().with("crit", first).and("crit", second);
        house.refuses_header(&header, TokenFault::Malformed);
    }
}

#[test]
fn a_crit_in_a_place_where_it_means_nothing_means_nothing() {
    let house = House::new();
    house.accepts_claims(&claims().with("crit", "[\"x\"]"));
    house.accepts_header(&house.forger.header().with("x", r#"{"crit":["x"]}"#));
    house.accepts_header(&house.forger.header().with("Crit", "[\"x\"]"));
}

#[test]
fn header_parameters_that_nobody_knows_are_ignored_whatever_their_type() {
    let house = House::new();
    for raw in ["null", "true", "-1.5e3", "18446744073709551616", "\"\"", "[[],{}]", "{\"a\":[1]}"]
    {
        for name in ["x", "cty", "url", "nonce", "epk", "p2c", "iss", "", "\u{1f600}"] {
            house.accepts_header(&house.forger.header().with(name, raw));
        }
    }
}

#[test]
fn the_type_of_an_access_token_is_read_in_any_case_with_or_without_its_prefix() {
    let house = House::new();
    for typ in ["at+jwt", "AT+JWT", "At+Jwt", "application/at+jwt", "APPLICATION/AT+jwt"] {
        house.accepts_header(&house.forger.header().with("typ", quoted(typ)));
    }
}

/// A token of exactly that length.
fn token_of_len(house: &House, len: usize) -> String {
    (0..3)
        .flat_map(|of_header| (0..4).map(move |less| (of_header, less)))
        .find_map(|(of_header, less)| {
            let header = house.forger.header().with("x", quoted(&"x".repeat(of_header)));
            let empty = house.forger.forge(&header, &claims().with("x", "\"\""));
            let pad = (len - empty.len()) * 3 / 4 - less;
            let token = house.forger.forge(&header, &claims().with("x", quoted(&"x".repeat(pad))));
            (token.len() == len).then_some(token)
        })
        .unwrap()
}

#[test]
fn a_token_of_8_kibibytes_is_accepted_and_one_byte_more_is_not() {
    let house = House::new();
    house.accepts(&token_of_len(&house, 8 * 1024));
    house.refuses(&token_of_len(&house, 8 * 1024 + 1), TokenFault::TooLong);
    house.refuses(&token_of_len(&house, 8 * 1024 + 2), TokenFault::TooLong);
    house.refuses(&token_of_len(&house, 100 * 1024), TokenFault::TooLong);
}

#[tokio::test]
async fn a_token_of_over_8_kibibytes_is_a_401_over_http() {
    let (forger, server) = guarded().await;
    let long =
        |len: usize| forger.forge(&forger.header(), &claims().with("x", quoted(&"x".repeat(len))));
    server.get("/", Some(&long(4_000))).await.expect(200);
    assert_challenged(&server.get("/", Some(&long(8_000))).await, 401, "invalid_token");
}

// Claims

const TIMES: [&str; 3] = ["exp", "nbf", "iat"];

#[test]
fn a_time_that_is_no_integer_from_0_to_2_to_the_53_is_refused() {
    let house = House::new();
    let at = START + 10;
    for raw in [
        &*format!("\"{at}\""),
        &format!("{at}.0"),
        &format!("{at}.5"),
        &format!("{at}e0"),
        &format!("[{at}]"),
        &format!("{{\"{at}\":{at}}}"),
        &format!("+{at}"),
        &format!("0{at}"),
        "\"2026-01-01T00:00:00Z\"",
        "\"\"",
        "null",
        "true",
        "false",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1e400",
        "1e9",
        "1.8e9",
        "-0",
        "-1",
        "-9223372036854775808",
        "9007199254740992",
        "9223372036854775807",
        "18446744073709551615",
        "18446744073709551616",
        "340282366920938463463374607431768211456",
        "0x7fffffff",
        "[]",
        "{}",
        "",
    ] {
        for name in TIMES {
            house.refuses_claims(&claims().with(name, raw), TokenFault::Claims);
        }
    }
    for name in TIMES {
        house.accepts_claims(&claims().with(name, at.to_string()));
    }
}

#[test]
fn the_largest_and_the_smallest_times_are_read_without_overflow_at_any_hour() {
    const LARGEST: &str = "9007199254740991";
    let house = House::new();
    let forever = house.accepts_claims(&claims().with("exp", LARGEST));
    assert_eq!(forever.expires_at(), Timestamp::MAX);
    house.refuses_claims(&claims().with("exp", "0"), TokenFault::Expired);
    for name in ["nbf", "iat"] {
        house.refuses_claims(&claims().with(name, LARGEST), TokenFault::NotYetValid);
        house.accepts_claims(&claims().with(name, "0"));
    }
    house.clock.set(Timestamp::from_micros(Timestamp::MAX.as_micros() - 1));
    house.accepts_claims(&claims().with("exp", LARGEST));
    house.refuses_claims(&claims(), TokenFault::Expired);
    house.refuses_claims(&claims().with("exp", "0"), TokenFault::Expired);
    house.clock.set(Timestamp::MAX);
    for exp in ["0", LARGEST] {
        let token = house.with_claims(&claims().with("exp", exp));
        assert!(house.validator.validate(&token).is_err());
    }
    house.clock.set(Timestamp::MIN);
    let from_zero = claims().with("iat", "0").with("nbf", "0");
    house.accepts_claims(&from_zero);
    house.accepts_claims(&from_zero.clone().with("exp", LARGEST));
    house.refuses_claims(&from_zero.with("nbf", LARGEST), TokenFault::NotYetValid);
}

#[test]
fn a_claim_that_is_needed_and_missing_or_null_is_refused() {
    let house = House::new();
    for name in ["exp", "iss", "aud", "sub", "iat", "jti", "subject_type", "client_id", "acl"] {
        house.refuses_claims(&claims().without(name), TokenFault::Claims);
        house.refuses_claims(&claims().with(name, "null"), TokenFault::Claims);
    }
    house.refuses_claims(&Members::of(&[]), TokenFault::Claims);
    house.accepts_claims(&claims().without("nbf"));
}

#[test]
fn a_claim_that_is_empty_or_of_another_type_is_refused() {
    let house = House::new();
    for name in ["sub", "jti", "client_id"] {
        for raw in ["\"\"", "0", "true", "[\"cus_1\"]", "{}"] {
            house.refuses_claims(&claims().with(name, raw), TokenFault::Claims);
        }
    }
    for name in ["sid", "organizationId"] {
        for raw in ["\"\"", "\" \"", "null", "0", "[\"x\"]"] {
            house.refuses_claims(&claims().with(name, raw), TokenFault::Claims);
        }
        house.accepts_claims(&claims().with(name, "\"x\""));
    }
    for raw in ["null", "[]", "\"{}\"", "0"] {
        house.refuses_claims(&claims().with("customClaims", raw), TokenFault::Claims);
    }
}

#[test]
fn an_acl_that_is_not_well_formed_is_refused() {
    let house = House::new();
    for raw in [
        "{}",
        "\"*\"",
        "[\"*\"]",
        "[{}]",
        r#"[{"scope":{}}]"#,
        r#"[{"scope":[],"permissions":["*"]}]"#,
        r#"[{"scope":{},"permissions":"*"}]"#,
        r#"[{"scope":{},"permissions":[]}]"#,
        r#"[{"scope":{},"permissions":[1]}]"#,
        r#"[{"scope":{},"permissions":["Get*"]}]"#,
        r#"[{"scope":{},"permissions":["G*t"]}]"#,
        r#"[{"scope":{"productId":[]},"permissions":["*"]}]"#,
        r#"[{"scope":{"productId":"p1"},"permissions":["*"]}]"#,
        r#"[{"scope":{"productId":null},"permissions":["*"]}]"#,
    ] {
        house.refuses_claims(&claims().with("acl", raw), TokenFault::Claims);
    }
    house.accepts_claims(&claims().with("acl", r#"[{"scope":{},"permissions":["*"]}]"#));
}

#[test]
fn an_nbf_that_is_a_string_does_not_read_as_absent() {
    let house = House::new();
    for raw in [quoted(&START.to_string()), quoted("never"), quoted(""), "null".into()] {
        house.refuses_claims(&claims().with("nbf", &*raw), TokenFault::Claims);
    }
    house.accepts_claims(&claims().without("nbf"));
}

#[test]
fn an_issuer_equals_to_the_letter() {
    let house = House::new();
    for issuer in [
        "https://auth.example.com/",
        "https://auth.example.co",
        "https://auth.example.com.evil.test",
        "https://auth.example.com#",
        "https://auth.example.com:443",
        "https://AUTH.example.com",
        "HTTPS://auth.example.com",
        "http://auth.example.com",
        "https://auth.example.com@evil.test",
        "https://auth.example.com ",
        " https://auth.example.com",
        "https://auth.example.com\0",
        "https://auth.ex\u{430}mple.com",
        "auth.example.com",
        "*",
        "",
    ] {
        house.refuses_claims(&claims().with("iss", quoted(issuer)), TokenFault::Issuer);
    }
    let array = format!("[{}]", quoted(ISSUER));
    for raw in [&*array, "0", "true", "{}"] {
        house.refuses_claims(&claims().with("iss", raw), TokenFault::Claims);
    }
    house.accepts_claims(&claims().with("iss", r#""\u0068ttps:\/\/auth.example.com""#));
}

#[test]
fn an_audience_is_contained_to_the_letter() {
    let house = House::new();
    for audience in [
        "https://api.example.com/",
        "https://api.example.co",
        "https://api.example.com/v1",
        "https://API.example.com",
        "https://api.example.com,https://other.example.com",
        "https://other.example.com https://api.example.com",
        "https://api.example.com ",
        "https://auth.example.com",
        "*",
        "",
    ] {
        let audience = quoted(audience);
        house.refuses_claims(&claims().with("aud", &*audience), TokenFault::Audience);
        house.refuses_claims(&claims().with("aud", format!("[{audience}]")), TokenFault::Audience);
    }
    house.refuses_claims(&claims().with("aud", "[]"), TokenFault::Audience);
    let ours = quoted(AUDIENCE);
    for raw in [
        &*format!("[[{ours}]]"),
        &format!("[{ours},1]"),
        &format!("[{ours},null]"),
        &format!("[{ours},[]]"),
        &format!("{{{ours}:true}}"),
        &format!("{{\"aud\":{ours}}}"),
        "null",
        "0",
        "true",
    ] {
        house.refuses_claims(&claims().with("aud", raw), TokenFault::Claims);
    }
    for raw in [format!("[{ours}]"), format!("[\"x\",{ours}]"), format!("[{ours},{ours}]")] {
        house.accepts_claims(&claims().with("aud", raw));
    }
}

#[test]
fn a_typ_of_another_kind_of_token_is_refused() {
    let house = House::new();
    for typ in [
        "JWT",
        "jwt",
        "JOSE",
        "at",
        "at+jwt ",
        " at+jwt",
        "at+jwt;x=y",
        "at+jwt\0",
        "at\u{ff0b}jwt",
        "application/jwt",
        "application/application/at+jwt",
        "text/at+jwt",
        "id+jwt",
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "token-introspection+jwt",
        "at+sd-jwt",
        "",
    ] {
        house.refuses_header(&house.forger.header().with("typ", quoted(typ)), TokenFault::Type);
    }
    house.refuses_header(&house.forger.header().without("typ"), TokenFault::Type);
    for raw in ["null", "0", "true", "[\"at+jwt\"]", "{}"] {
        house.refuses_header(&house.forger.header().with("typ", raw), TokenFault::Malformed);
    }
}

#[test]
fn a_subject_type_is_one_of_three_to_the_letter() {
    let house = House::new();
    for kind in ["user", "entity", "customer"] {
        let validated = house.accepts_claims(&claims().with("subject_type", quoted(kind)));
        assert_eq!(validated.subject_type().as_str(), kind);
    }
    for raw in [
        "\"User\"",
        "\"USER\"",
        "\"user \"",
        "\"admin\"",
        "\"\"",
        "null",
        "0",
        "[\"user\"]",
        "{\"user\":true}",
    ] {
        house.refuses_claims(&claims().with("subject_type", raw), TokenFault::Claims);
    }
}

#[tokio::test]
async fn a_customers_or_an_entitys_token_is_refused_where_a_users_is_needed() {
    const ALL: &str = r#"[{"scope":{},"permissions":["*"]}]"#;
    let private = private_key(Algorithm::EdDSA);
    let key = SigningKey::new(&private, &DefaultProvider).unwrap();
    let fixture = Fixture::with(|builder| builder.keys(KeyRing::new(key)));
    fixture.entity("aa-1", "a secret that the test knows").await;
    let server = fixture.serve().await;
    let forger = Forger::of(&private);
    let body = json!({
        "ver": "1.0.0", "timestamp": "2026-01-01T00:00:00Z", "txnId": "t-1", "entityId": "aa-1",
    });
    for (kind, status) in [("user", 200), ("customer", 401), ("entity", 401)] {
        for subject in ["ops", "aa-1"] {
            let claims = claims()
                .with("sub", quoted(subject))
                .with("subject_type", quoted(kind))
                .with("acl", ALL);
            let token = forger.forge(&forger.header(), &claims);
            accepts(fixture.tokens.validator(), &token);
            let answer = server.post("/entity/secret/read", Some(&token), &body).await;
            assert_eq!(answer.status().as_u16(), status, "{kind} {answer:?}");
            if status == 401 {
                assert_challenged(&answer, 401, "invalid_token");
                let reset = server.post("/entity/secret/reset", Some(&token), &body).await;
                assert_challenged(&reset, 401, "invalid_token");
            }
        }
    }
    let current = server
        .post(
            "/entity/token/generate",
            None,
            &json!({"id": "aa-1", "secret": "a secret that the test knows"}),
        )
        .await;
    assert_eq!(current.status(), 200, "{current:?}");
}

#[tokio::test]
async fn an_authentication_token_is_no_access_token() {
    let fixture = Fixture::new();
    let host = Router::new().route("/", get(|| async { "let through" }));
    let server = Server::start(host.layer(fixture.tokens.validate_layer())).await;
    let session = fixture.session(|new| new).await;
    assert_challenged(&server.get("/", Some(&session)).await, 401, "invalid_token");
}

#[test]
fn a_token_ends_at_exp_plus_the_leeway_to_the_microsecond() {
    let house = House::new();
    let end = START + 3_600 + 60;
    let token = house.good();
    house.clock.set(Timestamp::from_secs(START + 3_600));
    let validated = house.accepts(&token);
    house.clock.set(Timestamp::from_micros(end * 1_000_000 - 1));
    house.accepts(&token);
    house.validator.recheck(&validated).unwrap();
    house.clock.set(Timestamp::from_secs(end));
    house.refuses(&token, TokenFault::Expired);
    assert_eq!(house.validator.recheck(&validated), Err(TokenFault::Expired));
}

#[test]
fn a_token_begins_at_nbf_and_iat_less_the_leeway_to_the_microsecond() {
    let house = House::new();
    for name in ["nbf", "iat"] {
        let token = house.with_claims(&claims().with(name, (START + 60).to_string()));
        let later = house.with_claims(&claims().with(name, (START + 61).to_string()));
        house.clock.set(Timestamp::from_secs(START));
        let validated = house.accepts(&token);
        house.refuses(&later, TokenFault::NotYetValid);
        house.clock.set(Timestamp::from_micros(START * 1_000_000 - 1));
        house.refuses(&token, TokenFault::NotYetValid);
        assert_eq!(house.validator.recheck(&validated), Err(TokenFault::NotYetValid));
        house.clock.set(Timestamp::from_secs(START + 1));
        house.accepts(&later);
    }
}

#[test]
fn exp_is_refused_at_now_less_the_leeway_and_accepted_a_second_later() {
    let house = House::new();
    for (exp, good) in [
        (START, true),
        (START - 1, true),
        (START - 59, true),
        (START - 60, false),
        (START - 61, false),
    ] {
        let token = house.with_claims(&claims().with("exp", exp.to_string()));
        assert_eq!(house.validator.validate(&token).is_ok(), good, "{exp}");
        if !good {
            house.refuses(&token, TokenFault::Expired);
        }
    }
}

fn with_leeway(house: &House, leeway: Duration) -> Validator {
    Validator::builder()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .keys(KeyRing::new(house.key.clone()))
        .clock(Arc::new(house.clock.clone()))
        .leeway(leeway)
        .build()
        .unwrap()
}

#[test]
fn without_leeway_a_token_that_expires_exactly_now_is_refused() {
    let house = House::new();
    let validator = with_leeway(&house, Duration::ZERO);
    let expiring = |exp: u64| house.with_claims(&claims().with("exp", exp.to_string()));
    refuses(&validator, &expiring(START), TokenFault::Expired);
    accepts(&validator, &expiring(START + 1));
    for name in ["nbf", "iat"] {
        let beginning = |at: u64| house.with_claims(&claims().with(name, at.to_string()));
        accepts(&validator, &beginning(START));
        refuses(&validator, &beginning(START + 1), TokenFault::NotYetValid);
    }
}

#[test]
fn the_leeway_is_300_seconds_at_most() {
    let house = House::new();
    let validator = with_leeway(&house, Duration::from_secs(300));
    for (exp, good) in [(START - 299, true), (START - 300, false)] {
        let token = house.with_claims(&claims().with("exp", exp.to_string()));
        assert_eq!(validator.validate(&token).is_ok(), good, "{exp}");
    }
    for name in ["nbf", "iat"] {
        for (at, good) in [(START + 300, true), (START + 301, false)] {
            let token = house.with_claims(&claims().with(name, at.to_string()));
            assert_eq!(validator.validate(&token).is_ok(), good, "{name} {at}");
        }
    }
    for leeway in [Duration::from_millis(300_001), Duration::from_secs(301), Duration::MAX] {
        let builder = Validator::builder()
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .keys(KeyRing::new(house.key.clone()))
            .leeway(leeway);
        let kind = builder.build().unwrap_err().kind();
        assert_eq!(kind, countersign::ErrorKind::Configuration);
    }
}

#[tokio::test]
async fn claims_that_are_refused_are_a_401_over_http_and_only_expiry_is_told() {
    let (forger, server) = guarded().await;
    let refused = |header: &Members, claims: &Members| forger.forge(header, claims);
    let header = forger.header();
    let expired = refused(&header, &claims().with("exp", "0"));
    let answer = server.get("/", Some(&expired)).await;
    assert_challenged(&answer, 401, "invalid_token");
    assert_eq!(answer.json()["detail"], "The access token has expired");
    for token in [
        refused(&header.clone().with("alg", "\"none\""), &claims()),
        refused(&header.clone().with("kid", "\"other\""), &claims()),
        refused(&header.clone().with("typ", "\"JWT\""), &claims()),
        refused(&header.clone().with("crit", "[]"), &claims()),
        refused(&header, &claims().with("exp", "18446744073709551615")),
        refused(&header, &claims().with("exp", "1e400")),
        refused(&header, &claims().with("nbf", quoted("0"))),
        refused(&header, &claims().with("iat", (START + 61).to_string())),
        refused(&header, &claims().with("iss", "\"https://other.example.com\"")),
        refused(&header, &claims().with("aud", "[]")),
        refused(&header, &claims().without("jti")),
        refused(&header, &claims().and("sub", "\"cus_2\"")),
    ] {
        let answer = server.get("/", Some(&token)).await;
        assert_challenged(&answer, 401, "invalid_token");
        assert_eq!(answer.json()["detail"], "The access token is not valid");
    }
}
