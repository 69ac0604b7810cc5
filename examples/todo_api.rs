//! A JSON API with users of its own: each logs in by name and password, and has todos.
//!
//! ```text
//! cargo run --example todo_api
//! curl -d '{"name": "jane", "password": "correct-horse"}' -H 'Content-Type: application/json' http://127.0.0.1:8080/login
//! curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/todos
//! curl -H "Authorization: Bearer $TOKEN" -d '{"text": "feed the cat"}' -H 'Content-Type: application/json' http://127.0.0.1:8080/todos
//! curl -H "Authorization: Bearer $TOKEN" -X DELETE http://127.0.0.1:8080/todos/1
//! curl -H "Authorization: Bearer $TOKEN" -X POST http://127.0.0.1:8080/logout
//! curl -H "Authorization: Bearer $TOKEN" -X POST http://127.0.0.1:8080/logout-everywhere
//! cargo test --example todo_api
//! ```
//!
//! Whose todos somebody may read and write is in their list, by the scope `owner`. Only the handler that
//! has read a todo knows its owner, so the handler asks.

#![allow(clippy::print_stdout, reason = "a program talks to its terminal")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use countersign::tokens::IssuedToken;
use countersign::{
    Acl, AclEntry, Algorithm, Bearer, Entity, Error, ErrorKind, KeyRing, Password, Rejection,
    RequestContext, TokenService,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tokens = token_service().await?;
    let housekeeping = tokens.start().await?;
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("log in as jane, john or the auditor ann, with the password correct-horse:");
    println!(
        "curl -d '{{\"name\": \"jane\", \"password\": \"correct-horse\"}}' \
         -H 'Content-Type: application/json' http://127.0.0.1:8080/login"
    );
    let app = app(&tokens).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await?;
    housekeeping.shutdown().await;
    Ok(())
}

async fn token_service() -> Result<TokenService, Error> {
    let tokens = TokenService::builder()
        .issuer("https://todo.example.com")
        .audience("https://todo.example.com")
        .keys(KeyRing::generate(Algorithm::EdDSA)?)
        .reject_with(|rejection, _| {
            let body = json!({"error": rejection.code(), "message": rejection.message()});
            (rejection.status(), Json(body))
        })
        .build()?;
    for name in ["jane", "john"] {
        let own = AclEntry::new([("owner", [name])], ["todos:read", "todos:write"])?;
        let hash = tokens.hash_password(Password::new("correct-horse")?).await?;
        tokens.register(Entity::user(name, hash)?.acl(Acl::new([own]))).await?;
    }
    let all = AclEntry::anywhere(["todos:read"])?;
    let hash = tokens.hash_password(Password::new("correct-horse")?).await?;
    tokens.register(Entity::user("ann", hash)?.acl(Acl::new([all]))).await?;
    Ok(tokens)
}

fn app(tokens: &TokenService) -> Router {
    let todos = Router::new()
        .route("/todos", get(list).post(add))
        .route("/todos/{id}", delete(remove))
        .with_state(Todos::default());
    let account = Router::new()
        .route("/logout", post(log_out))
        .route("/logout-everywhere", post(log_out_everywhere))
        .with_state(tokens.clone());
    let login = Router::new()
        .route("/login", post(log_in))
        .with_state(tokens.clone())
        // It checks no token: a login has none yet, or one that has expired.
        .layer(tokens.issue_layer());
    todos.merge(account).layer(tokens.validate_layer()).merge(login)
}

// --- Logging in and out ---------------------------------------------------------------------

#[derive(Deserialize)]
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

