//! Issuers elsewhere, whose keys are fetched: also from one that is down, slow, or answers nonsense.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use countersign::clock::Clock as _;
use countersign::faults::TokenFault;
use countersign::jose::SigningKey;
use countersign::testing::{IssuerServer, TestClock, TestIssuer, TestToken};
use countersign::trusted_issuer::MappedClaims;
use countersign::{
    Acl, AclEntry, Algorithm, Bearer, Entity, EntityId, Error, ErrorKind, KeyRing, Organization,
    OrganizationId, Policy, SubjectType, TrustedIssuer, ValidateLayer, Validator,
};
use http::header::CACHE_CONTROL;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::support::jose::{base64url_decode, base64url_encode};
use crate::support::{ISSUER, Server};

const AUDIENCE: &str = "https://api.example.com";
const MINUTE: Duration = Duration::from_secs(60);
/// How many ask at once.
const CALLERS: usize = 32;

/// How a server answers that is asked for keys.
#[derive(Clone, Debug, PartialEq)]
enum Fault {
    None,
    Hangs,
    Fails,
    Empty,
    NoKeys,
    Html,
    TooLong,
    Redirects,
    Drips,
    AllBad,
    /// Anything else.
    Says(String),
}

/// A server of keys that does as it is told, and counts.
struct KeyServer {
    issuer: TestIssuer,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    fault: Mutex<Fault>,
    set: Mutex<String>,
    cache_control: Mutex<&'static str>,
    fetches: AtomicUsize,
    /// Told of each fetch.
    fetched: watch::Sender<usize>,
    url: String,
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl KeyServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let issuer = TestIssuer::named("https://idp.example.com")
            .signing_with(SigningKey::generate(Algorithm::EdDSA).unwrap());
        let shared = Arc::new(Shared {
            fault: Mutex::new(Fault::None),
            set: Mutex::new(issuer.jwks()),
            cache_control: Mutex::new("max-age=600"),
            fetches: AtomicUsize::new(0),
            fetched: watch::Sender::new(0),
            url,
        });
        let app = Router::new()
            .route("/jwks.json", get(serve_keys))
            .route("/elsewhere", get(serve_elsewhere))
            .with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { issuer, shared, serving }
    }

    fn set_fault(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap() = fault;
    }

    fn set_cache_control(&self, cache_control: &'static str) {
        *self.shared.cache_control.lock().unwrap() = cache_control;
    }

    /// Publishes the keys that there are now, and no others.
    fn publish(&self) {
        *self.shared.set.lock().unwrap() = self.issuer.jwks();
    }

    /// Has another key in the place of all others, as an issuer does that lost the old one.
    fn swap_key(&mut self) {
        let clock = self.issuer.clock().clone();
        self.issuer = TestIssuer::named("https://idp.example.com")
            .signing_with(SigningKey::generate(Algorithm::EdDSA).unwrap())
            .by_clock(clock);
        self.publish();
    }

    fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }

    /// Returns once there were so many fetches.
    async fn fetched(&self, times: usize) {
        let mut fetched = self.shared.fetched.subscribe();
        let waiting = fetched.wait_for(|fetches| *fetches >= times);
        let _seen = tokio::time::timeout(MINUTE, waiting).await.expect("a fetch").unwrap();
    }

    fn trusted(&self) -> TrustedIssuer {
        TrustedIssuer::new("https://idp.example.com")
            .audience(AUDIENCE)
            .jwks_url(format!("{}/jwks.json", self.shared.url))
            .dangerous_allow_http()
    }

    fn validator(&self, trusted: TrustedIssuer) -> Validator {
        validator(self.issuer.clock(), [trusted])
    }

    fn token(&self) -> TestToken {
        self.issuer.token().user("jane@idp")
    }
}

async fn serve_keys(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let fetches = shared.fetches.fetch_add(1, Ordering::SeqCst) + 1;
    shared.fetched.send_replace(fetches);
    let fault = shared.fault.lock().unwrap().clone();
    let set = shared.set.lock().unwrap().clone();
    let cache_control = *shared.cache_control.lock().unwrap();
    let answer = |body: Body| Response::builder().header(CACHE_CONTROL, cache_control).body(body);
    let body = match fault {
        Fault::None => Body::from(set),
        Fault::Hangs => std::future::pending().await,
        Fault::Fails => {
            let failed = Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR);
            return failed.body(Body::from(set)).unwrap();
        }
        Fault::Empty => Body::empty(),
        Fault::NoKeys => Body::from(r#"{"keys": []}"#),
        Fault::Html => Body::from("<html>Sign in to continue</html>"),
        Fault::TooLong => Body::from(format!("{set}{}", " ".repeat(10_000_000))),
        Fault::Redirects => {
            let elsewhere = format!("{}/elsewhere", shared.url);
            let redirect = Response::builder().status(StatusCode::FOUND);
            return redirect.header("location", elsewhere).body(Body::empty()).unwrap();
        }
        Fault::Drips => Body::from_stream(futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, Infallible>(" "), ()))
        })),
        Fault::AllBad => Body::from(r#"{"keys": [{"kty": "oct", "k": "AAAA"}, 7]}"#),
        Fault::Says(text) => Body::from(text),
    };
    answer(body).unwrap()
}

