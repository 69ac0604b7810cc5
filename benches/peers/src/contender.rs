//! An app that is compared: called in process, and served.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use http::header::{AUTHORIZATION, COOKIE, HeaderName};
use http::{HeaderValue, Request, Response, StatusCode};
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
    send: Arc<Send>,
}

/// Sends some requests in a row, and returns the microseconds that one took.
type Send = dyn Fn(&Runtime, Requests<'_>) -> f64;

struct Requests<'a> {
    count: usize,
    credentials: Option<&'a HeaderValue>,
    expected: StatusCode,
    /// Who is asked, and with what.
    context: &'a str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Floor,
    /// Does what all others do as well, and looks at no credentials.
    Unchecked,
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
            send: send::<_, axum::body::Body, _>(app, credentials.0),
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
            send: send::<_, axum_07::body::Body, _>(app, credentials.0),
        }
    }

    /// Microseconds a request, of this many in a row.
    pub fn time_of(&self, runtime: &Runtime, count: usize) -> f64 {
        let credentials = Some(&self.credentials.1);
        let (expected, context) = (StatusCode::OK, self.name);
        (self.send)(runtime, Requests { count, credentials, expected, context })
    }

    /// Panics unless a request with these bad credentials, or with none, is rejected.
    pub fn assert_rejects(
        &self,
        runtime: &Runtime,
        fault: &str,
        credentials: Option<&HeaderValue>,
    ) {
        let context = &*format!("{}: {fault}", self.name);
        let expected = StatusCode::UNAUTHORIZED;
        (self.send)(runtime, Requests { count: 1, credentials, expected, context });
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

fn send<S, B, R>(app: S, name: HeaderName) -> Arc<Send>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + 'static,
    B: Default,
{
    Arc::new(move |runtime, requests| {
        let Requests { count, credentials, expected, context } = requests;
        let mut app = app.clone();
        runtime.block_on(async {
            let begun = Instant::now();
            for _ in 0..count {
                let mut request = Request::get("/").body(B::default()).expect("a request");
                if let Some(value) = credentials {
                    request.headers_mut().insert(&name, value.clone());
                }
                let Ok(response) = app.call(request).await;
                assert_eq!(response.status(), expected, "{context}");
            }
            begun.elapsed().as_secs_f64() * 1e6 / count as f64
        })
    })
}
