//! Crates that look a session up by its cookie, in a moka cache.

use std::convert::Infallible;
use std::hint::black_box;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use axum_login::{AuthManagerLayerBuilder, AuthSession, AuthUser, AuthnBackend, UserId};
use http::header::SET_COOKIE;
use http::{Request, StatusCode};
use tower::ServiceExt as _;
use tower_sessions::{Session, SessionManagerLayer};
use tower_sessions_moka_store::MokaStore;

use crate::contender::{Contender, Credentials, Kind};
use crate::runtime;

const CAPACITY: u64 = 100_000;

pub fn contenders() -> Vec<Contender> {
    let sessions = Router::new()
        .route("/", get(hello_of_session))
        .route("/login", post(log_in_to_session))
        .layer(manager());
    let login = Router::new()
        .route("/", get(hello_of_login))
        .route("/login", post(log_in))
        .layer(AuthManagerLayerBuilder::new(Users, manager()).build());
    [("tower-sessions, moka", sessions), ("axum-login, moka", login)]
        .map(|(name, app)| {
            let cookie = cookie_of(&app);
            Contender::new(name, Kind::Peer, app, Credentials::Cookie(&cookie))
        })
        .into()
}

fn manager() -> SessionManagerLayer<MokaStore> {
    SessionManagerLayer::new(MokaStore::new(Some(CAPACITY))).with_secure(false)
}

/// Logs in, as a browser would.
fn cookie_of(app: &Router) -> String {
    let request = Request::post("/login").body(Body::empty()).expect("a request");
    let answer = runtime().block_on(app.clone().oneshot(request));
    let answer = answer.unwrap_or_else(|never: Infallible| match never {});
    let cookie = answer.headers()[SET_COOKIE].to_str().expect("text");
    cookie.split(';').next().expect("a cookie").to_owned()
}

async fn log_in_to_session(session: Session) {
    session.insert("user", "jane.doe@example.com").await.expect("a session in memory");
}

async fn hello_of_session(session: Session) -> Result<&'static str, StatusCode> {
    let user: Option<String> = session.get("user").await.expect("a session in memory");
    black_box(user.ok_or(StatusCode::UNAUTHORIZED)?);
    Ok("hello")
}

async fn log_in(mut session: AuthSession<Users>) {
    session.login(&User).await.expect("a session in memory");
}

async fn hello_of_login(session: AuthSession<Users>) -> Result<&'static str, StatusCode> {
    black_box(session.user.ok_or(StatusCode::UNAUTHORIZED)?);
    Ok("hello")
}

#[derive(Clone, Debug)]
struct User;

impl AuthUser for User {
    type Id = i64;

    fn id(&self) -> i64 {
        1
    }

    fn session_auth_hash(&self) -> &[u8] {
        b"changes with the password"
    }
}

/// As fast as a backend can be: one user, who is always there.
#[derive(Clone, Debug)]
struct Users;

impl AuthnBackend for Users {
    type User = User;
    type Credentials = ();
    type Error = Infallible;

    async fn authenticate(&self, (): ()) -> Result<Option<User>, Infallible> {
        Ok(Some(User))
    }

    async fn get_user(&self, _: &UserId<Self>) -> Result<Option<User>, Infallible> {
        Ok(Some(User))
    }
}
