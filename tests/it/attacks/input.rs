//! What requests are made of.

use axum::Router;
use axum::routing::get;
use countersign::Grant;
use http::Request;

use crate::support::{Fixture, Server};

#[tokio::test]
async fn a_token_in_the_query_is_not_looked_at() {
    let fixture = Fixture::new();
    let token = fixture.tokens.issue(Grant::user("jane@example.com")).unwrap().access_token;
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
