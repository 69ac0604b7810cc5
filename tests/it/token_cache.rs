//! Tokens that a validator remembers: what may have changed since they were checked, and who may
//! push them out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use countersign::clock::Clock as _;
use countersign::faults::TokenFault;
use countersign::jose::{
    CryptoProvider, DefaultProvider, PrivateKey, Signer, SigningKey, VerificationKey, Verifier,
};
use countersign::{
    Acl, AclEntry, Algorithm, Error, Grant, KeyRing, Organization, Policy, RequestContext,
    SubjectType, TokenService, Validator,
};

use serde_json::{Map, Value, json};

use crate::support::{AUDIENCE, Fixture, ISSUER, clock_at_start, issue_now};

const MINUTE: Duration = Duration::from_secs(60);

/// Counts how often a signature is checked.
#[derive(Clone, Debug, Default)]
struct Counting(Arc<AtomicUsize>);

struct CountingVerifier {
    inner: Box<dyn Verifier>,
    count: Arc<AtomicUsize>,
}

impl Counting {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// A ring whose checks are counted.
    fn ring(&self) -> KeyRing {
        KeyRing::new(SigningKey::generate_with(Algorithm::EdDSA, self).unwrap())
    }
}

impl Verifier for CountingVerifier {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.inner.verify(message, signature)
    }
}

impl CryptoProvider for Counting {
    fn generate(&self, algorithm: Algorithm) -> Result<PrivateKey, Error> {
        DefaultProvider.generate(algorithm)
    }

    fn verification_key(&self, key: &PrivateKey) -> Result<VerificationKey, Error> {
        DefaultProvider.verification_key(key)
    }

    fn signer(&self, key: &PrivateKey) -> Result<Box<dyn Signer>, Error> {
        DefaultProvider.signer(key)
    }

    fn verifier(&self, key: &VerificationKey) -> Result<Box<dyn Verifier>, Error> {
        let inner = DefaultProvider.verifier(key)?;
        Ok(Box::new(CountingVerifier { inner, count: Arc::clone(&self.0) }))
    }
}

/// A service whose checks of signatures are counted.
fn counted(policy: Policy) -> (Fixture, Counting) {
    let counting = Counting::default();
    let fixture = Fixture::with_keys(counting.ring(), |builder| builder.policy(policy));
    (fixture, counting)
}

fn token(tokens: &TokenService) -> String {
    issue_now(tokens, Grant::user("ops")).unwrap().access_token.expose().to_owned()
}

/// The token is remembered by the validator of the fixture.
fn known(fixture: &Fixture) -> String {
    let token = token(&fixture.tokens);
    fixture.tokens.validator().validate(&token).unwrap();
    token
}

#[track_caller]
fn rejects(validator: &Validator, token: &str, fault: TokenFault) {
    assert_eq!(validator.validate(token).unwrap_err(), fault);
    assert_eq!(validator.validate(token).unwrap_err(), fault, "the second time, too");
}

#[test]
fn a_token_is_checked_once_and_is_the_same_from_then_on() {
    let (fixture, counting) = counted(Policy::default());
    let (first, second) = (token(&fixture.tokens), token(&fixture.tokens));
    let validator = fixture.tokens.validator();
    let validated = validator.validate(&first).unwrap();
    for _ in 0..10 {
        assert!(Arc::ptr_eq(&validated, &validator.validate(&first).unwrap()));
    }
    assert_eq!(counting.count(), 1);
    assert!(!Arc::ptr_eq(&validated, &validator.validate(&second).unwrap()));
    assert_eq!(counting.count(), 2);
}

#[test]
fn where_it_is_turned_off_each_request_is_a_check() {
    let (fixture, counting) = counted(Policy::default().tokens(|tokens| tokens.cache_bytes(0)));
    let token = known(&fixture);
    fixture.tokens.validator().validate(&token).unwrap();
    assert_eq!(counting.count(), 2);
}

#[test]
fn a_known_token_is_rejected_once_it_has_expired_or_the_clock_went_back() {
    let fixture = Fixture::new();
    let token = known(&fixture);
    let began = fixture.clock.now();
    let validator = fixture.tokens.validator();
    fixture.clock.set(began - MINUTE * 2);
    rejects(validator, &token, TokenFault::NotYetValid);
    fixture.clock.set(began + Duration::from_secs(86_400) + MINUTE - Duration::from_micros(1));
    validator.validate(&token).unwrap();
    fixture.clock.advance(Duration::from_micros(1));
    rejects(validator, &token, TokenFault::Expired);
}

