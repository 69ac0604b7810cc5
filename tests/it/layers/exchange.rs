use std::time::Duration;

use axum::Router;
use countersign::cookies::SessionCookie;
use countersign::store::MemoryStore;
use countersign::testing::{Calls, FaultyStore, StoreFault, StoreVerb};
use countersign::{
    Actor, AuthenticationToken, CustomerId, ErrorKind, ExchangeRequest, NewSession, OrganizationId,
    Policy, RequestContext, SubjectType,
};
use http::StatusCode;
use http::header::{AUTHORIZATION, COOKIE};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::json;
use tower::{Layer, ServiceExt as _, service_fn};

use crate::layers::{
    ask, assert_rejected, axum_whoami, bearer, challenge, cookie, extracting, issuing, post_to,
    request_with, session, text_of, user_token, whoami,
};
use crate::support::{Answer, Fixture, ISSUER, START, Server};

/// A cookie whose name has no prefix.
fn shop() -> SessionCookie {
    SessionCookie::dangerous_without_prefix("shop").unwrap()
}

async fn exchanging(fixture: &Fixture) -> Server {
    let app = axum_whoami().merge(extracting_below("/extract"));
    let layer = fixture.tokens.exchange_layer().only([SubjectType::User, SubjectType::Customer]);
    Server::start(app.layer(layer)).await
}

fn extracting_below(path: &str) -> Router {
    Router::new().nest(path, extracting())
}

/// The JWT that the service behind the layer was handed.
#[track_caller]
fn handed_on(answer: Answer) -> String {
    let answer = answer.expect(200);
    answer.header("x-authorization").strip_prefix("Bearer ").unwrap().to_owned()
}

#[tokio::test]
async fn an_authentication_token_becomes_a_jwt_whether_it_comes_as_bearer_or_as_cookie() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let token = session(&fixture).await;
    for (name, value) in
        [bearer(&token), cookie(&token), (COOKIE, format!("__Host-session={token}"))]
    {
        let answer = ask(&server, "/", &[(name.clone(), &value)]).await.expect(200);
        assert_eq!(answer.text(), "cus_1");
        let jwt = handed_on(answer);
        let validated = fixture.tokens.validator().validate(&jwt).unwrap();
        let claims = serde_json::to_value(&*validated).unwrap();
        assert_eq!(claims["sub"], "cus_1");
        assert_eq!(claims["subject_type"], "customer");
        assert_eq!(claims["client_id"], "first-party");
        assert_eq!(claims["acl"], json!([{"scope": {}, "permissions": ["GetOrders"]}]));
        assert_eq!(claims["customClaims"], json!({"locale": "de"}));
        assert_eq!(claims["iat"], START);
        assert_eq!(claims["exp"], START + 300);
        assert!(claims["jti"].as_str().unwrap().starts_with("jwt_"));
        assert!(claims["sid"].is_string());
        assert!(!claims.to_string().contains(&token), "the token itself is not in the JWT");
        let mine = ask(&server, "/extract/mine", &[(name, &value)]).await.expect(200);
        assert_eq!(mine.text(), "cus_1 de []");
    }
}

#[tokio::test]
async fn the_jwt_carries_the_sessions_organization() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let organization = OrganizationId::new("org_1").unwrap();
    let token = fixture.session(|new| new.organization(organization.clone())).await;
    let jwt = handed_on(server.get("/", Some(&token)).await);
    let validated = fixture.tokens.validator().validate(&jwt).unwrap();
    assert_eq!(validated.organization_id(), Some(&organization));
}

#[tokio::test]
async fn one_jwt_is_used_until_shortly_before_its_end() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let (one, other) = (session(&fixture).await, session(&fixture).await);
    let first = handed_on(server.get("/", Some(&one)).await);
    let (name, value) = cookie(&one);
    assert_eq!(handed_on(ask(&server, "/", &[(name, &value)]).await), first);
    assert_ne!(handed_on(server.get("/", Some(&other)).await), first);
    fixture.clock.advance(Duration::from_secs(239));
    assert_eq!(handed_on(server.get("/", Some(&one)).await), first);
    fixture.clock.advance(Duration::from_secs(1));
    let second = handed_on(server.get("/", Some(&one)).await);
    assert_ne!(second, first);
    assert_eq!(handed_on(server.get("/", Some(&one)).await), second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_requests_at_once_all_are_handed_on_with_one_jwt() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let token = session(&fixture).await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (name, value) = bearer(&token);
        let request = request_with::<String>(&[(name, &value)]);
        requests.spawn(crate::support::send(server.address, request));
    }
    let handed: Vec<_> = requests.join_all().await.into_iter().map(handed_on).collect();
    assert!(handed.iter().all(|jwt| *jwt == handed[0]));
}

