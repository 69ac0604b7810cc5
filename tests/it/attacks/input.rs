//! What requests are made of.

use axum::Router;
use axum::routing::get;
use countersign::Grant;
use http::Request;
use serde_json::json;

use crate::support::{Fixture, Server};

#[tokio::test]
async fn a_token_in_the_query_is_not_looked_at() {
    let fixture = Fixture::new();
    let token = fixture.tokens.issue(Grant::user("jane@example.com")).await.unwrap().access_token;
    let app = Router::new()
        .route("/", get(async || "let through"))
        .layer(fixture.tokens.validate_layer())
        .merge(fixture.tokens.router());
    let server = Server::start(app).await;
    let token = token.expose();
    // RFC 6750 section 2.3 has a name for it.
    for path in
        [format!("/?access_token={token}"), format!("/authentication-tokens?access_token={token}")]
    {
        let answer = server.send(Request::get(&path).body(String::new()).unwrap()).await;
        assert_eq!(answer.status(), 401, "{path}");
        assert!(!answer.header("www-authenticate").contains("error="));
    }
}

#[tokio::test]
async fn a_list_that_is_wrong_all_over_is_told_so_in_few_words() {
    let fixture = Fixture::new();
    let token = fixture.session(|new| new).await;
    let server = Server::start(fixture.tokens.router()).await;
    let path = format!("/authentication-tokens/{token}/exchange");
    let scope: serde_json::Map<_, _> = (0..500).map(|n| (n.to_string(), json!([]))).collect();
    for acl in [
        json!([{"scope": {}, "permissions": vec![""; 4_000]}]),
        json!(vec![json!({}); 3_000]),
        json!([{"scope": scope, "permissions": ["GetOrders"]}]),
    ] {
        let answer = server.post(&path, None, &json!({"acl": acl})).await.expect(422);
        assert_eq!(answer.json()["invalidFields"].as_array().unwrap().len(), 32);
        assert!(answer.text().len() < 8 * 1024, "{}", answer.text().len());
    }
    server.post(&path, None, &json!({})).await.expect(201);
}
