//! An app that is compared: called in process, and served.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use http::header::{AUTHORIZATION, COOKIE, HeaderName};
use http::{HeaderValue, Request, Response};
use tokio::runtime::Runtime;
use tower::Service;

use crate::app::App;

#[derive(Clone)]
pub struct Contender {
    pub name: &'static str,
    pub kind: Kind,
    /// The name of that by which it is measured.
    floor: &'static str,
    pub credentials: (HeaderName, HeaderValue),
    pub app: App,
    time_of: Arc<dyn Fn(&Runtime, usize) -> f64>,
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
            app: App::new(app.clone()),
            time_of: time_of::<_, axum::body::Body, _>(app, credentials),
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
            app: App::of_axum_07(app.clone()),
            time_of: time_of::<_, axum_07::body::Body, _>(app, credentials),
        }
    }

    /// Microseconds a request, of this many in a row.
    pub fn time_of(&self, runtime: &Runtime, count: usize) -> f64 {
        (self.time_of)(runtime, count)
    }

    /// Where among all of them the one is by which it is measured.
    pub fn floor_among(&self, contenders: &[Self]) -> usize {
        let floor = contenders.iter().position(|other| other.name == self.floor);
        floor.expect("each has its floor among them")
    }
}

#[derive(Clone, Copy)]
pub enum Credentials<'a> {
    Token(&'a str),
    Cookie(&'a str),
}

impl Credentials<'_> {
    fn header(self) -> (HeaderName, HeaderValue) {
        let value = |text: &str| HeaderValue::from_str(text).expect("printable");
        match self {
            Self::Token(token) => (AUTHORIZATION, value(&format!("Bearer {token}"))),
            Self::Cookie(cookie) => (COOKIE, value(cookie)),
        }
    }
}

fn time_of<S, B, R>(
    app: S,
    (name, value): (HeaderName, HeaderValue),
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
                request.headers_mut().insert(&name, value.clone());
                let Ok(response) = app.call(request).await;
                assert!(response.status().is_success(), "answered {}", response.status());
            }
            begun.elapsed().as_secs_f64() * 1e6 / count as f64
        })
    })
}