#[tokio::test]
async fn the_jwt_never_outlives_its_session() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let token = fixture.session(|new| new.lifetime(Duration::from_secs(100))).await;
    let jwt = handed_on(server.get("/", Some(&token)).await);
    let validated = fixture.tokens.validator().validate(&jwt).unwrap();
    assert_eq!(validated.expires_at().as_secs(), START + 100);
    fixture.clock.advance(Duration::from_secs(99));
    server.get("/", Some(&token)).await.expect(200);
    fixture.clock.advance(Duration::from_secs(1));
    assert_unknown_session(&server.get("/", Some(&token)).await);
}

#[track_caller]
fn assert_unknown_session(answer: &Answer) {
    let detail = "The authentication token is not valid";
    assert_rejected(answer, 401, detail, Some(&challenge("invalid_token", detail)));
}

#[tokio::test]
async fn a_session_that_was_ended_is_rejected_from_the_next_request_on() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let text = session(&fixture).await;
    let token = AuthenticationToken::from_text(&text).unwrap();
    let jwt = handed_on(server.get("/", Some(&text)).await);
    fixture.tokens.log_out_customer(&token, &RequestContext::without_address()).await.unwrap();
    let (name, value) = cookie(&text);
    assert_unknown_session(&server.get("/", Some(&text)).await);
    assert_unknown_session(&ask(&server, "/", &[(name, &value)]).await);
    let answer = server.get("/", Some(&jwt)).await;
    let detail = "The access token is not valid";
    assert_rejected(&answer, 401, detail, Some(&challenge("invalid_token", detail)));
}

#[tokio::test]
async fn a_session_that_was_used_up_by_an_exchange_is_rejected_from_the_next_request_on() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let text = session(&fixture).await;
    let token = AuthenticationToken::from_text(&text).unwrap();
    server.get("/", Some(&text)).await.expect(200);
    let keeping = ExchangeRequest::default().invalidate(false);
    fixture.tokens.exchange(&token, keeping, &RequestContext::without_address()).await.unwrap();
    server.get("/", Some(&text)).await.expect(200);
    fixture
        .tokens
        .exchange(&token, ExchangeRequest::default(), &RequestContext::without_address())
        .await
        .unwrap();
    assert_unknown_session(&server.get("/", Some(&text)).await);
}

#[tokio::test]
async fn a_token_that_the_host_sets_is_good_for_the_layer_or_rejected_when_it_is_set() {
    let fixture = Fixture::with(|builder| builder);
    let server = exchanging(&fixture).await;
    let context = RequestContext::without_address();
    let start = async |token: &str| {
        let token = AuthenticationToken::from_text(token).unwrap();
        let new = NewSession::of(CustomerId::new("cus_1").unwrap()).dangerous_token(token);
        fixture.tokens.start_session(Actor::Host, new, &context).await
    };
    let good = "demo-token_1~Z";
    start(good).await.unwrap();
    assert_eq!(server.get("/", Some(good)).await.status(), StatusCode::OK);
    for bad in ["demo.token", "a.b.c", "demo/token", "demo+token", "demo=", "demo;token", "demo%20"]
    {
        let error = start(bad).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidFields, "{bad}");
        assert_eq!(error.invalid_fields()[0].field, "token", "{bad}");
    }
}

