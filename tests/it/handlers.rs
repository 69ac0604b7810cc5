//! Handlers as hosts write them: they return what the service returns, and check what the layers check.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use countersign::cookies::SessionCookie;
use countersign::faults::TokenFault;
use countersign::tokens::IssuedToken;
use countersign::{
    Bearer, Error, ErrorKind, Grant, Password, Rejection, RequestContext, RequireLayer,
    SubjectType, TokenService,
};
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
    assert!(answer.headers().get("www-authenticate").is_none(), "a password is no bearer token");
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
        let is_of_bearer = matches!(
            kind,
            ErrorKind::InvalidEntity | ErrorKind::InvalidToken | ErrorKind::InsufficientPermission
        );
        assert_eq!(rejection.challenge().is_some(), is_of_bearer, "{kind:?}");
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

#[tokio::test]
async fn a_hook_sees_the_errors_of_handlers_and_of_axums_extractors_those_that_a_handler_takes() {
    let fixture = Fixture::with(|builder| {
        builder.reject_with(|rejection, _| {
            (rejection.status(), format!("{}: {}", rejection.code(), rejection.message()))
        })
    });
    let axums = post(async |Json(login): Json<Login>| login.name);
    let taken = post(async |login: Result<Json<Login>, JsonRejection>| {
        let invalid =
            |fault: JsonRejection| Error::new(ErrorKind::InvalidRequest, fault.body_text());
        let Json(login) = login.map_err(invalid)?;
        Err::<(), _>(Error::new(ErrorKind::NotFound, format!("There is no {}", login.name)))
    });
    let app = Router::new().route("/axums", axums).route("/taken", taken);
    let server = Server::start(app.layer(fixture.tokens.validate_layer().optional())).await;
    let answer = server.post("/axums", None, &json!({})).await.expect(422);
    assert!(!answer.text().starts_with("malformed-request"), "{answer:?}");
    let answer = server.post("/taken", None, &json!({})).await.expect(400);
    assert!(answer.text().starts_with("malformed-request: "), "{answer:?}");
    let jane = json!({"name": "jane", "password": "x"});
    let answer = server.post("/taken", None, &jane).await.expect(404);
    assert_eq!(answer.text(), "not-found: There is no jane");
}

#[tokio::test]
async fn a_hook_sees_the_uri_that_the_client_has_sent_also_in_a_nested_router() {
    let fixture = Fixture::with(|builder| {
        builder.reject_with(|rejection, request| (rejection.status(), request.uri.to_string()))
    });
    let inner =
        Router::new().route("/me", get(async || "me")).layer(fixture.tokens.validate_layer());
    let server = Server::start(Router::new().nest("/api", inner)).await;
    let answer = server.get("/api/me?of=jane", None).await.expect(401);
    assert_eq!(answer.text(), "/api/me?of=jane");
}

#[tokio::test]
async fn a_layer_that_issues_shapes_the_errors_of_a_login_and_checks_no_token_that_comes_along() {
    let fixture = Fixture::with(|builder| {
        builder.reject_with(|rejection, _| (rejection.status(), rejection.code()))
    });
    let app = Router::new().route("/login", post(log_in)).with_state(fixture.tokens.clone());
    let server = Server::start(app.layer(fixture.tokens.issue_layer())).await;
    fixture.user("jane", json!([])).await;
    let right = json!({"name": "jane", "password": PASSWORD});
    server.post("/login", Some("a.stale.token"), &right).await.expect(200);
    let wrong = json!({"name": "jane", "password": "wrong"});
    let answer = server.post("/login", Some("a.stale.token"), &wrong).await.expect(401);
    assert_eq!(answer.text(), "invalid-credentials");
}

/// Handlers that reject a request themselves, and the challenge of each behind a layer.
fn rejecting() -> (Router, [(&'static str, String); 5]) {
    let error = |kind| get(async move || Err::<(), _>(Error::new(kind, "no \"quotes\"")));
    let cookie = get(async |headers: http::HeaderMap| {
        SessionCookie::default().token(&headers).map(|_| "logged in")
    });
    let validating = get(async || Err::<(), _>(Rejection::from(TokenFault::Expired)));
    let app = Router::new()
        .route("/login", error(ErrorKind::InvalidCredentials))
        .route("/code", error(ErrorKind::OneTimePasswordInvalid))
        .route("/token", error(ErrorKind::InvalidToken))
        .route("/cookie", cookie)
        .route("/socket", validating);
    let realm = format!("Bearer realm=\"{ISSUER}\"");
    let of =
        |fault: &str| format!("{realm}, error=\"invalid_token\", error_description=\"{fault}\"");
    let challenges = [
        ("/login", realm.clone()),
        ("/code", realm.clone()),
        ("/token", of("no quotes")),
        ("/cookie", realm.clone()),
        ("/socket", of("The access token has expired")),
    ];
    (app, challenges)
}

#[tokio::test]
async fn the_layer_in_front_says_of_which_realm_a_handlers_rejection_is() {
    let plain = Fixture::new();
    let hooked = Fixture::with(|builder| {
        builder.reject_with(|rejection, _| {
            let challenge = rejection.challenge().unwrap();
            (rejection.status(), challenge.to_str().unwrap().to_owned())
        })
    });
    for Fixture { tokens, .. } in [&plain, &hooked] {
        let (app, challenges) = rejecting();
        for app in [
            app.clone().layer(tokens.validate_layer().optional()),
            app.clone().layer(tokens.exchange_layer().optional()),
            app.clone().layer(tokens.same_origin_layer()),
            app.clone().layer(tokens.issue_layer()),
            app.layer(tokens.same_origin_layer()).layer(tokens.exchange_layer().optional()),
        ] {
            let server = Server::start(app).await;
            for (path, challenge) in &challenges {
                let answer = server.get(path, None).await.expect(401);
                assert_eq!(answer.header("www-authenticate"), challenge, "{path}");
                let is_hooked = std::ptr::eq(tokens, &hooked.tokens);
                assert_eq!(answer.text() == *challenge, is_hooked, "{path}");
            }
        }
    }
}

#[tokio::test]
async fn without_a_layer_only_what_is_wrong_with_a_token_is_a_challenge() {
    let (app, challenges) = rejecting();
    let server = Server::start(app).await;
    for (path, challenge) in challenges {
        let answer = server.get(path, None).await.expect(401);
        let sent = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap());
        let expected = challenge.split_once(", ").map(|(_, error)| format!("Bearer {error}"));
        assert_eq!(sent, expected.as_deref(), "{path}");
    }
}

#[tokio::test]
async fn a_challenge_that_a_layer_in_between_has_set_stays() {
    let fixture = Fixture::new();
    let (app, _) = rejecting();
    let basic = async |mut response: axum::response::Response| {
        let challenge = "Basic realm=\"shop\"".parse().unwrap();
        response.headers_mut().insert("www-authenticate", challenge);
        response
    };
    let app = app.layer(axum::middleware::map_response(basic));
    let server = Server::start(app.layer(fixture.tokens.validate_layer().optional())).await;
    let answer = server.get("/token", None).await.expect(401);
    assert_eq!(answer.header("www-authenticate"), "Basic realm=\"shop\"");
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
