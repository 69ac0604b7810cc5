//! A host that logs people in by its own means, and has the tokens made.
//!
//! ```text
//! cargo run --example login
//! curl -i -d 'name=jane' -d 'answer=42' http://127.0.0.1:8082/login
//! curl -H "Cookie: __Host-session=$TOKEN" http://127.0.0.1:8082/home
//! ```
//!
//! The means here is a riddle; it could be a passkey, or the callback of an identity provider.

#![allow(clippy::print_stdout, reason = "a program talks to its terminal")]

use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use countersign::{Algorithm, Bearer, Grant, Issue, KeyRing, SubjectType, TokenService};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use tokio::net::TcpListener;

#[derive(Deserialize)]
struct Login {
    name: String,
    answer: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tokens = TokenService::builder()
        .issuer("https://shop.example.com")
        .audience("https://shop.example.com")
        .keys(KeyRing::generate(Algorithm::EdDSA)?)
        .build()?;
    let listener = TcpListener::bind("127.0.0.1:8082").await?;
    println!("curl -i -d 'name=jane' -d 'answer=42' http://127.0.0.1:8082/login");
    println!("curl -H \"Cookie: __Host-session=$TOKEN\" http://127.0.0.1:8082/home");
    axum::serve(listener, app(&tokens)).await?;
    Ok(())
}

fn app(tokens: &TokenService) -> Router {
    Router::new()
        .route("/home", get(home).route_layer(tokens.exchange_layer().only([SubjectType::User])))
        .route("/login", post(login))
        .layer(tokens.issue_layer().as_cookie())
}

async fn login(Form(login): Form<Login>) -> Response {
    if login.answer == "42" && !login.name.trim().is_empty() {
        Issue(Grant::user(login.name)).see_other(HeaderValue::from_static("/home"))
    } else {
        StatusCode::UNAUTHORIZED.into_response()
    }
}

async fn home(Bearer(claims): Bearer) -> String {
    format!("welcome home, {}\n", claims.principal().id())
}