async fn log_out_everywhere(
    State(tokens): State<TokenService>,
    Bearer(caller): Bearer,
) -> Result<StatusCode, Error> {
    tokens.revoke_subject(caller.principal(), tokens.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

// --- Todos ----------------------------------------------------------------------------------

#[derive(Clone, Serialize)]
struct Todo {
    id: u64,
    owner: String,
    text: String,
}

#[derive(Clone, Default)]
struct Todos(Arc<Mutex<BTreeMap<u64, Todo>>>);

#[derive(Deserialize)]
struct NewTodo {
    text: String,
}

/// Lists what the caller may read.
async fn list(State(todos): State<Todos>, Bearer(caller): Bearer) -> Json<Vec<Todo>> {
    let all = todos.0.lock().unwrap_or_else(PoisonError::into_inner);
    let may = |todo: &&Todo| caller.allows("todos:read", &[("owner", &todo.owner)]);
    Json(all.values().filter(may).cloned().collect())
}

async fn add(
    State(todos): State<Todos>,
    Bearer(caller): Bearer,
    Json(new): Json<NewTodo>,
) -> Result<(StatusCode, Json<Todo>), Rejection> {
    let owner = caller.principal().id();
    caller.require("todos:write", &[("owner", owner)])?;
    let mut all = todos.0.lock().unwrap_or_else(PoisonError::into_inner);
    let id = all.last_key_value().map_or(1, |(last, _)| last + 1);
    let todo = Todo { id, owner: owner.to_owned(), text: new.text };
    all.insert(id, todo.clone());
    Ok((StatusCode::CREATED, Json(todo)))
}

async fn remove(
    State(todos): State<Todos>,
    Bearer(caller): Bearer,
    Path(id): Path<u64>,
) -> Result<StatusCode, Rejection> {
    let mut all = todos.0.lock().unwrap_or_else(PoisonError::into_inner);
    let todo = all.get(&id).ok_or(Error::new(ErrorKind::NotFound, "no such todo"))?;
    caller.require("todos:write", &[("owner", &todo.owner)])?;
    all.remove(&id);
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::response::Response;
    use http::Request;
    use http_body_util::BodyExt as _;
    use serde_json::Value;
    use tower::ServiceExt as _;

    use super::*;

    struct App(Router);

    impl App {
        async fn new() -> Self {
            Self(app(&token_service().await.unwrap()))
        }

        async fn send(&self, method: &str, path: &str, token: &str, body: &Value) -> Response {
            let mut request = Request::builder().method(method).uri(path);
            if !token.is_empty() {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let request = request.header("content-type", "application/json");
            let body = Body::from(body.to_string());
            self.0.clone().oneshot(request.body(body).unwrap()).await.unwrap()
        }

        async fn log_in(&self, name: &str) -> String {
            let login = json!({"name": name, "password": "correct-horse"});
            let answer = json_of(self.send("POST", "/login", "", &login).await).await;
            answer["accessToken"].as_str().unwrap().to_owned()
        }

        async fn status(&self, method: &str, path: &str, token: &str) -> u16 {
            self.send(method, path, token, &json!({"text": "feed the cat"})).await.status().as_u16()
        }
    }

    async fn json_of(response: Response) -> Value {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn each_has_their_own_todos_and_an_auditor_reads_all() {
        let app = App::new().await;
        let (jane, john, ann) =
            (app.log_in("jane").await, app.log_in("john").await, app.log_in("ann").await);
        assert_eq!(app.status("POST", "/todos", &jane).await, 201);
        assert_eq!(app.status("POST", "/todos", &john).await, 201);
        for (token, expected) in [(&jane, 1), (&john, 1), (&ann, 2)] {
            let list = json_of(app.send("GET", "/todos", token, &json!(null)).await).await;
            assert_eq!(list.as_array().unwrap().len(), expected, "{list}");
        }
        assert_eq!(app.status("POST", "/todos", &ann).await, 403, "she may only read");
        assert_eq!(app.status("DELETE", "/todos/1", &john).await, 403, "it is not his");
        assert_eq!(app.status("DELETE", "/todos/1", &jane).await, 204);
        assert_eq!(app.status("DELETE", "/todos/1", &jane).await, 404);
    }

    #[tokio::test]
    async fn every_error_is_json() {
        let app = App::new().await;
        let jane = app.log_in("jane").await;
        let wrong = json!({"name": "jane", "password": "wrong"});
        for (method, path, token, body, status, code) in [
            ("GET", "/todos", "", json!(null), 401, "missing-token"),
            ("GET", "/todos", "forged", json!(null), 401, "invalid-token"),
            ("POST", "/login", "", wrong, 401, "invalid-credentials"),
            ("DELETE", "/todos/7", &*jane, json!(null), 404, "not-found"),
        ] {
            let response = app.send(method, path, token, &body).await;
            assert_eq!(response.status(), status);
            assert_eq!(json_of(response).await["error"], code);
        }
    }

    #[tokio::test]
    async fn who_logs_out_ends_one_token_and_who_logs_out_everywhere_all() {
        let app = App::new().await;
        let tokens = [app.log_in("jane").await, app.log_in("jane").await, app.log_in("jane").await];
        let john = app.log_in("john").await;
        assert_eq!(app.status("POST", "/logout", &tokens[0]).await, 204);
        assert_eq!(app.status("GET", "/todos", &tokens[0]).await, 401);
        assert_eq!(app.status("GET", "/todos", &tokens[1]).await, 200);
        assert_eq!(app.status("POST", "/logout-everywhere", &tokens[1]).await, 204);
        assert_eq!(app.status("GET", "/todos", &tokens[1]).await, 401);
        assert_eq!(app.status("GET", "/todos", &tokens[2]).await, 401);
        assert_eq!(app.status("GET", "/todos", &john).await, 200);
        let again = app.log_in("jane").await;
        assert_eq!(app.status("GET", "/todos", &again).await, 200);
    }
}