/// Where nobody may be led: it has the keys.
async fn serve_elsewhere(State(shared): State<Arc<Shared>>) -> String {
    shared.set.lock().unwrap().clone()
}

/// A validator of its own tokens and of those of others.
fn validator(clock: &TestClock, trusted: impl IntoIterator<Item = TrustedIssuer>) -> Validator {
    let builder = Validator::builder()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .keys(KeyRing::new(countersign::testing::signing_key()))
        .clock(Arc::new(clock.clone()));
    let all = trusted.into_iter().fold(builder, |builder, one| builder.trusted_issuer(one));
    all.build().unwrap()
}

async fn fault(validator: &Validator, token: &TestToken) -> Option<TokenFault> {
    validator.validate_fetching(&token.sign()).await.err()
}

fn app(validator: Validator) -> Router {
    let me = get(|Bearer(claims): Bearer| async move { claims.principal().id().to_owned() });
    Router::new().route("/me", me).layer(ValidateLayer::new(validator))
}

#[tokio::test]
async fn a_token_of_a_trusted_issuer_is_accepted_and_its_keys_are_fetched_once() {
    let server = KeyServer::start().await;
    let app = Server::start(app(server.validator(server.trusted()))).await;
    let mut asking = JoinSet::new();
    let app = Arc::new(app);
    for _ in 0..CALLERS {
        let (app, token) = (Arc::clone(&app), server.token().sign());
        asking.spawn(async move { app.get("/me", Some(&token)).await.expect(200).text() });
    }
    assert!(asking.join_all().await.iter().all(|subject| subject == "jane@idp"));
    assert_eq!(server.fetches(), 1, "whoever came meanwhile has waited for the first");
}

#[tokio::test]
async fn the_app_starts_while_the_issuer_is_down_and_its_tokens_are_503_until_it_is_back() {
    for down in [
        Fault::Fails,
        Fault::Empty,
        Fault::NoKeys,
        Fault::Html,
        Fault::TooLong,
        Fault::Redirects,
        Fault::AllBad,
        Fault::Hangs,
        Fault::Drips,
    ] {
        let server = KeyServer::start().await;
        server.set_fault(down.clone());
        let trusted = server.trusted().fetch_timeout(Duration::from_millis(200));
        let validator = server.validator(trusted);
        let error = validator.fetch_keys().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let app = Server::start(app(validator)).await;
        let token = server.token().sign();
        for _ in 0..CALLERS {
            let rejected = app.get("/me", Some(&token)).await.expect(503);
            assert!(matches!(rejected.header("retry-after"), "1" | "2" | "3"));
        }
        assert_eq!(server.fetches(), 1, "{down:?}: within the cooldown nobody asks again");
        app.get("/me", Some("a.forged.token")).await.expect(401);
        let own = TestIssuer::named(ISSUER).by_clock(server.issuer.clock().clone());
        app.get("/me", Some(&own.token().sign())).await.expect(200);

        server.set_fault(Fault::None);
        server.issuer.clock().advance(Duration::from_secs(1));
        app.get("/me", Some(&token)).await.expect(200);
        assert_eq!(server.fetches(), 2, "{down:?}");
    }
}

#[tokio::test]
async fn keys_that_never_came_are_asked_for_ever_more_seldom() {
    let server = KeyServer::start().await;
    server.set_fault(Fault::Fails);
    let validator = server.validator(server.trusted());
    let token = server.token().expires_in(100 * MINUTE);
    let mut at = Vec::new();
    for second in 0..100 {
        let before = server.fetches();
        assert_eq!(fault(&validator, &token).await, Some(TokenFault::KeysUnavailable));
        if server.fetches() > before {
            at.push(second);
        }
        server.issuer.clock().advance(Duration::from_secs(1));
    }
    assert_eq!(at, [0, 1, 3, 7, 15, 31, 61, 91], "doubled, up to the cooldown");
}

