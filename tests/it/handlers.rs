//! Handlers as hosts write them: they return what the service returns, and check what the layers check.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use countersign::{
    Acl, AclEntry, Bearer, Error, ErrorKind, Grant, IssuedToken, Organization, Password, Rejection,
    RequestContext, RequireLayer, SubjectType, TokenEnd, TokenService,
};
use futures_util::FutureExt as _;
use serde_json::json;

use crate::support::log::Log;
use crate::support::{Fixture, ISSUER, PASSWORD, Server, acl_of, issue_now};

#[derive(serde::Deserialize)]
struct Login {
    name: String,
    password: String,
}

async fn log_in(
    State(tokens): State<TokenService>,
    client: RequestContext,
    Json(login): Json<Login>,
) -> Result<IssuedToken, Error> {
    tokens.issue_user_token(&login.name, Password::new(login.password)?, &client).await
}

fn token(fixture: &Fixture, permissions: serde_json::Value) -> String {
    let acl = acl_of(permissions);
    issue_now(&fixture.tokens, Grant::user("jane").acl(acl))
        .unwrap()
        .access_token
        .expose()
        .to_owned()
}

#[tokio::test]
async fn a_login_handler_returns_the_token_and_a_failed_one_the_status_of_its_error() {
    let fixture = Fixture::new();
    fixture.user("jane", json!([])).await;
    let app = Router::new().route("/login", post(log_in)).with_state(fixture.tokens.clone());
    let server = Server::start(app).await;
    let log_in = async |password: &str| {
        server.post("/login", None, &json!({"name": "jane", "password": password})).await
    };
    let answer = log_in(PASSWORD).await.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.json();
    assert_eq!((&body["tokenType"], &body["expiresIn"]), (&json!("Bearer"), &json!(86_400)));
    fixture.tokens.validator().validate(body["accessToken"].as_str().unwrap()).unwrap();

    let answer = log_in("a wrong password").await.expect(401);
    assert_eq!(answer.json()["code"], "invalid-credentials");
    assert!(answer.header("www-authenticate").starts_with("Bearer "));
    let throttled = loop {
        let answer = log_in("a wrong password").await;
        if answer.status().as_u16() != 401 {
            break answer.expect(429);
        }
    };
    assert_eq!(throttled.json()["code"], "too-many-requests");
    assert!(throttled.header("retry-after").parse::<u64>().unwrap() > 0);
}

#[test]
fn every_kind_of_error_has_a_status_and_a_code_that_tell_nothing_of_the_cause() {
    for (kind, status, code) in [
        (ErrorKind::InvalidRequest, 400, "malformed-request"),
        (ErrorKind::InvalidFields, 422, "invalid-fields"),
        (ErrorKind::InvalidCredentials, 401, "invalid-credentials"),
        (ErrorKind::InvalidEntity, 401, "invalid-credentials"),
        (ErrorKind::NotFound, 404, "not-found"),
        (ErrorKind::Conflict, 409, "conflict"),
        (ErrorKind::OneTimePasswordRequired, 401, "one-time-password-required"),
        (ErrorKind::OneTimePasswordInvalid, 401, "one-time-password-invalid"),
        (ErrorKind::AclExceedsGrant, 403, "acl-exceeds-grant"),
        (ErrorKind::CustomClaimsNotAllowed, 403, "custom-claims-not-allowed"),
        (ErrorKind::InvalidToken, 401, "invalid-token"),
        (ErrorKind::Disabled, 403, "disabled"),
        (ErrorKind::InsufficientPermission, 403, "insufficient-permission"),
        (ErrorKind::Throttled, 429, "too-many-requests"),
        (ErrorKind::Overloaded, 503, "unavailable"),
        (ErrorKind::Unavailable, 503, "unavailable"),
        (ErrorKind::Configuration, 500, "internal"),
        (ErrorKind::InvalidKey, 500, "internal"),
        (ErrorKind::Internal, 500, "internal"),
    ] {
        let error = Error::new(kind, "the message").with_source("connection to 10.0.0.7 refused");
        assert_eq!((error.status().as_u16(), error.code()), (status, code));
        let rejection = Rejection::from(error);
        assert_eq!((rejection.status().as_u16(), rejection.code()), (status, code));
        assert_eq!(rejection.message() == "the message", status < 500, "{kind:?}");
        assert_eq!(rejection.challenge().is_some(), status == 401 || code.ends_with("permission"));
        assert!(!format!("{rejection:?} {rejection}").contains("10.0.0.7"));
        assert_eq!(rejection.log_reason().as_str(), kind.as_str());
    }
}

