//! Logging out, by a JWT and by whatever a cookie holds.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use countersign::cookies::SessionCookie;
use countersign::faults::TokenFault;
use countersign::jose::SigningKey;
use countersign::store::MemoryStore;
use countersign::testing::{Calls, FaultyStore, StoreFault, StoreVerb, TestIssuer};
use countersign::{
    Actor, Algorithm, AuthenticationToken, CustomerId, ErrorKind, Grant, ManagedKeys, NewSession,
    Policy, Rejection, RequestContext, SessionId, TokenService,
};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Request, StatusCode};

use crate::support::{AUDIENCE, Fixture, ISSUER, Server, issue_now};

#[tokio::test]
async fn a_browser_is_logged_out_whatever_its_cookie_holds() {
    let store = FaultyStore::new(MemoryStore::new());
    let fixture = Fixture::with(|builder| builder.session_store(store.clone()));
    let tokens = &fixture.tokens;
    let log_out = async |State(tokens): State<TokenService>,
                         context: RequestContext,
                         headers: http::HeaderMap| {
        let removal = tokens.log_out_browser(&SessionCookie::default(), &headers, &context).await?;
        Ok::<_, countersign::Rejection>([(SET_COOKIE, removal)])
    };
    let app = Router::new().route("/logout", axum::routing::post(log_out));
    let app = app.layer(tokens.same_origin_layer()).with_state(tokens.clone());
    let server = Server::start(Router::new().nest("/organizations/{organizationId}", app)).await;
    let log_out = async |site: &str, cookie: Option<&str>| {
        let request = Request::post("/organizations/org_2/logout").header("sec-fetch-site", site);
        let request = match cookie {
            Some(cookie) => request.header(COOKIE, cookie),
            None => request,
        };
        server.send(request.body("").unwrap()).await
    };
    let here = "same-origin";
    let removal = SessionCookie::default().removal();
    let organization = countersign::OrganizationId::new("org_1").unwrap();
    let text = fixture.session(|new| new.organization(organization)).await;
    let token = countersign::AuthenticationToken::from_text(&*text).unwrap();
    let session = format!("__Host-session={text}");
    let is_live =
        async || tokens.find_session(&token, &RequestContext::without_address()).await.is_ok();
    // Another site does not log out, and an outage is not told as a log-out.
    log_out("cross-site", Some(&session)).await.expect(403);
    store.fail(Calls::all(), StoreFault::unavailable("connection refused"));
    let answer = log_out(here, Some(&session)).await.expect(503);
    assert!(answer.headers().get(SET_COOKIE).is_none(), "{answer:?}");
    store.clear_faults();
    assert!(is_live().await);
    let two = format!("{session}; __Host-session=x");
    log_out(here, Some(&two)).await.expect(400);

    let jwt = issue_now(tokens, Grant::user("ops")).unwrap().access_token.expose().to_owned();
    let user = tokens.validator().validate(&jwt).unwrap();
    let jwt = format!("__Host-session={jwt}");
    for cookie in [Some(&*session), Some(&*jwt)] {
        // The second time, there is nothing left to end.
        for _ in 0..2 {
            let answer = log_out(here, cookie).await.expect(200);
            assert_eq!(answer.headers()[SET_COOKIE], removal);
        }
    }
    assert!(!is_live().await);
    assert_eq!(tokens.validator().recheck(&user), Err(TokenFault::Revoked));
    for cookie in [
        None,
        Some("a=1"),
        Some("__Host-session="),
        Some("__Host-session=a b"),
        Some("__Host-session=a.b.c"),
    ] {
        let answer = log_out(here, cookie).await.expect(200);
        assert_eq!(answer.headers()[SET_COOKIE], removal, "{cookie:?}");
    }
}

/// Logs out a browser whose cookie holds a text.
async fn log_out(tokens: &TokenService, text: &str) -> Result<HeaderValue, Rejection> {
    let mut headers = HeaderMap::new();
    headers.insert(COOKIE, format!("__Host-session={text}").parse().unwrap());
    let context = RequestContext::without_address();
    tokens.log_out_browser(&SessionCookie::default(), &headers, &context).await
}

/// Starts a session of `cus_1`.
async fn session(tokens: &TokenService) -> (AuthenticationToken, SessionId) {
    let new = NewSession::of(CustomerId::new("cus_1").unwrap());
    let context = RequestContext::without_address();
    let started = tokens.start_session(Actor::Host, new, &context).await.unwrap();
    let id = started.session.proven().unwrap().id().clone();
    (started.token, id)
}