#[tokio::test]
async fn keys_that_are_known_serve_while_the_issuer_is_down_and_no_longer_than_they_may() {
    let server = KeyServer::start().await;
    let validator = server.validator(server.trusted().max_staleness(60 * MINUTE));
    let token = server.token().expires_in(1_000 * MINUTE);
    assert_eq!(fault(&validator, &token).await, None);
    for down in [Fault::Fails, Fault::Html, Fault::NoKeys, Fault::AllBad, Fault::TooLong] {
        server.set_fault(down);
        server.issuer.clock().advance(10 * MINUTE);
        // They are asked for behind the requests' backs.
        let fetches = server.fetches();
        while server.fetches() == fetches {
            assert_eq!(fault(&validator, &token).await, None);
            tokio::task::yield_now().await;
        }
        for _ in 0..CALLERS {
            assert_eq!(fault(&validator, &token).await, None);
        }
        assert_eq!(server.fetches(), fetches + 1);
    }
    server.issuer.clock().advance(10 * MINUTE);
    assert_eq!(fault(&validator, &token).await, Some(TokenFault::KeysUnavailable));
    server.set_fault(Fault::None);
    server.issuer.clock().advance(MINUTE);
    assert_eq!(fault(&validator, &token).await, None);
}

#[tokio::test]
async fn after_an_idle_spell_a_key_that_its_issuer_has_ended_is_rejected() {
    let mut server = KeyServer::start().await;
    let validator = server.validator(server.trusted());
    let old = server.token().expires_in(1_000 * MINUTE);
    assert_eq!(fault(&validator, &old).await, None);
    server.swap_key();
    server.issuer.clock().advance(60 * MINUTE);
    let app = Server::start(app(validator.clone())).await;
    // The very first request: it waits for the keys, though it is known and they could be used.
    app.get("/me", Some(&old.sign())).await.expect(401);
    app.get("/me", Some(&server.token().sign())).await.expect(200);
    assert_eq!(server.fetches(), 2);
}

#[tokio::test]
async fn keys_get_no_older_than_the_host_allows_though_their_issuer_says_more() {
    let server = KeyServer::start().await;
    server.set_cache_control("max-age=86400");
    let validator = server.validator(server.trusted().max_staleness(5 * MINUTE));
    let token = server.token().expires_in(1_000 * MINUTE);
    assert_eq!(fault(&validator, &token).await, None);
    server.set_fault(Fault::Fails);
    server.issuer.clock().advance(6 * MINUTE);
    assert_eq!(fault(&validator, &token).await, Some(TokenFault::KeysUnavailable));
}

#[tokio::test]
async fn keys_that_a_clock_was_ahead_for_are_fetched_again_once_it_is_right() {
    let mut server = KeyServer::start().await;
    let validator = server.validator(server.trusted());
    let clock = server.issuer.clock().clone();
    let right = clock.now();
    clock.advance(1_000_000 * MINUTE);
    assert_eq!(fault(&validator, &server.token()).await, None);
    clock.set(right);
    let old = server.token();
    server.swap_key();
    assert_eq!(fault(&validator, &old).await, Some(TokenFault::UnknownKey));
    assert_eq!(fault(&validator, &server.token()).await, None);
}

#[tokio::test]
async fn looking_again_at_what_was_validated_has_keys_fetched_and_asks_all_that_validating_asks() {
    let mut server = KeyServer::start().await;
    let validator = server.validator(server.trusted());
    let token = server.token().expires_in(1_000 * MINUTE).sign();
    let validated = validator.validate_fetching(&token).await.unwrap();
    validator.recheck(&validated).unwrap();
    server.swap_key();
    server.issuer.clock().advance(60 * MINUTE);
    assert_eq!(validator.recheck(&validated).unwrap_err(), TokenFault::KeysUnavailable);
    server.fetched(2).await;
    let rejected = async || loop {
        match validator.recheck(&validated) {
            Err(TokenFault::KeysUnavailable) => tokio::task::yield_now().await,
            outcome => return outcome.unwrap_err(),
        }
    };
    let rejected = tokio::time::timeout(MINUTE, rejected()).await.unwrap();
    assert_eq!(rejected, TokenFault::UnknownKey);

    let narrow = server.validator(server.trusted().algorithms([Algorithm::RS256]));
    assert!(narrow.recheck(&validated).is_err());
}

