//! An app that only checks tokens which somebody else issues.
//!
//! ```text
//! cargo run --example protect
//! curl http://127.0.0.1:8081/hello
//! curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8081/orders
//! ```
//!
//! It prints a token to try. A real app loads the issuer's keys from its
//! `/.well-known/jwks.json`; here the issuer lives in the same process, so that there is something
//! to check.

#![allow(clippy::print_stdout, reason = "a program talks to its terminal")]

use axum::Router;
use axum::routing::get;
use countersign::{
    Acl, AclEntry, Algorithm, Bearer, Grant, KeyRing, RequireLayer, TokenService, ValidateLayer,
    Validator,
};
use tokio::net::TcpListener;

const ISSUER: &str = "https://auth.example.com";
const AUDIENCE: &str = "https://api.example.com";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let issuer = TokenService::builder()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .keys(KeyRing::generate(Algorithm::EdDSA)?)
        .build()?;
    let acl = Acl::new([AclEntry::anywhere(["GetOrders"])?]);
    let token = issuer.issue(Grant::user("jane@example.com").acl(acl)).await?;

    let validator = Validator::builder()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .keys(KeyRing::from_jwks(issuer.jwks().as_bytes())?)
        .build()?;
    let listener = TcpListener::bind("127.0.0.1:8081").await?;
    println!("curl http://127.0.0.1:8081/hello");
    println!(
        "curl -H 'Authorization: Bearer {}' http://127.0.0.1:8081/orders",
        token.access_token.expose()
    );
    axum::serve(listener, app(validator)).await?;
    Ok(())
}

fn app(validator: Validator) -> Router {
    Router::new()
        .route("/hello", get(hello))
        .route("/orders", get(orders).route_layer(RequireLayer::new("GetOrders")))
        .layer(ValidateLayer::new(validator).optional())
}

async fn hello(caller: Option<Bearer>) -> String {
    caller.map_or_else(
        || "hello, whoever you are\n".to_owned(),
        |Bearer(claims)| format!("hello, {}\n", claims.principal().id()),
    )
}

async fn orders(Bearer(claims): Bearer) -> String {
    format!("orders of {}\n", claims.principal().id())
}
