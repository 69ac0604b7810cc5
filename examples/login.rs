//! A host that logs people in by its own means, and has the tokens made.
//!
//! ```text
//! cargo run --example login
//! curl -i -H 'Sec-Fetch-Site: same-origin' -d 'name=jane' -d 'answer=42' http://127.0.0.1:8082/login
//! curl -H "Cookie: __Host-session=$TOKEN" http://127.0.0.1:8082/home
//! curl -i -X POST -H 'Sec-Fetch-Site: same-origin' -H "Cookie: __Host-session=$TOKEN" http://127.0.0.1:8082/logout
//! ```
//!
//! The means here is a riddle; it could be a passkey, or the callback of an identity provider.
//!
//! Browsers say by `Sec-Fetch-Site` whose page sends a request. Where it changes something, a cookie
//! counts for the app's own pages alone, and is set for them alone: so curl has to say it as well.

#![allow(clippy::print_stdout, reason = "a program talks to its terminal")]

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use countersign::cookies::SessionCookie;
use countersign::{
    Algorithm, Bearer, Grant, Issue, KeyRing, Rejection, RequestContext, SubjectType, TokenService,
};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, StatusCode};
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
    let own = "-H 'Sec-Fetch-Site: same-origin'";
    let cookie = "-H \"Cookie: __Host-session=$TOKEN\"";
    println!("curl -i {own} -d 'name=jane' -d 'answer=42' http://127.0.0.1:8082/login");
    println!("curl {cookie} http://127.0.0.1:8082/home");
    println!("curl -i -X POST {own} {cookie} http://127.0.0.1:8082/logout");
    axum::serve(listener, app(&tokens)).await?;
    Ok(())
}

fn app(tokens: &TokenService) -> Router {
    let members = Router::new()
        .route("/home", get(home))
        .route_layer(tokens.exchange_layer().only([SubjectType::User]));
    let login = Router::new()
        .route("/", get(async || "log in at /login\n"))
        .route("/login", post(log_in))
        .layer(tokens.issue_layer().as_cookie());
    let logout =
        Router::new().route("/logout", post(log_out)).route_layer(tokens.same_origin_layer());
    members.merge(login).merge(logout).with_state(tokens.clone())
}

async fn log_in(Form(login): Form<Login>) -> Response {
    if login.answer == "42" && !login.name.trim().is_empty() {
        Issue::grant(Grant::user(login.name)).see_other(HeaderValue::from_static("/home"))
    } else {
        StatusCode::UNAUTHORIZED.into_response()
    }
}

async fn home(Bearer(claims): Bearer) -> String {
    format!("welcome home, {}\n", claims.principal().id())
}

/// Revokes the token, so that a copy of the cookie is rejected, and removes the cookie.
async fn log_out(
    State(tokens): State<TokenService>,
    context: RequestContext,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Rejection> {
    let removal = tokens.log_out_browser(&SessionCookie::default(), &headers, &context).await?;
    Ok(([(SET_COOKIE, removal)], Redirect::to("/")))
}