#[tokio::test]
async fn a_handler_rejects_for_what_is_known_only_within_it_as_a_layer_does() {
    let fixture = Fixture::new();
    let close = async |Bearer(caller): Bearer, Path(owner): Path<String>| {
        caller.require("todos:write", &[("owner", &owner)])?;
        caller.require_any(&["todos:close", "todos:admin"], &[("owner", &owner)])?;
        Ok::<_, Rejection>("closed")
    };
    let app =
        Router::new().route("/todos/{owner}", post(close)).layer(fixture.tokens.validate_layer());
    let server = Server::start(app).await;
    let entry =
        |permissions: &[&str]| json!([{"scope": {"owner": ["jane"]}, "permissions": permissions}]);
    let log = Log::default();
    let _listening = log.listen();
    for (permissions, owner, status) in [
        (&["todos:write", "todos:close"][..], "jane", 200),
        (&["todos:write", "todos:admin"], "jane", 200),
        (&["todos:write", "todos:close"], "joan", 403),
        (&["todos:write"], "jane", 403),
        (&["todos:close"], "jane", 403),
    ] {
        let token = token(&fixture, entry(permissions));
        let answer = server.post(&format!("/todos/{owner}"), Some(&token), &json!({})).await;
        let answer = answer.expect(status);
        if status == 403 {
            assert_eq!(answer.json()["code"], "insufficient-permission");
            let challenge = answer.header("www-authenticate").to_owned();
            assert!(challenge.starts_with(&format!("Bearer realm=\"{ISSUER}\"")), "{challenge}");
            assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
        }
    }
    let audited = log.audit();
    let rejected = audited.iter().filter(|event| event["operation"] == "authorize");
    assert_eq!(rejected.count(), 3);
}

