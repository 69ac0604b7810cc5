use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use countersign::{Grant, KeyRing, ValidateLayer, Validator};
use http::header::{AUTHORIZATION, COOKIE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use serde_json::Value;
use tower::{Layer, ServiceExt as _, service_fn};

use crate::layers::{
    ask, assert_rejected, axum_whoami, bearer, challenge, found, request_with, text_of, user_token,
    whoami,
};
use crate::support::{Fixture, ISSUER, Server};

#[tokio::test]
async fn a_request_with_a_good_token_passes_with_what_was_found_in_its_extensions() {
    let fixture = Fixture::new();
    let server = Server::start(axum_whoami().layer(fixture.tokens.validate_layer())).await;
    let token = user_token(&fixture);
    for scheme in ["Bearer", "bearer", "BEARER  "] {
        let value = format!("{scheme} {token}");
        let answer = ask(&server, "/", &[(AUTHORIZATION, &value)]).await.expect(200);
        assert_eq!(answer.text(), "ops@example.com");
        assert_eq!(answer.header("x-authorization"), value, "handed on as it came");
    }
}

#[tokio::test]
async fn a_request_without_credentials_is_a_401_without_an_error_code() {
    let fixture = Fixture::new();
    let server = Server::start(axum_whoami().layer(fixture.tokens.validate_layer())).await;
    let token = user_token(&fixture);
    let expected = format!("Bearer realm=\"{ISSUER}\"");
    let mut answers = vec![ask(&server, "/", &[]).await];
    for other in ["Basic b3BzOnB3", "DPoP abc", "Token abc", ""] {
        answers.push(ask(&server, "/", &[(AUTHORIZATION, other)]).await);
    }
    answers.push(ask(&server, &format!("/?access_token={token}"), &[]).await);
    answers.push(ask(&server, "/", &[(COOKIE, &format!("__Host-session={token}"))]).await);
    for answer in answers {
        assert_rejected(&answer, 401, "A bearer token is required", Some(&expected));
    }
}

#[tokio::test]
async fn an_optional_layer_lets_anonymous_requests_pass_and_rejects_bad_ones_still() {
    let fixture = Fixture::new();
    let layer = fixture.tokens.validate_layer().optional();
    let server = Server::start(axum_whoami().layer(layer)).await;
    assert_eq!(ask(&server, "/", &[]).await.expect(200).text(), "nobody");
    let basic = ask(&server, "/", &[(AUTHORIZATION, "Basic b3BzOnB3")]).await.expect(200);
    assert_eq!(basic.text(), "nobody");
    let good = server.get("/", Some(&user_token(&fixture))).await.expect(200);
    assert_eq!(good.text(), "ops@example.com");
    let stranger = user_token(&Fixture::new());
    for bad in [&stranger, "a.b.c", "opaque"] {
        let answer = server.get("/", Some(bad)).await;
        let detail = "The access token is not valid";
        assert_rejected(&answer, 401, detail, Some(&challenge("invalid_token", detail)));
    }
    let malformed = ask(&server, "/", &[(AUTHORIZATION, "Bearer")]).await;
    malformed.expect(400);
}

#[tokio::test]
async fn a_token_that_has_expired_is_told_so() {
    let fixture = Fixture::new();
    let server = Server::start(axum_whoami().layer(fixture.tokens.validate_layer())).await;
    let token = user_token(&fixture);
    fixture.clock.advance(Duration::from_secs(86_400 + 59));
    server.get("/", Some(&token)).await.expect(200);
    fixture.clock.advance(Duration::from_secs(1));
    let answer = server.get("/", Some(&token)).await;
    let detail = "The access token has expired";
    assert_rejected(&answer, 401, detail, Some(&challenge("invalid_token", detail)));
}

#[tokio::test]
async fn a_token_that_was_revoked_is_rejected_from_then_on() {
    let fixture = Fixture::new();
    let server = Server::start(axum_whoami().layer(fixture.tokens.validate_layer())).await;
    let issued = fixture.tokens.issue(Grant::user("ops@example.com")).await.unwrap();
    server.get("/", Some(issued.access_token.expose())).await.expect(200);
    fixture.tokens.revoke_token(&issued.token_id).await.unwrap();
    let answer = server.get("/", Some(issued.access_token.expose())).await;
    let detail = "The access token is not valid";
    assert_rejected(&answer, 401, detail, Some(&challenge("invalid_token", detail)));
}

#[tokio::test]
async fn credentials_that_cannot_be_read_are_a_400() {
    let fixture = Fixture::new();
    let good = format!("Bearer {}", user_token(&fixture));
    let tab = good.replace(' ', "\t");
    let detail = "There must be one Authorization header, holding one bearer token";
    for optional in [false, true] {
        let mut layer = fixture.tokens.validate_layer();
        if optional {
            layer = layer.optional();
        }
        let server = Server::start(axum_whoami().layer(layer)).await;
        for values in [
            vec![good.as_str(), good.as_str()],
            vec!["Basic b3BzOnB3", good.as_str()],
            vec!["", ""],
            vec!["Bearer"],
            vec!["Bearer a b"],
            vec!["Bearer a,Bearer b"],
            vec![tab.as_str()],
        ] {
            let headers: Vec<_> = values.iter().map(|value| (AUTHORIZATION, *value)).collect();
            let answer = ask(&server, "/", &headers).await;
            assert_rejected(&answer, 400, detail, Some(&challenge("invalid_request", detail)));
        }
    }
}

#[tokio::test]
async fn a_hook_shapes_the_rejection_and_the_challenge_stays() {
    let fixture = Fixture::with(|builder| {
        builder.reject_with(|rejection, request| {
            let headers = [("content-type", "text/oops"), ("cache-control", "private")];
            let (code, reason) = (rejection.code(), rejection.log_reason());
            let text = format!("{} {}: {code} ({reason})", request.method, request.uri);
            (rejection.status(), headers, text)
        })
    });
    let server = Server::start(axum_whoami().layer(fixture.tokens.validate_layer())).await;
    let answer = server.get("/", None).await.expect(401);
    assert_eq!(answer.text(), "GET /: missing-token (missing_credentials)");
    assert_eq!(answer.header("content-type"), "text/oops");
    assert_eq!(answer.header("cache-control"), "private", "the hook's own header wins");
    assert_eq!(answer.header("www-authenticate"), format!("Bearer realm=\"{ISSUER}\""));
    let answer = server.get("/", Some("opaque")).await.expect(401);
    assert_eq!(answer.text(), "GET /: invalid-token (malformed)");
    let expected = challenge("invalid_token", "The access token is not valid");
    assert_eq!(answer.header("www-authenticate"), expected);

    // A hook that forgets all headers cannot forget these.
    let fixture = Fixture::with(|builder| builder.reject_with(|rejection, _| rejection.status()));
    let service = fixture.tokens.validate_layer().layer(service_fn(whoami));
    let response = service.oneshot(Request::new(String::new())).await.unwrap();
    assert!(response.headers().contains_key("www-authenticate"));
    assert_eq!(response.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn a_validate_layer_serves_plain_tower_with_any_body() {
    let fixture = Fixture::new();
    let (name, value) = bearer(&user_token(&fixture));
    let good = [(name, value.as_str())];

    let service = fixture.tokens.validate_layer().layer(service_fn(whoami::<String>));
    let answer = service.clone().oneshot(request_with(&good)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(text_of(answer).await, "ops@example.com");
    let answer = service.oneshot(request_with(&[])).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert!(text_of(answer).await.contains("A bearer token is required"));

    let full = service_fn(async |request: Request<Full<Bytes>>| {
        let text = found(&request);
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let text = format!("{text} {}", String::from_utf8_lossy(&body));
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
    });
    let service = fixture.tokens.validate_layer().layer(full);
    let request = request_with::<Full<Bytes>>(&good).map(|_| Full::new(Bytes::from("body")));
    let answer = service.clone().oneshot(request).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "ops@example.com body");
    let answer = service.oneshot(request_with(&[])).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(serde_json::from_slice::<Value>(&body).is_ok());
}

#[tokio::test]
async fn a_validate_layer_keeps_what_other_layers_left_in_the_request() {
    let fixture = Fixture::new();
    let inner = service_fn(async |request: Request<String>| {
        let number = request.extensions().get::<u32>().copied();
        let text = format!("{} {number:?} {:?}", request.uri(), request.headers().get("x-a"));
        Ok::<_, Infallible>(Response::new(text))
    });
    let service = fixture.tokens.validate_layer().optional().layer(inner);
    for token in [None, Some(user_token(&fixture))] {
        let mut request = Request::builder().uri("/a?b=c").header("x-a", "d").extension(7_u32);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body("body".to_owned()).unwrap();
        let answer = service.clone().oneshot(request).await.unwrap();
        assert_eq!(text_of(answer).await, "/a?b=c Some(7) Some(\"d\")");
    }
}

#[tokio::test]
async fn a_layer_of_a_validator_alone_needs_no_service() {
    let fixture = Fixture::new();
    let validator = Validator::builder()
        .issuer(ISSUER)
        .audience(crate::support::AUDIENCE)
        .keys(KeyRing::from_jwks(fixture.tokens.jwks().as_bytes()).unwrap())
        .clock(Arc::new(fixture.clock.clone()))
        .build()
        .unwrap();
    let service = ValidateLayer::new(validator).layer(service_fn(whoami::<String>));
    let (name, value) = bearer(&user_token(&fixture));
    let answer = service.oneshot(request_with(&[(name, &value)])).await.unwrap();
    assert_eq!(text_of(answer).await, "ops@example.com");
}