#[tokio::test]
async fn a_jwt_that_is_signed_here_and_not_accepted_now_is_revoked_all_the_same() {
    let issuer = TestIssuer::named(ISSUER).for_audience(AUDIENCE);
    let token = || issuer.token().customer("cus_1").claim("jti", "jwt_1");
    // Another node, or this one later, may accept them.
    for (fault, not_accepted) in [
        (TokenFault::NotYetValid, token().not_yet_valid()),
        (TokenFault::Audience, token().wrong_audience("https://other.example.com")),
        (TokenFault::LifetimeTooLong, token().expires_in(Duration::from_secs(90 * 86_400))),
    ] {
        let tokens = issuer.service_builder().build().unwrap();
        let (session, sid) = session(&tokens).await;
        let good = token().claim("sid", sid.as_str()).sign();
        let good = tokens.validator().validate(&good).unwrap();
        let text = not_accepted.claim("sid", sid.as_str()).sign();
        assert_eq!(tokens.validator().validate(&text).unwrap_err(), fault);
        log_out(&tokens, &text).await.unwrap();
        // By its id, and with all else of its session.
        assert_eq!(tokens.validator().recheck(&good), Err(TokenFault::Revoked), "{fault:?}");
        let found = tokens.find_session(&session, &RequestContext::without_address()).await;
        assert_eq!(found.unwrap_err().kind(), ErrorKind::NotFound, "{fault:?}");
    }
}