#[tokio::test]
async fn a_jwt_of_a_session_that_ended_is_not_used_for_the_next_one_of_the_same_token() {
    let store = FaultyStore::new(MemoryStore::new());
    let policy = Policy::default().sessions(|sessions| sessions.revoke_tokens_on_end(false));
    let fixture = Fixture::with(|builder| builder.session_store(store.clone()).policy(policy));
    let server = exchanging(&fixture).await;
    let token = AuthenticationToken::generate().unwrap();
    let start = async |customer| {
        let new = NewSession::of(CustomerId::new(customer).unwrap());
        fixture
            .tokens
            .start_session(
                Actor::Host,
                new.dangerous_token(token.clone()),
                &RequestContext::without_address(),
            )
            .await
            .unwrap();
    };
    start("cus_1").await;
    // The JWT of the first session is made, and the session is to be looked at once more.
    let held = store.hold(Calls::from(StoreVerb::GetSession).skip(1).take(1));
    let asking = server.get("/", Some(token.expose()));
    let meanwhile = async {
        held.wait_for(1).await;
        fixture.tokens.log_out_customer(&token, &RequestContext::without_address()).await.unwrap();
        start("cus_2").await;
        held.release();
    };
    let (answer, ()) = tokio::join!(asking, meanwhile);
    assert_unknown_session(&answer);
    assert_eq!(server.get("/", Some(token.expose())).await.expect(200).text(), "cus_2");
}

#[tokio::test]
async fn a_jwt_passes_through_the_exchange_layer_as_it_is() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let jwt = user_token(&fixture);
    for (name, value) in [bearer(&jwt), (AUTHORIZATION, format!("bearer  {jwt}")), cookie(&jwt)] {
        let answer = ask(&server, "/", &[(name, &value)]).await.expect(200);
        assert_eq!(answer.text(), "ops@example.com");
        assert_eq!(handed_on(answer), jwt);
    }
    let stranger = user_token(&Fixture::new());
    let detail = "The access token is not valid";
    for (name, value) in [bearer(&stranger), cookie(&stranger), bearer("a.b.c"), bearer(".")] {
        let answer = ask(&server, "/", &[(name, &value)]).await;
        assert_rejected(&answer, 401, detail, Some(&challenge("invalid_token", detail)));
    }
}

#[tokio::test]
async fn an_authentication_token_that_no_session_answers_to_is_a_401() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let good = session(&fixture).await;
    let unknown = AuthenticationToken::generate().unwrap();
    let altered = good.to_uppercase();
    let long = "a".repeat(513);
    let quoted = format!("\"{good}\"");
    for token in [unknown.expose(), &altered, &long, &good[1..], "x"] {
        for (name, value) in [bearer(token), cookie(token)] {
            assert_unknown_session(&ask(&server, "/", &[(name, &value)]).await);
        }
    }
    let (name, value) = cookie(&quoted);
    assert_unknown_session(&ask(&server, "/", &[(name, &value)]).await);
}

#[tokio::test]
async fn a_session_that_needs_a_one_time_password_is_rejected() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let token = fixture.session(|new| new.otp_required(true)).await;
    let detail = "The session needs a one-time password: confirm it for a fresh session";
    for (name, value) in [bearer(&token), cookie(&token)] {
        let answer = ask(&server, "/", &[(name, &value)]).await;
        assert_rejected(&answer, 401, detail, Some(&challenge("invalid_token", detail)));
    }
    // Being rejected is no try: the right code still works.
    let code = fixture.outbox.last_code();
    let token = AuthenticationToken::from_text(&token).unwrap();
    let request = ExchangeRequest::default().one_time_password(code);
    fixture.tokens.exchange(&token, request, &RequestContext::without_address()).await.unwrap();
}

#[tokio::test]
async fn without_credentials_the_exchange_layer_rejects_or_lets_pass_as_told() {
    let fixture = Fixture::new();
    let required = exchanging(&fixture).await;
    let expected = format!("Bearer realm=\"{ISSUER}\"");
    let none = [vec![], vec![(COOKIE, "theme=dark")], vec![(AUTHORIZATION, "Basic b3BzOnB3")]];
    for headers in &none {
        let answer = ask(&required, "/", headers).await;
        assert_rejected(&answer, 401, "A bearer token is required", Some(&expected));
    }
    let layer = fixture.tokens.exchange_layer().optional();
    let optional = Server::start(axum_whoami().merge(extracting_below("/extract")).layer(layer));
    let optional = optional.await;
    for headers in &none {
        assert_eq!(ask(&optional, "/", headers).await.expect(200).text(), "nobody");
        let answer = ask(&optional, "/extract/maybe", headers).await.expect(200);
        assert_eq!(answer.text(), "nobody");
        ask(&optional, "/extract", headers).await.expect(401);
    }
    let (name, value) = cookie("unknown");
    assert_unknown_session(&ask(&optional, "/", &[(name, &value)]).await);
    let token = session(&fixture).await;
    assert_eq!(optional.get("/", Some(&token)).await.expect(200).text(), "cus_1");
}

