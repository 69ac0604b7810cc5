//! An app with one route, which is called in process and served.

use std::convert::Infallible;
use std::future::Future;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use http::header::{AUTHORIZATION, COOKIE, HeaderName};
use http::{HeaderValue, Request, Response};
use tokio::runtime::Runtime;
use tower::Service;

pub type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Clone)]
pub struct Contender {
    pub name: &'static str,
    pub kind: Kind,
    /// The name of that by which it is measured.
    pub floor: &'static str,
    pub credentials: Option<(HeaderName, HeaderValue)>,
    time_of: Arc<dyn Fn(&Runtime, usize) -> f64>,
    serve: Arc<dyn Fn(TcpListener) -> Serving>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Floor,
    ByHand,
    Ours,
    Peer,
}

pub const FLOOR: &str = "floor";
pub const FLOOR_07: &str = "floor, axum 0.7";

impl Contender {
    pub fn new(name: &'static str, kind: Kind, app: axum::Router, brings: Credentials<'_>) -> Self {
        let credentials = brings.header();
        Self {
            name,
            kind,
            floor: FLOOR,
            credentials: credentials.clone(),
            time_of: time_of::<_, axum::body::Body, _>(app.clone(), credentials),
            serve: Arc::new(move |listener| {
                let app = app.clone();
                Box::pin(async move {
                    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                    axum::serve(listener, app).await.expect("a server does not end");
                })
            }),
        }
    }

    /// For what has not gone on to the current axum.
    pub fn of_axum_07(
        name: &'static str,
        kind: Kind,
        app: axum_07::Router,
        brings: Credentials<'_>,
    ) -> Self {
        let credentials = brings.header();
        Self {
            name,
            kind,
            floor: FLOOR_07,
            credentials: credentials.clone(),
            time_of: time_of::<_, axum_07::body::Body, _>(app.clone(), credentials),
            serve: Arc::new(move |listener| {
                let app = app.clone();
                Box::pin(async move {
                    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                    axum_07::serve(listener, app).await.expect("a server does not end");
                })
            }),
        }
    }

    /// Microseconds a request, of this many in a row.
    pub fn time_of(&self, runtime: &Runtime, count: usize) -> f64 {
        (self.time_of)(runtime, count)
    }

    pub fn serve(&self, listener: TcpListener) -> Serving {
        (self.serve)(listener)
    }
}

#[derive(Clone, Copy)]
pub enum Credentials<'a> {
    Token(&'a str),
    Cookie(&'a str),
}

impl Credentials<'_> {
    fn header(self) -> Option<(HeaderName, HeaderValue)> {
        let value = |text: &str| HeaderValue::from_str(text).expect("printable");
        match self {
            Self::Token(token) => Some((AUTHORIZATION, value(&format!("Bearer {token}")))),
            Self::Cookie(cookie) => Some((COOKIE, value(cookie))),
        }
    }
}

fn time_of<S, B, R>(
    app: S,
    credentials: Option<(HeaderName, HeaderValue)>,
) -> Arc<dyn Fn(&Runtime, usize) -> f64>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + 'static,
    B: Default,
{
    Arc::new(move |runtime, count| {
        let mut app = app.clone();
        runtime.block_on(async {
            let begun = Instant::now();
            for _ in 0..count {
                let mut request = Request::get("/").body(B::default()).expect("a request");
                if let Some((name, value)) = &credentials {
                    request.headers_mut().insert(name, value.clone());
                }
                let Ok(response) = app.call(request).await;
                assert!(response.status().is_success(), "answered {}", response.status());
            }
            begun.elapsed().as_secs_f64() * 1e6 / count as f64
        })
    })
}
