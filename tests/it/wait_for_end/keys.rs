//! Streams of tokens whose keys are retired, or that are of other issuers.

#[cfg(feature = "remote-jwks")]
use countersign::TrustedIssuer;
use countersign::jose::SigningKey;
#[cfg(feature = "remote-jwks")]
use countersign::testing::IssuerServer;
use countersign::testing::TestIssuer;
use countersign::tokens::{IssuedToken, TokenEnd};
use countersign::{Algorithm, Grant, KeyRing, Timestamp};
use futures_util::FutureExt as _;

use super::{HOUR, MINUTE, SECOND, Stream, by_cookie, session};
use crate::support::{Fixture, ISSUER, issue_now};

#[tokio::test(start_paused = true)]
async fn the_stream_of_a_jwt_ends_within_a_minute_where_its_key_is_retired() {
    let ring = KeyRing::generate(Algorithm::EdDSA).unwrap();
    let fixture = Fixture::with_keys(ring.clone(), |builder| builder);
    let validated = |issued: IssuedToken| {
        fixture.tokens.validator().validate(issued.access_token.expose()).unwrap()
    };
    let leaked = validated(issue_now(&fixture.tokens, Grant::user("ops")).unwrap());
    let token = session(&fixture, 48 * HOUR).await;
    let mut of_leaked = Stream::open(&fixture, &leaked);
    // What a session is told by is no key: its next token is signed by another one.
    let mut of_session = Stream::open(&fixture, &by_cookie(&fixture, &token).await);
    let kid = ring.active().unwrap().kid().to_owned();
    ring.announce(&SigningKey::generate(Algorithm::EdDSA).unwrap()).unwrap();
    ring.rotate(Timestamp::MAX).unwrap();
    let mut of_next =
        Stream::open(&fixture, &validated(issue_now(&fixture.tokens, Grant::user("ops")).unwrap()));
    assert_eq!(of_leaked.end_after(&fixture, MINUTE).await, None, "it verifies still");
    ring.retire(&kid, fixture.tokens.now()).unwrap();
    assert_eq!(of_leaked.end_after(&fixture, MINUTE).await, Some(TokenEnd::Revoked));
    for _ in 0..60 {
        assert_eq!(of_next.end_after(&fixture, MINUTE).await, None);
        assert_eq!(of_session.end(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_the_service_does_not_accept_has_ended() {
    let fixture = Fixture::new();
    let stranger =
        TestIssuer::named("https://elsewhere.example.com").by_clock(fixture.clock.clone());
    let token = stranger.validator().validate(&stranger.token().sign()).unwrap();
    let end = fixture.tokens.wait_for_end(&token).now_or_never();
    assert_eq!(end, Some(TokenEnd::Revoked));
}

#[cfg(feature = "remote-jwks")]
#[tokio::test]
async fn the_stream_of_another_issuers_token_ends_once_its_key_is_no_longer_published() {
    let server = IssuerServer::start().await;
    let clock = server.issuer().clock().clone();
    let trusted = TrustedIssuer::new(server.url())
        .audience(server.issuer().audience())
        .jwks_url(server.jwks_url())
        .dangerous_allow_http();
    let here = TestIssuer::named(ISSUER).by_clock(clock.clone());
    let tokens = here.service_builder().trusted_issuer(trusted).build().unwrap();
    let validator = tokens.validator_with_trusted_issuers();
    let issued = || server.issuer().token().expires_in(HOUR).sign();
    let leaked = validator.validate_fetching(&issued()).await.unwrap();
    let mut waiting = Box::pin(tokens.wait_for_end(&leaked));
    assert_eq!((&mut waiting).now_or_never(), None);
    let kid = server.issuer().keys().active().unwrap().kid().to_owned();
    server.issuer().rotate();
    server.issuer().retire(&kid);
    clock.advance(MINUTE);
    // The keys are fetched for a token of the new one.
    let next = validator.validate_fetching(&issued()).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(MINUTE + SECOND).await;
    assert_eq!(waiting.now_or_never(), Some(TokenEnd::Revoked));
    assert_eq!(tokens.wait_for_end(&next).now_or_never(), None);
}