#[tokio::test]
async fn two_opinions_about_who_is_asking_are_a_400() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let (one, two) = (session(&fixture).await, session(&fixture).await);
    let header = "There must be one Authorization header, holding one bearer token";
    let cookies = "There are several session cookies with different values";
    let pair = format!("__Host-session={one}; __Host-session={two}");
    let (first, second) = (format!("__Host-session={one}"), format!("__Host-session={two}"));
    let (bearer_one, bearer_two) = (format!("Bearer {one}"), format!("Bearer {two}"));
    for headers in [
        vec![(COOKIE, pair.as_str())],
        vec![(COOKIE, first.as_str()), (COOKIE, second.as_str())],
        vec![(AUTHORIZATION, bearer_one.as_str()), (AUTHORIZATION, bearer_two.as_str())],
        vec![(AUTHORIZATION, bearer_one.as_str()), (AUTHORIZATION, bearer_one.as_str())],
        vec![(AUTHORIZATION, "Bearer"), (COOKIE, first.as_str())],
    ] {
        let has_header = headers.iter().any(|(name, _)| *name == AUTHORIZATION);
        let detail = if has_header { header } else { cookies };
        let answer = ask(&server, "/", &headers).await;
        assert_rejected(&answer, 400, detail, Some(&challenge("invalid_request", detail)));
    }
    let same = format!("{first}; {first}");
    ask(&server, "/", &[(COOKIE, &same)]).await.expect(200);
    ask(&server, "/", &[(COOKIE, &first), (COOKIE, &first)]).await.expect(200);
}

#[tokio::test]
async fn a_bearer_token_goes_before_a_cookie() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let token = session(&fixture).await;
    let (jwt, stranger) = (user_token(&fixture), user_token(&Fixture::new()));
    let good = format!("__Host-session={token}");
    let user = format!("Bearer {jwt}");
    let answer = ask(&server, "/", &[(AUTHORIZATION, &user), (COOKIE, &good)]).await.expect(200);
    assert_eq!(answer.text(), "ops@example.com");
    let bad_cookie = (COOKIE, "__Host-session=unknown");
    ask(&server, "/", &[(AUTHORIZATION, &user), bad_cookie]).await.expect(200);
    let bad_bearer = format!("Bearer {stranger}");
    ask(&server, "/", &[(AUTHORIZATION, &bad_bearer), (COOKIE, &good)]).await.expect(401);
    // Credentials of another scheme are none, and are replaced.
    let headers = [(AUTHORIZATION, "Basic b3BzOnB3"), (COOKIE, good.as_str())];
    let jwt = handed_on(ask(&server, "/", &headers).await);
    assert_eq!(fixture.tokens.validator().validate(&jwt).unwrap().principal().id(), "cus_1");
}

#[tokio::test]
async fn the_cookie_may_have_another_name() {
    let fixture = Fixture::new();
    let layer = fixture.tokens.exchange_layer().cookie(shop());
    let server = Server::start(axum_whoami().layer(layer)).await;
    let token = session(&fixture).await;
    ask(&server, "/", &[(COOKIE, &format!("shop={token}"))]).await.expect(200);
    for other in ["__Host-session", "Shop", "shop2", "sho"] {
        ask(&server, "/", &[(COOKIE, &format!("{other}={token}"))]).await.expect(401);
    }
}

#[tokio::test]
async fn a_cookie_that_was_issued_is_one_that_is_read() {
    let fixture = Fixture::new();
    let app = issuing()
        .layer(fixture.tokens.issue_layer().as_cookie())
        .merge(axum_whoami().layer(fixture.tokens.exchange_layer().only([SubjectType::User])));
    let server = Server::start(app).await;
    let login = post_to(&server, "/login").await.expect(204);
    let (pair, _) = login.header("set-cookie").split_once(';').unwrap();
    let answer = ask(&server, "/", &[(COOKIE, pair)]).await.expect(200);
    assert_eq!(answer.text(), "ops@example.com");
}

