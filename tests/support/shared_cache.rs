//! A reverse proxy with a shared cache, which stores all that RFC 9111 lets it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use http::header::{AGE, AUTHORIZATION, CACHE_CONTROL, EXPIRES, VARY};
use http::{HeaderMap, Method, Response, StatusCode};
use hyper::body::Bytes;

use crate::support::{Server, send};

/// Serves what `origin` does, from the cache where it may: then with an `Age`.
pub async fn shared_cache(origin: SocketAddr) -> Server {
    let cache = SharedCache { origin, stored: Arc::default() };
    Server::start(Router::new().fallback(serve).with_state(cache)).await
}

#[derive(Clone)]
struct SharedCache {
    origin: SocketAddr,
    stored: Arc<Mutex<Vec<Stored>>>,
}

struct Stored {
    uri: String,
    request: HeaderMap,
    response: Response<Bytes>,
}

async fn serve(State(cache): State<SharedCache>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let uri = parts.uri.to_string();
    let is_safe = matches!(parts.method, Method::GET | Method::HEAD);
    if is_safe && let Some(mut response) = cache.find(&uri, &parts.headers) {
        response.headers_mut().insert(AGE, 1.into());
        return response.map(Body::from);
    }
    let is_get = parts.method == Method::GET;
    let headers = parts.headers.clone();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let request = http::Request::from_parts(parts, body);
    let answer = send(cache.origin, request).await;
    let mut response = Response::new(Bytes::from(answer.text()));
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    if is_get && may_be_stored(&headers, answer.status(), answer.headers()) {
        let stored = Stored { uri, request: headers, response: response.clone() };
        cache.stored.lock().unwrap().push(stored);
    }
    response.map(Body::from)
}

impl SharedCache {
    /// RFC 9111 §4: the same URI, and the same of each request header that the response varies by.
    fn find(&self, uri: &str, request: &HeaderMap) -> Option<Response<Bytes>> {
        let stored = self.stored.lock().unwrap();
        let matches = |stored: &&Stored| {
            stored.uri == uri
                && directives(stored.response.headers(), VARY.as_str()).iter().all(|name| {
                    name != "*"
                        && stored.request.get_all(name).iter().eq(request.get_all(name).iter())
                })
        };
        stored.iter().rev().find(matches).map(|stored| stored.response.clone())
    }
}

/// RFC 9111 §3, of a cache that takes every chance. What has to be validated again is not stored,
/// for the proxy does not validate; so is what is stale from the start.
pub fn may_be_stored(request: &HeaderMap, status: StatusCode, response: &HeaderMap) -> bool {
    // A targeted field replaces the other one (RFC 9213 §2.2).
    let field = ["cdn-cache-control", "surrogate-control", "cache-control"]
        .into_iter()
        .find(|name| response.contains_key(*name))
        .unwrap_or(CACHE_CONTROL.as_str());
    let said = directives(response, field);
    let says =
        |name: &str| said.iter().any(|one| one == name || one.starts_with(&format!("{name}=")));
    // One with an argument is about some fields alone.
    let forbids = |name: &str| said.iter().any(|one| one == name);
    let is_heuristically_cacheable =
        matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501);
    let is_explicit = says("public") || says("max-age") || says("s-maxage");
    let is_shareable = says("public") || says("s-maxage") || says("must-revalidate");
    !forbids("no-store")
        && !forbids("private")
        && !forbids("no-cache")
        && !said.iter().any(|one| one == "max-age=0" || one == "s-maxage=0")
        && (!request.contains_key(AUTHORIZATION) || is_shareable)
        && (is_explicit || response.contains_key(EXPIRES) || is_heuristically_cacheable)
}

/// The members of a list, in small letters.
fn directives(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let members = values.flat_map(|value| value.split(','));
    members.map(|one| one.trim().to_ascii_lowercase()).filter(|one| !one.is_empty()).collect()
}
