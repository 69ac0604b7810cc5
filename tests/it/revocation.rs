//! What was taken back is refused on the next request.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use countersign::{
    AuthenticationToken, Caller, ErrorKind, ExchangeRequest, Grant, Policy, SubjectType, TokenFault,
};
use serde_json::json;

use crate::support::{Fixture, Server, acl_of};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn a_revoked_token_is_refused_for_as_long_as_it_lives_and_no_other_is() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let [revoked, other] = [0, 1].map(|_| tokens.issue(Grant::user("ops").lifetime(DAY)).unwrap());
    tokens.revoke_token(&revoked.token_id).await.unwrap();
    for _ in 0..24 {
        let fault = tokens.validator().validate(revoked.access_token.expose()).unwrap_err();
        assert_eq!(fault, TokenFault::Revoked);
        assert!(tokens.validator().validate(other.access_token.expose()).is_ok());
        fixture.clock.advance(Duration::from_secs(3_600));
        // Each revocation forgets those that no longer matter.
        let another = tokens.issue(Grant::user("ops")).unwrap();
        tokens.revoke_token(&another.token_id).await.unwrap();
    }
}

#[tokio::test]
async fn no_token_lives_longer_than_its_revocation_is_remembered() {
    let fixture = Fixture::new();
    let long = Grant::user("ops").lifetime(DAY * 2);
    assert_eq!(fixture.tokens.issue(long.clone()).unwrap_err().kind(), ErrorKind::InvalidFields);
    let policy = Policy::default().max_exchanged_token_lifetime(DAY * 2);
    let fixture = Fixture::with(|builder| builder.policy(policy));
    assert!(fixture.tokens.issue(long).is_ok());
}

#[tokio::test]
async fn all_earlier_tokens_of_a_subject_are_taken_back_and_later_ones_are_good() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let early = tokens.issue(Grant::user("ops")).unwrap();
    let namesake = tokens.issue(Grant::customer("ops")).unwrap();
    fixture.clock.advance(Duration::from_secs(1));
    tokens.revoke_subject(SubjectType::User, "ops", tokens.now()).await.unwrap();
    let late = tokens.issue(Grant::user("ops")).unwrap();
    let check = |token: &countersign::IssuedToken| {
        tokens.validator().validate(token.access_token.expose()).map(drop)
    };
    assert_eq!(check(&early), Err(TokenFault::Revoked));
    assert_eq!(check(&namesake), Ok(()));
    assert_eq!(check(&late), Ok(()));
}

#[tokio::test]
async fn ending_a_session_takes_back_its_tokens_unless_the_policy_says_otherwise() {
    for taken_back in [true, false] {
        let policy = Policy::default().revoke_tokens_on_session_end(taken_back);
        let fixture = Fixture::with(|builder| builder.policy(policy));
        let token = fixture.session(|new| new.acl(acl_of(json!([])))).await;
        let token = AuthenticationToken::from_text(&token).unwrap();
        let request = ExchangeRequest::default().invalidate(false);
        let jwt = fixture.tokens.exchange(&token, request).await.unwrap().token;
        fixture.tokens.log_out(&token, &Caller::default()).await.unwrap();
        let outcome = fixture.tokens.validator().validate(jwt.expose());
        assert_eq!(outcome.is_err(), taken_back);
        let again = fixture.tokens.log_out(&token, &Caller::default()).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_session_that_was_ended_by_its_id_is_a_401_behind_the_exchange_layer_with_the_next_request()
 {
    let fixture = Fixture::new();
    let app =
        Router::new().route("/", get(|| async { "hello" })).layer(fixture.tokens.exchange_layer());
    let server = Server::start(app).await;
    let token = fixture.session(|new| new).await;
    server.get("/", Some(&token)).await.expect(200);
    let claims = {
        let token = AuthenticationToken::from_text(&token).unwrap();
        let request = ExchangeRequest::default().invalidate(false);
        let jwt = fixture.tokens.exchange(&token, request).await.unwrap().token;
        fixture.tokens.validator().validate(jwt.expose()).unwrap()
    };
    fixture.tokens.end_session(claims.session_id().unwrap()).await.unwrap();
    let answer = server.get("/", Some(&token)).await.expect(401);
    assert!(answer.header("www-authenticate").contains("invalid_token"));
}

#[tokio::test]
async fn a_list_that_leaves_no_room_in_a_token_is_not_the_callers_fault() {
    let fixture = Fixture::new();
    let permissions: Vec<_> = (0..1_000).map(|n| format!("Operation{n:04}")).collect();
    fixture.user("ops", json!([{"scope": {}, "permissions": permissions}])).await;
    let server = fixture.serve().await;
    let form = Some("application/x-www-form-urlencoded");
    let body = format!("username=ops&password={}", crate::support::PASSWORD.replace(' ', "+"));
    server.post_text("/user/token/generate", None, form, body).await.expect(500);
}

#[tokio::test]
async fn a_machines_token_names_the_machine_as_its_client_however_it_was_issued() {
    let fixture = Fixture::new();
    let issue = |grant| fixture.tokens.issue(grant);
    let token = issue(Grant::new(SubjectType::Entity, "aa-1")).unwrap();
    let validated = fixture.tokens.validator().validate(token.access_token.expose()).unwrap();
    assert_eq!(validated.client_id(), "aa-1");
    let taken = issue(Grant::new(SubjectType::Entity, "first-party")).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::InvalidFields);
}