/// Both are of one issuer and signed by one key. What tells them apart is who says what the claims mean.
#[tokio::test]
async fn a_token_is_not_accepted_again_where_its_claims_would_be_read_otherwise() {
    let server = KeyServer::start().await;
    let own = server.issuer.validator();
    let mapped = server.trusted().map_claims(|_| {
        let acl = Acl::new([AclEntry::anywhere(["*"])?]);
        Ok(MappedClaims::new(SubjectType::User, "mapped").acl(acl))
    });
    let trusting = server.validator(mapped);
    let token = server.token().sign();

    let read_as_it_is = own.validate(&token).unwrap();
    let read_by_a_mapping = trusting.validate_fetching(&token).await.unwrap();
    own.recheck(&read_as_it_is).unwrap();
    trusting.recheck(&read_by_a_mapping).unwrap();
    assert_eq!(trusting.recheck(&read_as_it_is), Err(TokenFault::UnknownKey));
    assert_eq!(own.recheck(&read_by_a_mapping), Err(TokenFault::Issuer));
}

#[tokio::test]
async fn what_may_be_a_secret_in_the_url_of_keys_is_shown_nowhere() {
    let url = "https://svc:pass-word@idp.example.com/keys?api_key=pass-word";
    let trusted = TrustedIssuer::new("https://idp.example.com").audience(AUDIENCE).jwks_url(url);
    let shown = format!("{trusted:?}");
    assert!(shown.contains("https://idp.example.com/keys"), "{shown}");
    let validator = validator(&TestClock::new(), [trusted]);
    for shown in [shown, format!("{validator:?}")] {
        assert!(!shown.contains("pass-word"), "{shown}");
    }
}

#[tokio::test]
async fn keys_are_fetched_ahead_of_their_end_and_nobody_waits() {
    let server = KeyServer::start().await;
    let validator = server.validator(server.trusted());
    let token = server.token();
    assert_eq!(fault(&validator, &token).await, None);
    server.issuer.clock().advance(7 * MINUTE);
    assert_eq!(fault(&validator, &token).await, None);
    assert_eq!(server.fetches(), 1);
    server.issuer.clock().advance(2 * MINUTE);
    // Also where the token is known, and where the fetch does not end.
    server.set_fault(Fault::Hangs);
    assert!(validator.validate(&token.sign()).is_ok());
    server.fetched(2).await;
    assert!(validator.validate(&token.sign()).is_ok());
}

#[tokio::test]
async fn a_key_that_was_swapped_is_fetched_once_and_what_the_old_one_signed_is_rejected() {
    let mut server = KeyServer::start().await;
    let validator = server.validator(server.trusted());
    let old = server.token();
    assert_eq!(fault(&validator, &old).await, None);
    server.issuer.clock().advance(MINUTE);
    server.swap_key();
    let app = Arc::new(Server::start(app(validator.clone())).await);
    let mut asking = JoinSet::new();
    for _ in 0..CALLERS {
        let (app, token) = (Arc::clone(&app), server.token().sign());
        asking.spawn(async move { app.get("/me", Some(&token)).await.status() });
    }
    assert!(asking.join_all().await.iter().all(|status| *status == StatusCode::OK));
    assert_eq!(server.fetches(), 2);
    // It was known, and is looked at again.
    app.get("/me", Some(&old.sign())).await.expect(401);
    assert_eq!(server.fetches(), 2);
}

#[tokio::test]
async fn unknown_kids_have_the_keys_fetched_at_most_once_a_cooldown_and_push_nothing_out() {
    let server = KeyServer::start().await;
    let validator = server.validator(server.trusted());
    assert_eq!(fault(&validator, &server.token()).await, None);
    for number in 0..CALLERS {
        let forged = server.token().header("kid", number.to_string());
        assert_eq!(fault(&validator, &forged).await, Some(TokenFault::UnknownKey));
    }
    assert_eq!(server.fetches(), 1);
    server.issuer.clock().advance(MINUTE);
    for number in 0..CALLERS {
        let forged = server.token().header("kid", number.to_string());
        assert_eq!(fault(&validator, &forged).await, Some(TokenFault::UnknownKey));
    }
    assert_eq!(server.fetches(), 2);
    assert_eq!(fault(&validator, &server.token()).await, None);

    // Whether a kid is unknown cannot be told of an issuer that is down.
    server.set_fault(Fault::Fails);
    server.issuer.clock().advance(MINUTE);
    let unknown = server.token().header("kid", "new");
    assert_eq!(fault(&validator, &unknown).await, Some(TokenFault::KeysUnavailable));
    assert_eq!(fault(&validator, &server.token()).await, None);
}

