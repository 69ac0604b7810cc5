//! A WebSocket, a stream of events and a gRPC stream, which end when the caller's token ends: at its time, or
//! at once when the caller logs out.
//!
//! ```text
//! cargo run -p grpc_and_sockets
//! curl -H 'Content-Type: application/json' -d '{"name": "jane", "password": "correct-horse"}' http://127.0.0.1:8080/login
//! curl -N -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/events
//! websocat -H "Authorization: Bearer $TOKEN" ws://127.0.0.1:8080/socket
//! grpcurl -plaintext -proto ticks.proto -H "Authorization: Bearer $TOKEN" 127.0.0.1:8080 ticks.Ticks/Watch
//! curl -X POST -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/logout
//! cargo test -p grpc_and_sockets
//! ```
//!
//! All three are behind one layer, on one port. `ticks.rs` is what a build script would have made of
//! `ticks.proto`, so that this compiles without protoc.

#![allow(clippy::print_stdout, reason = "a program talks to its terminal")]

mod ticks;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Json, State};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use countersign::tokens::{IssuedToken, TokenEnd};
use countersign::{
    Algorithm, Bearer, Entity, Error, KeyRing, Password, RequestContext, TokenService, Validated,
};
use futures_util::{Stream, StreamExt as _};
use http::StatusCode;
use tokio::net::TcpListener;
use tokio_stream::wrappers::IntervalStream;
use tonic::Status;

use crate::ticks::{Ticks, TicksServer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tokens = token_service().await?;
    let housekeeping = tokens.start().await?;
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("log in as jane, with correct-horse, at http://127.0.0.1:8080/login");
    let app = app(&tokens).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await?;
    housekeeping.shutdown().await;
    Ok(())
}

async fn token_service() -> Result<TokenService, Error> {
    let tokens = TokenService::builder()
        .issuer("https://auth.example.com")
        .audience("https://api.example.com")
        .keys(KeyRing::generate(Algorithm::EdDSA)?)
        .build()?;
    let hash = tokens.hash_password(Password::new("correct-horse")?).await?;
    tokens.register(Entity::user("jane", hash)?).await?;
    Ok(tokens)
}

fn app(tokens: &TokenService) -> Router {
    let grpc = tonic::service::Routes::new(TicksServer(Arc::new(Watch(tokens.clone()))))
        .into_axum_router();
    Router::new()
        .route("/socket", any(socket))
        .route("/events", get(events))
        .route("/logout", post(log_out))
        .with_state(tokens.clone())
        .merge(grpc)
        .layer(tokens.validate_layer())
        .route("/login", post(log_in).with_state(tokens.clone()))
}

#[derive(serde::Deserialize)]
struct Login {
    name: String,
    password: Password,
}

async fn log_in(
    State(tokens): State<TokenService>,
    context: RequestContext,
    Json(login): Json<Login>,
) -> Result<IssuedToken, Error> {
    tokens.issue_user_token(&login.name, login.password, &context).await
}

async fn log_out(
    State(tokens): State<TokenService>,
    Bearer(caller): Bearer,
) -> Result<StatusCode, Error> {
    tokens.log_out(&caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

// --- A WebSocket, which echoes --------------------------------------------------------------

async fn socket(
    State(tokens): State<TokenService>,
    Bearer(caller): Bearer,
    upgrade: WebSocketUpgrade,
) -> Response {
    let ended = tokens.wait_for_end(caller.validated());
    upgrade.on_upgrade(move |socket| echo(socket, ended))
}

async fn echo(mut socket: WebSocket, ended: impl Future<Output = TokenEnd>) {
    tokio::pin!(ended);
    loop {
        tokio::select! {
            end = &mut ended => {
                let reason = match end {
                    TokenEnd::Expired => "the token has expired",
                    _ => "the token was revoked",
                };
                let frame = CloseFrame { code: close_code::POLICY, reason: reason.into() };
                // A caller who has hung up need not be told.
                let _ = socket.send(Message::Close(Some(frame))).await;
                return;
            }
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    if socket.send(Message::Text(text)).await.is_err() {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}

// --- A stream of events, and one of gRPC ----------------------------------------------------

/// A tick every so often.
fn ticks() -> impl Stream<Item = String> + Send {
    let ticks = IntervalStream::new(tokio::time::interval(Duration::from_millis(500)));
    ticks.map(|_| "tick".to_owned())
}

async fn events(State(tokens): State<TokenService>, Bearer(caller): Bearer) -> impl IntoResponse {
    let ticks = ticks().take_until(tokens.wait_for_end(caller.validated()));
    Sse::new(ticks.map(|tick| Ok::<_, Infallible>(Event::default().data(tick))))
}

#[derive(Clone)]
struct Watch(TokenService);

impl Ticks for Watch {
    type Stream = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

    async fn watch(
        &self,
        request: tonic::Request<String>,
    ) -> Result<tonic::Response<Self::Stream>, Status> {
        let caller = request.extensions().get::<Arc<Validated>>();
        let caller = caller.ok_or_else(|| Status::internal("no layer validates"))?;
        let ticks = ticks().take_until(self.0.wait_for_end(caller));
        Ok(tonic::Response::new(Box::pin(ticks.map(Ok))))
    }
}

#[cfg(test)]
mod tests;
