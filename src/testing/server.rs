use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::testing::TestIssuer;

/// An issuer that serves its keys over HTTP, on a port of the loopback: for apps that fetch the keys of
/// whoever issues their tokens. It ends when it is dropped.
///
/// | path | what |
/// |---|---|
/// | `/.well-known/jwks.json` | the JWK Set (RFC 7517 §5) |
/// | `/.well-known/oauth-authorization-server` | metadata (RFC 8414 §3) |
/// | `/.well-known/openid-configuration` | the same (OpenID Connect Discovery 1.0 §4) |
///
/// ```
/// use countersign::testing::IssuerServer;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let server = IssuerServer::start().await;
/// let token = server.issuer().token().sign();
/// // An app accepts the token where it trusts `server.url()`, with the keys at `server.jwks_url()` and
/// // `dangerous_allow_http()`, by the clock of `server.issuer().clock()`.
/// assert_eq!(server.issuer().issuer(), server.url());
/// assert_eq!(server.fetches(), 0);
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct IssuerServer {
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    issuer: TestIssuer,
    fetches: AtomicUsize,
    is_down: AtomicBool,
}

impl IssuerServer {
    /// Starts one, whose `iss` is its URL.
    ///
    /// # Panics
    ///
    /// Where the loopback has no port left, or it is not called within a tokio runtime.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port of the loopback");
        let address = listener.local_addr().expect("the port that it was bound to");
        let shared = Arc::new(Shared {
            issuer: TestIssuer::named(format!("http://{address}")),
            fetches: AtomicUsize::new(0),
            is_down: AtomicBool::new(false),
        });
        let app = Router::new()
            .route("/.well-known/jwks.json", get(jwks))
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .route("/.well-known/openid-configuration", get(metadata))
            .with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            // It has no error to answer with, and goes on until it is aborted.
            let _ = axum::serve(listener, app).await;
        });
        Self { shared, serving }
    }

    /// Whose keys it serves.
    #[must_use]
    pub fn issuer(&self) -> &TestIssuer {
        &self.shared.issuer
    }

    /// Where it is: also its `iss`.
    #[must_use]
    pub fn url(&self) -> &str {
        self.shared.issuer.issuer()
    }

    /// Where its keys are.
    #[must_use]
    pub fn jwks_url(&self) -> String {
        jwks_url(&self.shared.issuer)
    }

    /// How often its keys were asked for, also while it was down.
    #[must_use]
    pub fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }

    /// Has it answer 503 to everything, or no longer.
    pub fn set_down(&self, is_down: bool) {
        self.shared.is_down.store(is_down, Ordering::SeqCst);
    }
}

impl Drop for IssuerServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn jwks_url(issuer: &TestIssuer) -> String {
    format!("{}/.well-known/jwks.json", issuer.issuer())
}

async fn jwks(State(shared): State<Arc<Shared>>) -> Response {
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    shared.answer("application/jwk-set+json", || shared.issuer.jwks())
}

async fn metadata(State(shared): State<Arc<Shared>>) -> Response {
    shared.answer("application/json", || {
        let issuer = &shared.issuer;
        json!({ "issuer": issuer.issuer(), "jwks_uri": jwks_url(issuer) }).to_string()
    })
}

impl Shared {
    fn answer(&self, content_type: &'static str, body: impl FnOnce() -> String) -> Response {
        if self.is_down.load(Ordering::SeqCst) {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "max-age=300")];
        (headers, body()).into_response()
    }
}