#[tokio::test]
async fn a_bad_key_is_left_out_and_two_of_one_name_both_are() {
    let server = KeyServer::start().await;
    let good: serde_json::Value = serde_json::from_str(&server.issuer.jwks()).unwrap();
    let good = good["keys"][0].clone();
    let mut for_encryption = good.clone();
    for_encryption["use"] = json!("enc");
    let other = SigningKey::generate(Algorithm::EdDSA).unwrap();
    let [mut one, mut two] = [other.verifying_key().to_jwk().unwrap(), good.clone()];
    (one["kid"], two["kid"]) = (json!("twice"), json!("twice"));
    let set = json!({"keys": [7, {"kty": "RSA"}, for_encryption, one, two, good]});
    server.set_fault(Fault::Says(set.to_string()));
    let validator = server.validator(server.trusted());
    assert_eq!(fault(&validator, &server.token()).await, None);
    for key in [&other, &server.issuer.keys().active().unwrap()] {
        let ambiguous = server.token().wrong_key(key).header("kid", "twice");
        assert_eq!(fault(&validator, &ambiguous).await, Some(TokenFault::UnknownKey));
    }
}

#[tokio::test]
async fn a_key_that_is_written_in_another_form_and_means_one_thing_is_read() {
    let server = KeyServer::start().await;
    let good: serde_json::Value = serde_json::from_str(&server.issuer.jwks()).unwrap();
    let good = good["keys"][0].clone();
    let with = |name: &str, value: serde_json::Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    let x = good["x"].as_str().unwrap();
    let standard = x.replace('-', "+").replace('_', "/");
    let sets = [
        json!({"keys": [good, good]}).to_string(),
        json!({"keys": [with("x", json!(format!("{x}=")))]}).to_string(),
        json!({"keys": [with("x", json!(format!("{standard}=")))]}).to_string(),
        json!({"keys": [with("alg", json!("Ed25519"))]}).to_string(),
        json!({"keys": [with("alg", json!(null))]}).to_string(),
        json!({"keys": [with("use", json!(null))]}).to_string(),
        json!({"keys": [with("x5c", json!("text"))]}).to_string(),
        json!({"keys": [with("key_ops", json!("verify"))]}).to_string(),
        format!("\u{feff}{}", json!({"keys": [good]})),
    ];
    for set in sets {
        server.set_fault(Fault::Says(set.clone()));
        let validator = server.validator(server.trusted());
        assert_eq!(fault(&validator, &server.token()).await, None, "{set}");
    }
    for operations in [json!("encrypt"), json!(["sign"]), json!([]), json!(7)] {
        let other = SigningKey::generate(Algorithm::EdDSA).unwrap();
        let other = other.verifying_key().to_jwk().unwrap();
        let set = json!({"keys": [other, with("key_ops", operations)]});
        server.set_fault(Fault::Says(set.to_string()));
        let validator = server.validator(server.trusted());
        let found = fault(&validator, &server.token()).await;
        assert_eq!(found, Some(TokenFault::UnknownKey), "{set}");
    }
}

#[tokio::test]
async fn different_keys_of_one_name_are_told_apart_by_their_algorithm() {
    let server = KeyServer::start().await;
    let good: serde_json::Value = serde_json::from_str(&server.issuer.jwks()).unwrap();
    let good = good["keys"][0].clone();
    let mut other = SigningKey::generate(Algorithm::ES256).unwrap();
    let mut jwk = other.verifying_key().to_jwk().unwrap();
    // A number that begins with zero, which some leave out: one key in 128.
    while base64url_decode(jwk["x"].as_str().unwrap())[0] != 0 {
        other = SigningKey::generate(Algorithm::ES256).unwrap();
        jwk = other.verifying_key().to_jwk().unwrap();
    }
    let x = base64url_decode(jwk["x"].as_str().unwrap());
    for written in [x[1..].to_vec(), [&[0], &*x].concat()] {
        jwk["x"] = json!(base64url_encode(written));
        jwk["kid"] = good["kid"].clone();
        let set = json!({"keys": [jwk, good]});
        server.set_fault(Fault::Says(set.to_string()));
        let validator = server.validator(server.trusted());
        assert_eq!(fault(&validator, &server.token()).await, None);
        let kid = good["kid"].as_str().unwrap();
        let by_other = server.token().header("alg", "ES256").header("kid", kid);
        assert_eq!(fault(&validator, &by_other.wrong_key(&other)).await, None);
    }
}