#[tokio::test]
async fn a_known_token_is_rejected_once_it_or_its_subject_was_revoked() {
    let fixture = Fixture::new();
    let validator = fixture.tokens.validator();
    let issued = fixture.tokens.issue(Grant::user("ops")).await.unwrap();
    let (first, second) = (issued.access_token.expose(), known(&fixture));
    validator.validate(first).unwrap();
    fixture.tokens.revoke_token(&issued.token_id).await.unwrap();
    rejects(validator, first, TokenFault::Revoked);
    validator.validate(&second).unwrap();
    fixture.clock.advance(MINUTE);
    let now = fixture.clock.now();
    fixture
        .tokens
        .revoke_subject(&fixture.tokens.principal(SubjectType::User, "ops", Organization::All), now)
        .await
        .unwrap();
    rejects(validator, &second, TokenFault::Revoked);
}

#[tokio::test]
async fn a_known_token_is_rejected_once_its_session_was_ended() {
    let fixture = Fixture::new();
    let session = fixture.session(|new| new).await;
    let session = countersign::AuthenticationToken::from_text(&session).unwrap();
    let request = countersign::ExchangeRequest::default().invalidate(false);
    let exchanged = fixture
        .tokens
        .exchange(&session, request, &RequestContext::without_address())
        .await
        .unwrap();
    let token = exchanged.token.access_token.expose();
    let validator = fixture.tokens.validator();
    validator.validate(token).unwrap();
    let found = validator.validate(token).unwrap();
    fixture.tokens.end_session(found.session_id().unwrap()).await.unwrap();
    rejects(validator, token, TokenFault::Revoked);
}

#[test]
fn a_known_token_is_rejected_once_its_key_has_retired() {
    let clock = clock_at_start();
    let ring = KeyRing::generate(Algorithm::EdDSA).unwrap();
    let tokens = TokenService::builder()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .keys(ring.clone())
        .clock(clock.clone())
        .build()
        .unwrap();
    let old = token(&tokens);
    tokens.validator().validate(&old).unwrap();
    let old_kid = ring.active().unwrap().kid().to_owned();
    ring.announce(&SigningKey::generate(Algorithm::EdDSA).unwrap()).unwrap();
    ring.rotate(clock.now() + MINUTE).unwrap();
    tokens.validator().validate(&old).unwrap();
    let new = token(&tokens);
    tokens.validator().validate(&new).unwrap();
    // By its time.
    clock.advance(MINUTE);
    rejects(tokens.validator(), &old, TokenFault::UnknownKey);
    tokens.validator().validate(&new).unwrap();
    assert!(!tokens.jwks().contains(&old_kid));
    // At once.
    let compromised = ring.active().unwrap().kid().to_owned();
    ring.announce(&SigningKey::generate(Algorithm::EdDSA).unwrap()).unwrap();
    ring.rotate(clock.now() + MINUTE).unwrap();
    ring.retire(&compromised, clock.now()).unwrap();
    rejects(tokens.validator(), &new, TokenFault::UnknownKey);
}

#[test]
fn two_validators_with_different_rules_share_nothing() {
    let fixture = Fixture::new();
    let keys = KeyRing::generate(Algorithm::EdDSA).unwrap();
    let tokens = Fixture::with_keys(keys.clone(), |builder| builder).tokens;
    let token = token(&tokens);
    tokens.validator().validate(&token).unwrap();
    let other = |issuer: &str, audience: &str| {
        let building = Validator::builder().issuer(issuer).audience(audience).keys(keys.clone());
        building.clock(Arc::new(fixture.clock.clone())).build().unwrap()
    };
    let same = other(ISSUER, AUDIENCE);
    same.validate(&token).unwrap();
    rejects(&other(ISSUER, "https://other.example.com"), &token, TokenFault::Audience);
    rejects(&other("https://other.example.com", AUDIENCE), &token, TokenFault::Issuer);
    rejects(fixture.tokens.validator(), &token, TokenFault::UnknownKey);
}

#[test]
fn an_algorithm_that_is_not_allowed_here_stays_so_though_it_is_allowed_elsewhere() {
    let fixture = Fixture::new();
    let second = SigningKey::generate(Algorithm::ES256).unwrap();
    let keys = KeyRing::generate(Algorithm::EdDSA).unwrap();
    keys.announce(&second).unwrap();
    let signed_by_second = Fixture::with_keys(KeyRing::new(second), |builder| builder).tokens;
    let token = token(&signed_by_second);
    let building = || {
        let building = Validator::builder().issuer(ISSUER).audience(AUDIENCE).keys(keys.clone());
        building.clock(Arc::new(fixture.clock.clone()))
    };
    let (open, strict) =
        (building().build().unwrap(), building().algorithms([Algorithm::EdDSA]).build().unwrap());
    rejects(&strict, &token, TokenFault::Algorithm);
    open.validate(&token).unwrap();
    rejects(&strict, &token, TokenFault::Algorithm);
    let other = building().audience("https://other.example.com").build().unwrap();
    let validated = other.validate(&token).unwrap();
    open.recheck(&validated).unwrap();
    rejects(&strict, &token, TokenFault::Algorithm);
}