#[tokio::test]
async fn a_layer_asks_for_all_or_any_of_several_permissions_or_a_closure_that_waits() {
    let fixture = Fixture::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let owned = RequireLayer::check(move |caller, request| {
        let (count, path) = (Arc::clone(&count), request.uri.path().to_owned());
        async move {
            tokio::task::yield_now().await;
            count.fetch_add(1, Ordering::SeqCst);
            match &*path {
                "/down" => Err(Error::new(ErrorKind::Unavailable, "the database is down")),
                path => Ok(path.ends_with(caller.principal().id())),
            }
        }
    });
    let ok = || get(async || "ok");
    let app = Router::new()
        .route("/all", ok().route_layer(RequireLayer::all_of(["a", "b"])))
        .route("/any", ok().route_layer(RequireLayer::any_of(["a", "b"])))
        .route("/of/jane", ok().route_layer(owned.clone()))
        .route("/of/joan", ok().route_layer(owned.clone()))
        .route("/down", ok().route_layer(owned.clone()))
        .route("/machines/jane", ok().route_layer(owned.only([SubjectType::Machine])))
        .layer(fixture.tokens.validate_layer());
    let server = Server::start(app).await;
    let holding =
        |permissions: &[&str]| token(&fixture, json!([{"scope": {}, "permissions": permissions}]));
    let (a, b, both, other) =
        (holding(&["a"]), holding(&["b"]), holding(&["a", "b"]), holding(&["c"]));
    for (path, token, status) in [
        ("/all", &both, 200),
        ("/all", &a, 403),
        ("/all", &b, 403),
        ("/any", &a, 200),
        ("/any", &b, 200),
        ("/any", &other, 403),
        ("/of/jane", &other, 200),
        ("/of/joan", &other, 403),
        ("/down", &other, 503),
    ] {
        server.get(path, Some(token)).await.expect(status);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    // Nobody is asked about whom the layer does not admit.
    server.get("/machines/jane", Some(&other)).await.expect(403);
    server.get("/of/jane", None).await.expect(401);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_socket_learns_that_its_callers_token_has_ended() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let [revoked, logged_out, other, expiring] = [(); 4].map(|()| {
        let acl = Acl::new([AclEntry::anywhere(["GetOrders"]).unwrap()]);
        let grant = Grant::customer("cus_1").acl(acl).lifetime(Duration::from_secs(600));
        let token = issue_now(tokens, grant).unwrap().access_token;
        tokens.validator().validate(token.expose()).unwrap()
    });
    tokens.revoke_token(revoked.token_id()).await.unwrap();
    assert_eq!(tokens.ended(&revoked).now_or_never(), Some(TokenEnd::Revoked));
    assert_eq!(tokens.ended(&other).now_or_never(), None);

    let mut waiting = Box::pin(tokens.ended(&logged_out));
    assert_eq!((&mut waiting).now_or_never(), None);
    tokens.log_out(&logged_out).await.unwrap();
    assert_eq!(waiting.now_or_never(), Some(TokenEnd::Revoked));

    let waiting = tokio::spawn(tokens.ended(&expiring));
    tokio::task::yield_now().await;
    fixture.clock.advance(Duration::from_secs(600));
    tokio::time::advance(Duration::from_secs(600)).await;
    assert_eq!(waiting.await.unwrap(), TokenEnd::Expired);

    let customer = tokens.principal(SubjectType::Customer, "cus_1", Organization::All);
    fixture.clock.advance(Duration::from_secs(1));
    let late = issue_now(tokens, Grant::customer("cus_1")).unwrap().access_token;
    let late = tokens.validator().validate(late.expose()).unwrap();
    let mut waiting = Box::pin(tokens.ended(&late));
    assert_eq!((&mut waiting).now_or_never(), None);
    assert_eq!(tokens.revoke_subject(&customer, tokens.now()).await.unwrap().sessions, 0);
    assert_eq!(waiting.now_or_never(), Some(TokenEnd::Revoked));
}

#[tokio::test]
async fn each_family_of_routes_rejects_in_the_shape_that_the_host_gives_it() {
    let fixture = Fixture::with(|builder| {
        builder
            .reject_with(|rejection, _| (rejection.status(), "a layer"))
            .entity_routes_reject_with(|rejection, request| {
                (rejection.status(), format!("{} {}", request.uri.path(), rejection.code()))
            })
    });
    fixture.user("jane", json!([])).await;
    // A layer in front has nothing to say about what the routes reject.
    let app = fixture.tokens.router().layer(fixture.tokens.validate_layer().optional());
    let server = Server::start(app).await;
    let wrong = json!({"username": "jane", "password": "a wrong password"});
    let answer = server.post("/user/token/generate", None, &wrong).await.expect(401);
    assert_eq!(answer.text(), "/user/token/generate invalid-credentials");
    assert!(answer.headers().contains_key("www-authenticate"));
    assert_eq!(answer.header("cache-control"), "no-store");
    let answer = server.get("/user/token/generate", None).await.expect(405);
    assert_eq!(answer.text(), "/user/token/generate method-not-allowed");
    assert_eq!(answer.header("allow"), "POST");
    let answer = server.get("/authentication-tokens", None).await.expect(401);
    assert_eq!(answer.json()["title"], "A bearer token is required");
    let right = json!({"username": "jane", "password": PASSWORD});
    server.post("/user/token/generate", None, &right).await.expect(200);

    let fixture = Fixture::with(|builder| {
        builder.session_routes_reject_with(|rejection, _| {
            let fields = rejection.invalid_fields().iter().map(|invalid| invalid.field.clone());
            let body = json!({"error": rejection.code(), "fields": fields.collect::<Vec<_>>()});
            (rejection.status(), Json(body))
        })
    });
    let server = fixture.serve().await;
    let answer = server.post("/authentication-tokens", None, &json!({})).await.expect(422);
    let expected = json!({"error": "invalid-fields", "fields": ["username", "password"]});
    assert_eq!(answer.json(), expected);
    let answer = server.post("/user/token/generate", None, &json!({})).await.expect(400);
    assert_eq!(answer.json()["errorCode"], "Bad Request");
}