#[tokio::test]
async fn keys_are_found_by_the_issuers_metadata_and_by_no_others() {
    let server = IssuerServer::start().await;
    let trusted = |name: &str| TrustedIssuer::new(name).audience(AUDIENCE).dangerous_allow_http();
    let clock = server.issuer().clock();
    let discovering = validator(clock, [trusted(server.url())]);
    discovering.fetch_keys().await.unwrap();
    assert_eq!(fault(&discovering, &server.issuer().token()).await, None);

    // The same place under another name: what it says is its own.
    let other = format!("{}/", server.url());
    let misled = validator(clock, [trusted(&other)]);
    let token = server.issuer().token().wrong_issuer(&other);
    assert_eq!(fault(&misled, &token).await, Some(TokenFault::KeysUnavailable));
}

#[tokio::test]
async fn what_is_not_safe_is_not_configured() {
    let builds = |trusted: Vec<TrustedIssuer>| {
        let builder = Validator::builder()
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .keys(KeyRing::generate(Algorithm::EdDSA).unwrap());
        let all = trusted.into_iter().fold(builder, |builder, one| builder.trusted_issuer(one));
        all.build().map_err(|error| error.kind())
    };
    let good = || TrustedIssuer::new("https://idp.example.com").audience(AUDIENCE);
    builds(vec![good()]).unwrap();
    let bad = [
        vec![TrustedIssuer::new("https://idp.example.com")],
        vec![TrustedIssuer::new("http://idp.example.com").audience(AUDIENCE)],
        vec![TrustedIssuer::new(ISSUER).audience(AUDIENCE)],
        vec![TrustedIssuer::new("not a URL").audience(AUDIENCE)],
        vec![good().jwks_url("http://idp.example.com/jwks.json")],
        vec![good().jwks_url("file:///etc/passwd").dangerous_allow_http()],
        vec![good().algorithms([Algorithm::EdDSA, Algorithm::HS256])],
        vec![good().algorithms([])],
        vec![good().cooldown(Duration::ZERO)],
        vec![good().default_max_age(Duration::MAX)],
        vec![good().max_staleness(Duration::MAX)],
        vec![good(), good()],
    ];
    for trusted in bad {
        let shown = format!("{trusted:?}");
        assert_eq!(builds(trusted).unwrap_err(), ErrorKind::Configuration, "{shown}");
    }
}

#[tokio::test]
async fn each_issuers_keys_are_for_its_own_tokens_though_two_have_one_key_in_common() {
    let (one, other) = (KeyServer::start().await, IssuerServer::start().await);
    let clock = one.issuer.clock();
    let elsewhere = TrustedIssuer::new(other.url())
        .audience(AUDIENCE)
        .jwks_url(other.jwks_url())
        .dangerous_allow_http();
    let validator = validator(clock, [one.trusted(), elsewhere]);
    validator.fetch_keys().await.unwrap();
    assert_eq!(fault(&validator, &one.token()).await, None);
    assert_eq!(fault(&validator, &other.issuer().token()).await, None);
    // In the name of the other, by one's own key.
    let forged = one.token().wrong_issuer(other.url());
    assert_eq!(fault(&validator, &forged).await, Some(TokenFault::UnknownKey));
    let forged = one.token().wrong_issuer(ISSUER);
    assert_eq!(fault(&validator, &forged).await, Some(TokenFault::UnknownKey));
    let own = TestIssuer::named(ISSUER).by_clock(clock.clone());
    let forged = own.token().wrong_issuer("https://idp.example.com");
    assert_eq!(fault(&validator, &forged).await, Some(TokenFault::UnknownKey));
    let stranger = one.token().wrong_issuer("https://stranger.example.com");
    assert_eq!(fault(&validator, &stranger).await, Some(TokenFault::Issuer));
}

