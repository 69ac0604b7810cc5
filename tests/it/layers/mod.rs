//! The middleware and the extractors, under axum and under plain tower.

mod exchange;
mod extractors;
mod forward_auth;
mod grpc;
mod issue;
mod pages;
mod require;
mod tower_http;
mod tower_services;
mod validate;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use countersign::{Acl, Bearer, Grant, Issue, Validated};
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Answer, Fixture, ISSUER, Server, acl_of, issue_now};

fn token_of(fixture: &Fixture, grant: Grant) -> String {
    issue_now(&fixture.tokens, grant).unwrap().access_token.expose().to_owned()
}

fn user_token(fixture: &Fixture) -> String {
    token_of(fixture, Grant::user("ops@example.com"))
}

fn user_with(fixture: &Fixture, scope: Value, permissions: &[&str]) -> String {
    let acl = acl_of(json!([{"scope": scope, "permissions": permissions}]));
    token_of(fixture, Grant::user("ops@example.com").acl(acl))
}

/// What a service behind a layer finds in the request.
fn found<B>(request: &Request<B>) -> String {
    match request.extensions().get::<Arc<Validated>>() {
        Some(validated) => validated.principal().id().to_owned(),
        None => "nobody".to_owned(),
    }
}

/// Returns who is asking, with the `Authorization` that arrived.
async fn whoami<B>(request: Request<B>) -> Result<Response<String>, Infallible> {
    let mut response = Response::new(found(&request));
    if let Some(value) = request.headers().get(AUTHORIZATION) {
        response.headers_mut().insert("x-authorization", value.clone());
    }
    Ok(response)
}

/// Reads a response to its end.
async fn text_of(response: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn axum_whoami() -> Router {
    let handler = async |request: axum::extract::Request| whoami(request).await.unwrap();
    Router::new().route("/", get(handler))
}

fn request_with<B: Default>(headers: &[(HeaderName, &str)]) -> Request<B> {
    let mut request = Request::new(B::default());
    for (name, value) in headers {
        request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
    }
    request
}

fn bearer(token: &str) -> (HeaderName, String) {
    (AUTHORIZATION, format!("Bearer {token}"))
}

/// Gets a path with these headers.
async fn ask(server: &Server, path: &str, headers: &[(HeaderName, &str)]) -> Answer {
    let mut request = request_with::<String>(headers);
    *request.uri_mut() = path.parse().unwrap();
    server.send(request).await
}

fn challenge(error: &str, description: &str) -> String {
    format!("Bearer realm=\"{ISSUER}\", error=\"{error}\", error_description=\"{description}\"")
}

/// Checks a rejection in problem details.
#[track_caller]
fn assert_rejected(answer: &Answer, status: u16, detail: &str, challenge: Option<&str>) {
    assert_eq!(answer.status().as_u16(), status, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("cache-control"), "no-store");
    let title = answer.status().canonical_reason().unwrap();
    let mut body = answer.json();
    assert!(body["code"].is_string(), "{body}");
    body.as_object_mut().unwrap().remove("code");
    let expected =
        json!({"type": "about:blank", "title": title, "status": status, "detail": detail});
    assert_eq!(body, expected);
    let sent = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap());
    assert_eq!(sent, challenge);
}

#[derive(Debug, Deserialize)]
struct MyClaims {
    locale: String,
    #[serde(default)]
    roles: Vec<String>,
}

fn extracting() -> Router {
    Router::new()
        .route("/", get(async |Bearer(claims): Bearer| claims.principal().id().to_owned()))
        .route(
            "/mine",
            get(async |Bearer(claims): Bearer<MyClaims>| {
                let MyClaims { locale, roles } = &claims.custom;
                format!("{} {locale} {roles:?}", claims.validated().principal().id())
            }),
        )
        .route(
            "/maybe",
            get(async |caller: Option<Bearer>| {
                caller.map_or("nobody".to_owned(), |Bearer(claims)| {
                    claims.principal().id().to_owned()
                })
            }),
        )
        .route(
            "/maybe/mine",
            get(async |caller: Option<Bearer<MyClaims>>| match caller {
                Some(Bearer(claims)) => claims.custom.locale.clone(),
                None => "nobody".to_owned(),
            }),
        )
}

fn issuing() -> Router {
    let grant = || Grant::user("ops@example.com").acl(Acl::everything());
    Router::new()
        .route("/login", post(async move || Issue::grant(grant())))
        .route(
            "/form",
            post(async move || Issue::grant(grant()).see_other(HeaderValue::from_static("/home"))),
        )
        .route("/blank", post(async || Issue::grant(Grant::user(" "))))
        .route("/other", post(async || (StatusCode::ACCEPTED, [("x-a", "b")], "not a token")))
}

/// Posts as a page of the app's own does.
async fn post_to(server: &Server, path: &str) -> Answer {
    let request = Request::post(path).header("sec-fetch-site", "same-origin");
    server.send(request.body("").unwrap()).await
}

async fn session(fixture: &Fixture) -> String {
    let claims = json!({"locale": "de"});
    let acl = acl_of(json!([{"scope": {}, "permissions": ["GetOrders"]}]));
    fixture.session(|new| new.acl(acl).custom_claims(claims).unwrap()).await
}

fn cookie(token: &str) -> (HeaderName, String) {
    (COOKIE, format!("theme=dark; __Host-session={token}; lang=de"))
}