#[tokio::test]
async fn permissions_and_validation_work_behind_an_exchange_layer() {
    let fixture = Fixture::new();
    let app = |permission: &str| {
        axum_whoami()
            .layer(fixture.tokens.validate_layer())
            .layer(fixture.tokens.require_layer(permission))
            .layer(fixture.tokens.exchange_layer())
    };
    let (name, value) = cookie(&session(&fixture).await);
    let server = Server::start(app("GetOrders")).await;
    let answer = ask(&server, "/", &[(name.clone(), &value)]).await.expect(200);
    assert_eq!(answer.text(), "cus_1");
    let server = Server::start(app("PostOrder")).await;
    ask(&server, "/", &[(name, &value)]).await.expect(403);
}

#[tokio::test]
async fn a_hook_shapes_the_rejections_of_an_exchange_layer() {
    let fixture = Fixture::with(|builder| {
        builder.reject_with(|rejection, _| (rejection.status(), rejection.log_reason().as_str()))
    });
    let layer = fixture.tokens.exchange_layer().cookie(shop());
    let service = layer.layer(service_fn(whoami::<String>));
    let (name, value) = bearer("unknown");
    for (headers, reason) in [
        (vec![], "missing_credentials"),
        (vec![(name, value.as_str())], "unknown_session"),
        (vec![(COOKIE, "shop=unknown")], "unknown_session"),
        (vec![(COOKIE, "shop=a; shop=b")], "ambiguous_cookie"),
    ] {
        let answer = service.clone().oneshot(request_with(&headers)).await.unwrap();
        assert!(answer.headers().contains_key("www-authenticate"));
        assert_eq!(text_of(answer).await, reason);
    }
}

#[tokio::test]
async fn an_exchange_layer_serves_plain_tower_with_any_body() {
    let fixture = Fixture::new();
    let (name, value) = cookie(&session(&fixture).await);
    let service = fixture.tokens.exchange_layer().layer(service_fn(whoami::<Full<Bytes>>));
    let answer = service.clone().oneshot(request_with(&[(name, &value)])).await.unwrap();
    let handed = &answer.headers()["x-authorization"];
    assert!(handed.is_sensitive());
    assert!(handed.to_str().unwrap().starts_with("Bearer ey"));
    assert_eq!(text_of(answer).await, "cus_1");
    let answer = service.oneshot(request_with(&[])).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_store_out_of_reach_is_a_503_and_never_a_401_or_a_pass() {
    let down = StoreFault::unavailable("connection to 10.0.0.7:6379 rejected");
    for fault in [down, StoreFault::hang()] {
        let store = FaultyStore::new(MemoryStore::new());
        store.fail(Calls::all(), fault);
        let fixture = Fixture::with(|builder| {
            let policy = Policy::default()
                .runtime(|runtime| runtime.store_deadline(Duration::from_millis(5)));
            builder.session_store(store).policy(policy)
        });
        let layer = fixture.tokens.exchange_layer().optional();
        let layer = layer.only([SubjectType::User, SubjectType::Customer]);
        let server = Server::start(axum_whoami().layer(layer)).await;
        let token = AuthenticationToken::generate().unwrap();
        for (name, value) in [bearer(token.expose()), cookie(token.expose())] {
            let answer = ask(&server, "/", &[(name, &value)]).await;
            let detail = "The service is unavailable, try again later";
            assert_rejected(&answer, 503, detail, None);
            assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
        }
        // What needs no store goes on.
        server.get("/", Some(&user_token(&fixture))).await.expect(200);
        server.get("/", None).await.expect(200);
    }
}

#[tokio::test]
async fn a_session_in_its_last_second_yields_no_jwt_and_is_not_known_any_more() {
    let policy = Policy::default().tokens(|tokens| tokens.leeway(Duration::ZERO));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let server = exchanging(&fixture).await;
    let lifetime = Duration::from_millis(60_500);
    let token = fixture.session(|new| new.lifetime(lifetime)).await;
    fixture.clock.advance(Duration::from_millis(60_100));
    let (name, value) = bearer(&token);
    let answer = ask(&server, "/", &[(name, &value)]).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.json()["code"]),
        (401, &json!("unknown-session"))
    );
}
