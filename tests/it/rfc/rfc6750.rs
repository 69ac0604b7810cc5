//! Bearer Token Usage.

use axum::Router;
use axum::routing::get;
use countersign::{Algorithm, Grant, KeyRing, TokenService};
use http::Request;
use std::time::Duration;

use crate::support::{AUDIENCE, Answer, Fixture, Server};

/// The realm of the examples.
const REALM: &str = "example";

async fn resource() -> (Fixture, Server) {
    let fixture = Fixture::new();
    let tokens = TokenService::builder()
        .issuer(REALM)
        .audience(AUDIENCE)
        .keys(KeyRing::generate(Algorithm::EdDSA).unwrap())
        .clock(fixture.clock.clone())
        .build()
        .unwrap();
    let app = Router::new()
        .route("/resource", get(async || "the resource"))
        .route_layer(tokens.require_layer("GetResource"))
        .layer(tokens.validate_layer());
    let server = Server::start(app).await;
    (Fixture { tokens, ..fixture }, server)
}

async fn ask(server: &Server, authorization: Option<&str>) -> Answer {
    let mut request = Request::get("/resource");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    server.send(request.body(String::new()).unwrap()).await
}

#[tokio::test]
async fn section_2_1_a_token_of_the_example_is_looked_at_and_not_known() {
    let (_fixture, server) = resource().await;
    let answer = ask(&server, Some("Bearer mF_9.B5f-4.1JqM")).await;
    assert_eq!(answer.status(), 401);
    let challenge = answer.header("www-authenticate");
    assert!(
        challenge.starts_with(r#"Bearer realm="example", error="invalid_token""#),
        "{challenge}"
    );
}

#[tokio::test]
async fn section_3_without_credentials_the_challenge_has_no_error() {
    let (_fixture, server) = resource().await;
    let answer = ask(&server, None).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="example""#);
}

#[tokio::test]
async fn section_3_an_expired_token_is_told_from_others() {
    let (fixture, server) = resource().await;
    let token = fixture.tokens.issue(Grant::user("jane@example.com")).await.unwrap().access_token;
    fixture.clock.advance(Duration::from_secs(30 * 86_400));
    let answer = ask(&server, Some(&format!("Bearer {}", token.expose()))).await;
    assert_eq!(answer.status(), 401);
    let challenge = answer.header("www-authenticate");
    let begin = r#"Bearer realm="example", error="invalid_token", error_description=""#;
    // The text is anybody's own.
    let description = challenge.strip_prefix(begin).unwrap();
    assert!(description.contains("expired"), "{challenge}");
}

#[tokio::test]
async fn section_3_1_each_error_has_its_status() {
    let (fixture, server) = resource().await;
    let token = fixture.tokens.issue(Grant::user("jane@example.com")).await.unwrap().access_token;
    for (authorization, status, error) in [
        ("Bearer two words".to_owned(), 400, "invalid_request"),
        ("Bearer mF_9.B5f-4.1JqM".to_owned(), 401, "invalid_token"),
        (format!("Bearer {}", token.expose()), 403, "insufficient_scope"),
    ] {
        let answer = ask(&server, Some(&authorization)).await;
        assert_eq!(answer.status().as_u16(), status, "{authorization}");
        let challenge = answer.header("www-authenticate");
        assert!(challenge.contains(&format!("error=\"{error}\"")), "{challenge}");
    }
}
