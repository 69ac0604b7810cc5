//! The request URI as the client sent it.

use http::{Request, Uri};

/// Returns the URI as the client sent it, also behind a layer of a nested router.
#[cfg(feature = "axum")]
pub(crate) fn original_uri<B>(request: &Request<B>) -> &Uri {
    let original = request.extensions().get::<axum::extract::OriginalUri>();
    original.map_or(request.uri(), |original| &original.0)
}

#[cfg(not(feature = "axum"))]
pub(crate) fn original_uri<B>(request: &Request<B>) -> &Uri {
    request.uri()
}
