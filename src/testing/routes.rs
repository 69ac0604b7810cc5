use axum::Router;
use axum_core::body::Body;
use http::{Method, Request, StatusCode};
use tower_service::Service as _;

/// What a handler of any method is found by.
const OTHER: &[u8] = b"PROPFIND";

const METHODS: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
    Method::CONNECT,
];

/// Checks that an app rejects requests without credentials on these paths, whatever their method: with
/// a 401, or with a 405 where there is no such method. An app whose hook redirects to a login page is
/// checked without it.
///
/// It finds the method that was added behind a `route_layer`, and the route that was added behind a
/// `layer`, which no layer guards.
///
/// ```
/// use axum::{Router, routing::get};
/// use countersign::Bearer;
/// use countersign::testing::{TestIssuer, every_route_rejects_anonymous};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let layer = countersign::ValidateLayer::new(TestIssuer::new().validator());
/// let list = async || "orders";
/// let create = async || "created";
/// let app = Router::new().route("/orders", get(list).post(create)).layer(layer);
/// every_route_rejects_anonymous(app, ["/orders"]).await;
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Panics
///
/// Where one is answered otherwise, with its method and path. A path that no route has is one, too: so
/// no route is left out for a slip of the pen. And where there is no path.
#[track_caller]
pub fn every_route_rejects_anonymous<'a>(
    app: Router,
    paths: impl IntoIterator<Item = &'a str>,
) -> impl Future<Output = ()> {
    let paths: Vec<_> = paths.into_iter().map(str::to_owned).collect();
    let caller = std::panic::Location::caller();
    async move {
        assert!(!paths.is_empty(), "no path was given; {caller}");
        let other = Method::from_bytes(OTHER).expect("a method");
        for path in paths {
            let mut is_rejected = false;
            for method in METHODS.iter().chain([&other]) {
                let status = ask(app.clone(), method.clone(), &path).await;
                is_rejected |= status == StatusCode::UNAUTHORIZED;
                let is_closed =
                    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::METHOD_NOT_ALLOWED);
                assert!(is_closed, "{method} {path} is open: {status} without a token; {caller}");
            }
            assert!(is_rejected, "{path} has no method that asks for a token; {caller}");
        }
    }
}

async fn ask(mut app: Router, method: Method, path: &str) -> StatusCode {
    let request = Request::builder().method(method).uri(path).body(Body::empty());
    let request = request.expect("a path");
    // A router is always ready.
    let Ok(response) = app.call(request).await;
    response.status()
}
