//! Serving HTTP: a client that sends its requests slowly, or does not read the responses, does not keep others out, or
//! the process from ending.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt as _;
use tower_http::timeout::TimeoutLayer;

use crate::Problem;
use crate::settings::{count, seconds};

/// How long to wait where a connection cannot be accepted, as where there are no descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// How long clients may take, and how many there may be.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// For the head of a request, from the end of the response before.
    head_timeout: Duration,
    /// For a request and its response, and for a client to read some of a response.
    request_timeout: Duration,
    max_connections: usize,
    /// For requests that are under way when the process is to end.
    pub(crate) shutdown_timeout: Duration,
}

impl Limits {
    pub(crate) fn from_settings() -> Result<Self, Problem> {
        Ok(Self {
            head_timeout: seconds("COUNTERSIGN_HEAD_TIMEOUT", 10)?,
            request_timeout: seconds("COUNTERSIGN_REQUEST_TIMEOUT", 30)?,
            max_connections: count("COUNTERSIGN_MAX_CONNECTIONS", 512)?,
            shutdown_timeout: seconds("COUNTERSIGN_SHUTDOWN_TIMEOUT", 20)?,
        })
    }

    pub(crate) fn max_connections(self, max_connections: usize) -> Self {
        Self { max_connections, ..self }
    }
}

/// Serves until `stop` completes, and then what is under way, for as long as the limits say.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Router,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let timeout =
        TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, limits.request_timeout);
    let app = app.layer(timeout);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_timeout);
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.max_connections));
    let mut stop = pin!(stop);
    loop {
        let accepting = async {
            // Who comes beyond the limit waits in the listener's queue.
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            () = &mut stop => break,
            accepted = accepting => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let serving = http.serve_connection(io(stream, limits), service(app.clone(), peer));
                let serving = connections.watch(serving);
                tokio::spawn(async move {
                    let _place = place;
                    if let Err(error) = serving.await {
                        tracing::debug!(%error, "connection: ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "connection: cannot be accepted, trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(limits.shutdown_timeout, connections.shutdown()).await.is_err() {
        tracing::warn!("shutdown: requests under way took too long, they are cut off");
    }
}

fn io(stream: TcpStream, limits: Limits) -> TokioIo<Pin<Box<TimeoutStream<TcpStream>>>> {
    // What is written is a whole response.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.request_timeout));
    TokioIo::new(Box::pin(stream))
}

/// With the peer's address, for throttling by it.
fn service(
    app: Router,
    peer: SocketAddr,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future: Send,
> {
    service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        app.clone().oneshot(request)
    })
}
