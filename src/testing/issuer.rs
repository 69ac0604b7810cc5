use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::jose::{KeyRing, SigningKey};
use crate::service::{TokenService, TokenServiceBuilder};
use crate::testing::{TestClock, TestToken, new_key, signing_key};
use crate::token::claims::SubjectType;
use crate::validate::Validator;

/// Longer than a token of a test is looked at.
const RETIREMENT: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Who issues the tokens of a test, and a clock that they are dated by. Clones are the same issuer.
///
/// ```
/// use std::time::Duration;
/// use countersign::testing::TestIssuer;
///
/// let issuer = TestIssuer::new();
/// let token = issuer.token().user("jane.doe@example.com").sign();
/// let validator = issuer.validator();
/// assert_eq!(validator.validate(&token)?.principal().id(), "jane.doe@example.com");
///
/// issuer.clock().advance(Duration::from_secs(86_400));
/// assert!(validator.validate(&token).is_err());
/// # Ok::<(), countersign::faults::TokenFault>(())
/// ```
#[derive(Clone, Debug)]
pub struct TestIssuer {
    issuer: String,
    audience: String,
    keys: KeyRing,
    clock: TestClock,
}

impl TestIssuer {
    /// `https://issuer.example.com`, for `https://api.example.com`, with the ready
    /// [`signing_key`](crate::testing::signing_key).
    #[must_use]
    pub fn new() -> Self {
        Self::named("https://issuer.example.com")
    }

    /// An issuer of that `iss`.
    #[must_use]
    pub fn named(issuer: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: "https://api.example.com".to_owned(),
            keys: KeyRing::new(signing_key()),
            clock: TestClock::new(),
        }
    }

    /// Has its tokens be for another audience than `https://api.example.com`.
    #[must_use]
    pub fn for_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// Has it sign with a key of the test's own.
    #[must_use]
    pub fn signing_with(mut self, key: SigningKey) -> Self {
        self.keys = KeyRing::new(key);
        self
    }

    /// Has it go by a clock that the test moves for others, too.
    #[must_use]
    pub fn by_clock(mut self, clock: TestClock) -> Self {
        self.clock = clock;
        self
    }

    /// Its `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The `aud` of its tokens.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Returns the clock of its tokens and validators.
    #[must_use]
    pub fn clock(&self) -> &TestClock {
        &self.clock
    }

    /// Its keys.
    #[must_use]
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// Its public keys as a JWK Set (RFC 7517 §5).
    #[must_use]
    pub fn jwks(&self) -> String {
        self.keys.to_jwks(self.clock.now())
    }

    /// Signs with a new key from now on. The one before it still verifies.
    ///
    /// # Panics
    ///
    /// Where no key can be made.
    pub fn rotate(&self) {
        let announced = self.keys.announce(&new_key());
        let until = self.clock.now() + RETIREMENT;
        announced.and_then(|()| self.keys.rotate(until)).expect("a new key is unlike the others");
    }

    /// Ends a key that no longer signs: what it signed is rejected from now on.
    ///
    /// # Panics
    ///
    /// Where no key has that `kid`, or it is the one that signs.
    pub fn retire(&self, kid: &str) {
        self.keys.retire(kid, Timestamp::MIN).expect("a key that has been rotated away");
    }

    /// What checks its tokens.
    ///
    /// # Panics
    ///
    /// Where issuer or audience are blank.
    #[must_use]
    pub fn validator(&self) -> Validator {
        let builder = Validator::builder()
            .issuer(&self.issuer)
            .audience(&self.audience)
            .keys(self.keys.clone())
            .clock(self.clock.clone());
        builder.build().expect("an issuer and an audience that are not blank")
    }

    /// A service of that issuer, audience, keys and clock, in memory. Its tokens pass where this
    /// issuer's do, and the other way round.
    pub fn service_builder(&self) -> TokenServiceBuilder {
        TokenService::builder()
            .issuer(&self.issuer)
            .audience(&self.audience)
            .keys(self.keys.clone())
            .clock(self.clock.clone())
    }

    /// A good token of the user `jane.doe@example.com`, who may do nothing, for an hour. To be
    /// changed, and signed.
    ///
    /// # Panics
    ///
    /// Where none of the keys signs.
    pub fn token(&self) -> TestToken {
        let key = self.keys.active().expect("a key that signs");
        TestToken::new(key, &self.issuer, &self.audience, self.clock.now())
            .principal(SubjectType::User, "jane.doe@example.com")
    }
}

impl Default for TestIssuer {
    fn default() -> Self {
        Self::new()
    }
}