#[tokio::test]
async fn a_bad_token_of_a_trusted_issuer_is_rejected_as_ones_own_is() {
    let server = KeyServer::start().await;
    let validator = server.validator(server.trusted());
    let token = || server.token();
    let public = server.issuer.jwks();
    let hmac = json!({"kty": "oct", "k": "A".repeat(64)}).to_string();
    let hmac = SigningKey::from_jwk(hmac.as_bytes()).unwrap();
    let bad = [
        (token().expired(), TokenFault::Expired),
        (token().not_yet_valid(), TokenFault::NotYetValid),
        (token().wrong_audience("https://elsewhere.example.com"), TokenFault::Audience),
        (token().claim("aud", json!([[AUDIENCE]])), TokenFault::Claims),
        (token().claim("aud", json!([])), TokenFault::Audience),
        (token().without("aud"), TokenFault::Audience),
        (token().without("exp"), TokenFault::Claims),
        (token().claim("exp", "4102444800"), TokenFault::Claims),
        (token().claim("iat", -1), TokenFault::Claims),
        (token().claim("jti", ""), TokenFault::Claims),
        (token().without("sub"), TokenFault::Claims),
        (token().claim("sub", " "), TokenFault::Claims),
        (token().tampered(), TokenFault::Signature),
        (
            token().wrong_key(&SigningKey::generate(Algorithm::EdDSA).unwrap()),
            TokenFault::Signature,
        ),
        (token().wrong_key(&hmac).header("alg", "HS256"), TokenFault::Algorithm),
        (token().header("alg", "none"), TokenFault::Algorithm),
        (token().header("alg", "RS256"), TokenFault::UnknownKey),
        (token().header("typ", "JWT"), TokenFault::Type),
        (token().header("crit", ["exp"]), TokenFault::UnsupportedHeader),
        (
            token().header("jku", format!("{}/elsewhere", server.shared.url)).header("kid", "x"),
            TokenFault::UnknownKey,
        ),
        (token().header("jwk", public).header("kid", "x"), TokenFault::UnknownKey),
    ];
    assert_eq!(fault(&validator, &token()).await, None);
    for (token, expected) in bad {
        for _ in 0..2 {
            assert_eq!(fault(&validator, &token).await, Some(expected), "{token:?}");
        }
    }
    assert!(fault(&validator, &token().unsigned()).await.is_some());
    assert!(fault(&validator, &token().without("jti").without("iat")).await.is_none());
}

#[tokio::test]
async fn tokens_of_other_types_are_accepted_where_they_are_asked_for() {
    let server = KeyServer::start().await;
    let validator =
        server.validator(server.trusted().token_types(["JWT", "at+jwt"]).untyped_tokens());
    for typ in ["JWT", "jwt", "application/at+jwt"] {
        assert_eq!(fault(&validator, &server.token().header("typ", typ)).await, None, "{typ}");
    }
    let token = server.token().header("typ", "logout+jwt");
    assert_eq!(fault(&validator, &token).await, Some(TokenFault::Type));
}

#[tokio::test]
async fn claims_are_read_as_the_host_says() {
    let server = KeyServer::start().await;
    let acl = |permission: &str| -> Result<Acl, Error> {
        Ok(Acl::new([AclEntry::anywhere([permission])?]))
    };
    let by_closure = server.trusted().map_claims(move |claims| {
        let scope = claims.text("scope").unwrap_or_default();
        let mapped =
            MappedClaims::new(SubjectType::Machine, claims.text("azp").unwrap_or_default());
        Ok(mapped.acl(acl(scope)?).client_id("their-client"))
    });
    let token = server.token().claim("scope", "GetOrders").claim("azp", "machine-1");
    let validator = server.validator(by_closure);
    let validated = validator.validate_fetching(&token.sign()).await.unwrap();
    assert_eq!(
        (validated.principal().id(), validated.principal().subject_type()),
        ("machine-1", SubjectType::Machine)
    );
    assert_eq!(
        (validated.client_id(), validated.issuer()),
        ("their-client", "https://idp.example.com")
    );
    assert!(validated.allows("GetOrders", &[]) && !validated.allows("PostOrder", &[]));
    assert_eq!(fault(&validator, &server.token()).await, Some(TokenFault::Claims));

    #[derive(Deserialize)]
    struct Theirs {
        sub: String,
        groups: Vec<String>,
    }
    let by_type = server.trusted().map_claims_as(move |theirs: Theirs| {
        let custom = json!({"groups": theirs.groups});
        MappedClaims::new(SubjectType::User, theirs.sub).custom_claims(custom)
    });
    let validator = server.validator(by_type);
    let token = server.token().claim("groups", ["staff"]);
    let validated = validator.validate_fetching(&token.sign()).await.unwrap();
    assert_eq!(validated.custom_claims()["groups"], json!(["staff"]));
    assert!(validated.acl().is_empty());
    assert_eq!(fault(&validator, &server.token()).await, Some(TokenFault::Claims));

    let no_object = server
        .trusted()
        .map_claims(|_| MappedClaims::new(SubjectType::User, "jane").custom_claims("gold"));
    let validator = server.validator(no_object);
    assert_eq!(fault(&validator, &server.token()).await, Some(TokenFault::Claims));

    let wildcard = server.trusted().map_claims(|_| {
        let entry = AclEntry::anywhere(["Storefront*"])?;
        Ok(MappedClaims::new(SubjectType::User, "jane").acl(Acl::new([entry])))
    });
    let validator = server.validator(wildcard);
    assert_eq!(fault(&validator, &server.token()).await, Some(TokenFault::Claims));

    let by_default = server.validator(server.trusted());
    let token = server.token().acl(&Acl::everything());
    let validated = by_default.validate_fetching(&token.sign()).await.unwrap();
    assert!(validated.acl().is_empty(), "what they may do elsewhere is nothing here");
}