#[test]
fn what_a_token_carries_counts_for_the_memory_that_it_takes() {
    // Of a few kilobytes each, and more than fifty in memory.
    let custom = |claims: Value| Grant::user("ops").custom_claims(claims).unwrap();
    let members: Map<_, _> = (0..400).map(|number| (format!("{number:x}"), json!(0))).collect();
    let permissions = (0..500).map(|number| format!("p{number:x}"));
    let shapes = [
        custom(json!({"objects": vec![json!({"": 0}); 300]})),
        custom(json!({"numbers": vec![0; 1_500]})),
        custom(json!({"texts": vec![""; 1_000]})),
        custom(json!({"members": members})),
        Grant::user("ops").acl(Acl::new([AclEntry::anywhere(permissions).unwrap()])),
    ];
    for grant in shapes {
        let (fixture, counting) =
            counted(Policy::default().tokens(|tokens| tokens.cache_bytes(256 * 1024)));
        let validator = fixture.tokens.validator();
        let issue = || issue_now(&fixture.tokens, grant.clone()).unwrap();
        let heavy: Vec<_> = (0..20).map(|_| issue().access_token.expose().to_owned()).collect();
        for token in heavy.iter().chain(&heavy) {
            validator.validate(token).unwrap();
        }
        let count = counting.count();
        assert!(count > 30, "{count} of 40 were checked: they have no room");
    }
}

#[tokio::test]
async fn what_another_validator_has_checked_is_not_taken_as_known() {
    let keys = KeyRing::generate(Algorithm::EdDSA).unwrap();
    let build = || Fixture::with_keys(keys.clone(), |builder| builder);
    let (first, second) = (build(), build());
    let issued = first.tokens.issue(Grant::user("ops")).await.unwrap();
    // Each has heard of one revocation, and not of the same.
    let other = first.tokens.issue(Grant::user("ops")).await.unwrap();
    first.tokens.revoke_token(&other.token_id).await.unwrap();
    second.tokens.revoke_token(&issued.token_id).await.unwrap();
    let validated = first.tokens.validator().validate(issued.access_token.expose()).unwrap();
    first.tokens.validator().recheck(&validated).unwrap();
    let rejected = second.tokens.validator().recheck(&validated).unwrap_err();
    assert_eq!(rejected, TokenFault::Revoked);
}

#[test]
fn garbage_pushes_no_good_token_out() {
    // Room for a few tokens alone.
    let (fixture, counting) =
        counted(Policy::default().tokens(|tokens| tokens.cache_bytes(64 * 1024)));
    let good = known(&fixture);
    let validator = fixture.tokens.validator();
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    for number in 0..10_000 {
        // Well-formed, and with the end of a good signature.
        let forged = format!("{header}.{}.{signature}", "A".repeat(number % 400 + 4));
        assert!(validator.validate(&forged).is_err());
    }
    let checks = counting.count();
    validator.validate(&good).unwrap();
    assert_eq!(counting.count(), checks, "it is known still");
}

#[test]
fn memory_is_bounded_and_what_has_no_room_is_checked_again() {
    let (fixture, counting) =
        counted(Policy::default().tokens(|tokens| tokens.cache_bytes(64 * 1024)));
    let tokens: Vec<_> = (0..1_000).map(|_| token(&fixture.tokens)).collect();
    let validator = fixture.tokens.validator();
    for token in &tokens {
        validator.validate(token).unwrap();
    }
    assert_eq!(counting.count(), tokens.len());
    for token in &tokens {
        validator.validate(token).unwrap();
    }
    let again = counting.count() - tokens.len();
    assert!(again > tokens.len() / 2, "most of them had no room, and {again} were checked again");
}

#[test]
fn a_new_token_that_many_bring_at_once_is_checked_once() {
    let (fixture, counting) = counted(Policy::default());
    for _ in 0..20 {
        let (token, checks) = (token(&fixture.tokens), counting.count());
        let together = std::sync::Barrier::new(16);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    together.wait();
                    fixture.tokens.validator().validate(&token).unwrap();
                });
            }
        });
        assert_eq!(counting.count(), checks + 1);
    }
}

#[test]
fn a_bad_token_that_many_bring_at_once_is_rejected_to_all_of_them() {
    let fixture = Fixture::new();
    let good = token(&fixture.tokens);
    let forged = format!("{}A", &good[..good.len() - 1]);
    let forged = if forged == good { format!("{}Q", &good[..good.len() - 1]) } else { forged };
    let together = std::sync::Barrier::new(16);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                together.wait();
                assert!(fixture.tokens.validator().validate(&forged).is_err());
            });
        }
    });
}
