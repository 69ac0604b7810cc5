//! An app with one route, of either axum, that can be served any number of times.

use std::future::Future;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;

pub type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Clone)]
pub struct App(Arc<dyn Fn(TcpListener) -> Serving>);

impl App {
    pub fn new(router: axum::Router) -> Self {
        Self(Arc::new(move |listener| {
            let router = router.clone();
            Box::pin(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                axum::serve(listener, router).await.expect("a server does not end");
            })
        }))
    }

    /// For what has not gone on to the current axum.
    pub fn of_axum_07(router: axum_07::Router) -> Self {
        Self(Arc::new(move |listener| {
            let router = router.clone();
            Box::pin(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                axum_07::serve(listener, router).await.expect("a server does not end");
            })
        }))
    }

    pub fn serve(&self, listener: TcpListener) -> Serving {
        (self.0)(listener)
    }
}