#[tokio::test]
async fn a_subject_elsewhere_is_nobody_here() {
    let server = KeyServer::start().await;
    let clock = server.issuer.clock().clone();
    let everything = |claims: &countersign::trusted_issuer::ForeignClaims| {
        let subject = claims.text("sub").unwrap_or_default();
        Ok(MappedClaims::new(SubjectType::User, subject).acl(Acl::everything()))
    };
    let tokens = TestIssuer::named(ISSUER)
        .by_clock(clock)
        .service_builder()
        .trusted_issuer(server.trusted().map_claims(everything))
        .build()
        .unwrap();
    tokens.fetch_trusted_keys().await.unwrap();
    tokens.register(Entity::machine("aa-1").unwrap()).await.unwrap();
    let me = get(|Bearer(claims): Bearer| async move { claims.principal().id().to_owned() });
    let open = me.clone().layer(tokens.validate_layer_with_trusted_issuers());
    let app = tokens.router().route("/me", open).route("/ours", me.layer(tokens.validate_layer()));
    let app = Server::start(app).await;
    let theirs = server.token().user("jane").sign();
    assert_eq!(app.get("/me", Some(&theirs)).await.expect(200).text(), "jane");
    // Handlers meet them only behind a layer that says so.
    app.get("/ours", Some(&theirs)).await.expect(401);
    // Every route of the service's own.
    app.get("/authentication-tokens", Some(&theirs)).await.expect(401);
    let reset = json!({"entityId": "aa-1", "id": "aa-1"});
    app.post("/entity/secret/reset", Some(&theirs), &reset).await.expect(401);
    let fault = tokens.validator().validate(&theirs).unwrap_err();
    assert_eq!(fault, TokenFault::Issuer);

    // Also where the host hands it on to what manages its own.
    let elsewhere = server.validator(server.trusted().map_claims(everything));
    let theirs_known = elsewhere.validate_fetching(&theirs).await.unwrap();
    let context = countersign::RequestContext::without_address();
    let read = tokens
        .read_secret(&theirs_known, &EntityId::machine("aa-1").unwrap(), None, &context)
        .await
        .unwrap_err();
    assert_eq!(read.kind(), ErrorKind::InvalidEntity);
    let customer = countersign::CustomerId::new("cus_1").unwrap();
    let new = countersign::NewSession::of(customer);
    let started = tokens.start_session(&theirs_known, new, &context).await.unwrap_err();
    assert_eq!(started.kind(), ErrorKind::InsufficientPermission);

    // What is revoked here is one's own.
    let soon = tokens.now() + MINUTE;
    tokens
        .revoke_subject(&tokens.principal(SubjectType::User, "jane", Organization::All), soon)
        .await
        .unwrap();
    app.get("/me", Some(&theirs)).await.expect(200);
}

#[tokio::test]
async fn a_mapping_that_names_no_organization_is_rejected_where_one_is_required() {
    let server = KeyServer::start().await;
    let mapped = |organization: Option<Organization>| {
        server.trusted().map_claims(move |claims| {
            let mapped =
                MappedClaims::new(SubjectType::User, claims.text("sub").unwrap_or_default());
            Ok(match organization.clone() {
                Some(organization) => mapped.organization(organization),
                None => mapped,
            })
        })
    };
    let token = server.token().user("jane").sign();
    let one = Organization::One(OrganizationId::new("org_1").unwrap());
    for (organization, required, accepted) in [
        (None, false, true),
        (None, true, false),
        (Some(Organization::All), true, true),
        (Some(one), true, true),
    ] {
        let tokens = TestIssuer::named(ISSUER)
            .by_clock(server.issuer.clock().clone())
            .service_builder()
            .policy(
                Policy::default()
                    .principals(|principals| principals.organization_required(required)),
            )
            .trusted_issuer(mapped(organization))
            .build()
            .unwrap();
        let validator = tokens.validator_with_trusted_issuers();
        let outcome = validator.validate_fetching(&token).await;
        let expected = if accepted { None } else { Some(TokenFault::Claims) };
        assert_eq!(outcome.err(), expected);
    }
}