#[tokio::test]
async fn a_jwt_that_has_expired_ends_its_session() {
    let issuer = TestIssuer::named(ISSUER).for_audience(AUDIENCE);
    let tokens = issuer.service_builder().build().unwrap();
    let (session, sid) = session(&tokens).await;
    let token = issuer.token().customer("cus_1").claim("sid", sid.as_str()).expired();
    log_out(&tokens, &token.sign()).await.unwrap();
    let found = tokens.find_session(&session, &RequestContext::without_address()).await;
    assert_eq!(found.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_jwt_that_was_not_signed_here_ends_no_session() {
    let issuer = TestIssuer::named(ISSUER).for_audience(AUDIENCE);
    let tokens = issuer.service_builder().build().unwrap();
    let (session, sid) = session(&tokens).await;
    let token = || issuer.token().customer("cus_1").claim("sid", sid.as_str());
    let stranger = SigningKey::generate(Algorithm::EdDSA).unwrap();
    for forged in [
        token().tampered(),
        token().unsigned(),
        token().wrong_key(&stranger),
        token().wrong_issuer("https://elsewhere.example.com"),
        token().without("jti"),
    ] {
        log_out(&tokens, &forged.sign()).await.unwrap();
        let found = tokens.find_session(&session, &RequestContext::without_address()).await;
        assert!(found.is_ok());
    }
}

#[tokio::test]
async fn a_log_out_by_a_jwt_that_was_revoked_alone_ends_its_session() {
    let issuer = TestIssuer::named(ISSUER).for_audience(AUDIENCE);
    let tokens = issuer.service_builder().build().unwrap();
    let (session, sid) = session(&tokens).await;
    let text = issuer.token().customer("cus_1").claim("sid", sid.as_str()).sign();
    let token = tokens.validator().validate(&text).unwrap();
    tokens.revoke_token(token.token_id()).await.unwrap();
    log_out(&tokens, &text).await.unwrap();
    let found = tokens.find_session(&session, &RequestContext::without_address()).await;
    assert_eq!(found.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn while_a_log_out_is_not_known_to_other_nodes_another_one_is_not_told_as_done() {
    let store = FaultyStore::new(MemoryStore::new());
    let issuer = TestIssuer::named(ISSUER).for_audience(AUDIENCE);
    let tokens = issuer.service_builder().session_store(store.clone()).build().unwrap();
    let text = issuer.token().customer("cus_1").sign();
    let held = store.hold(StoreVerb::Publish);
    let log_out_once = || {
        let (tokens, text) = (tokens.clone(), text.clone());
        tokio::spawn(async move { log_out(&tokens, &text).await })
    };
    let first = log_out_once();
    held.wait_for(1).await;
    assert_eq!(tokens.validator().validate(&text).unwrap_err(), TokenFault::Revoked);
    let second = log_out_once();
    // It revokes the token as well, and does not rely on the first.
    held.wait_for(2).await;
    held.release();
    for log_out in [first, second] {
        log_out.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn who_repeats_a_log_out_over_and_over_has_nothing_more_written() {
    let store = FaultyStore::new(MemoryStore::new());
    let issuer = TestIssuer::named(ISSUER).for_audience(AUDIENCE);
    let tokens = issuer.service_builder().session_store(store.clone()).build().unwrap();
    let (_, sid) = session(&tokens).await;
    let text = issuer.token().customer("cus_1").claim("sid", sid.as_str()).expired().sign();
    for _ in 0..2 {
        log_out(&tokens, &text).await.unwrap();
    }
    store.fail(Calls::writes(), StoreFault::unavailable("nothing is to be written"));
    log_out(&tokens, &text).await.unwrap();
}

#[tokio::test]
async fn a_log_out_that_other_nodes_have_not_heard_of_is_not_told_as_done_the_second_time() {
    let store = FaultyStore::new(MemoryStore::new());
    let issuer = TestIssuer::named(ISSUER).for_audience(AUDIENCE);
    // A session whose tokens go on may be live itself, where its JWT alone was revoked.
    let policy = Policy::default().sessions(|sessions| sessions.revoke_tokens_on_end(false));
    let node = || {
        let builder = issuer.service_builder().session_store(store.clone());
        builder.policy(policy.clone()).build().unwrap()
    };
    let (here, there) = (node(), node());
    let (_, sid) = session(&here).await;
    let customer = || issuer.token().customer("cus_1");
    let of_session = || customer().claim("sid", sid.as_str()).sign();
    for (token, failing) in [
        (of_session(), Calls::from(StoreVerb::RemoveSession)),
        (customer().sign(), Calls::writes()),
        (of_session(), Calls::writes()),
    ] {
        store.fail(failing, StoreFault::unavailable("connection refused"));
        for _ in 0..3 {
            let rejection = log_out(&here, &token).await.unwrap_err();
            assert_eq!(rejection.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(here.validator().validate(&token).unwrap_err(), TokenFault::Revoked);
        }
        store.clear_faults();
        log_out(&here, &token).await.unwrap();
        there.catch_up().await.unwrap();
        assert_eq!(there.validator().validate(&token).unwrap_err(), TokenFault::Revoked);
    }
}

#[tokio::test]
async fn by_a_jwt_whose_key_this_node_may_not_have_read_yet_nobody_is_told_to_be_logged_out() {
    let managed = || ManagedKeys::new(Algorithm::EdDSA);
    let elsewhere = Fixture::with_keys(managed(), |builder| builder);
    elsewhere.tokens.start().await.unwrap().shutdown().await;
    let text = issue_now(&elsewhere.tokens, Grant::user("ops")).unwrap().access_token;
    let here = Fixture::with_keys(managed(), |builder| builder);
    let rejection = log_out(&here.tokens, text.expose()).await.unwrap_err();
    assert_eq!(rejection.status(), StatusCode::SERVICE_UNAVAILABLE, "its keys have not come");
    let housekeeping = here.tokens.start().await.unwrap();
    let rejection = log_out(&here.tokens, text.expose()).await.unwrap_err();
    assert_eq!(rejection.status(), StatusCode::SERVICE_UNAVAILABLE, "another node may have it");
    // One that no node has any more.
    let retired = issue_now(&here.tokens, Grant::user("ops")).unwrap().access_token;
    let kid = crate::support::kid_of(retired.expose());
    here.tokens.retire_key(&kid).await.unwrap();
    log_out(&here.tokens, retired.expose()).await.unwrap();
    log_out(&here.tokens, "a.b.c").await.unwrap();
    housekeeping.shutdown().await;
    // A ring that the host has given is whole.
    let here = Fixture::new();
    log_out(&here.tokens, text.expose()).await.unwrap();
}

#[tokio::test]
async fn a_jwt_that_its_session_knows_nothing_of_is_revoked_by_its_own_log_out() {
    let issuer = TestIssuer::named(ISSUER).for_audience(AUDIENCE);
    let tokens = issuer.service_builder().build().unwrap();
    let (_, sid) = session(&tokens).await;
    // As where the store was put back to before it was exchanged.
    let token = issuer.token().customer("cus_1").claim("sid", sid.as_str()).sign();
    let bearer = tokens.validator().validate(&token).unwrap();
    tokens.log_out(&bearer).await.unwrap();
    assert_eq!(tokens.validator().recheck(&bearer), Err(TokenFault::Revoked));
}
