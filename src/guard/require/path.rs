use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use axum::extract::{FromRequestParts as _, RawPathParams};
use http::request::Parts;

use crate::guard::require::RequireLayer;

impl<R> RequireLayer<R> {
    /// Asks for the permission where the scope's `key` has the value of axum's path parameter of
    /// that name. Mount the layer with `route_layer`, or on a router that is nested below the
    /// parameter: before a route is found, there are no parameters.
    pub fn scope_from_path(self, key: impl Into<String>) -> Self {
        let key = key.into();
        let parameter = key.clone();
        self.scope_with(key, Arc::new(move |parts| path_parameter(parts, &parameter)))
    }
}

pub(crate) fn path_parameter(parts: &mut Parts, name: &str) -> Option<String> {
    // axum reads its parameters from the request's extensions: the future is ready at once.
    let reading = pin!(RawPathParams::from_request_parts(parts, &()));
    let Poll::Ready(Ok(parameters)) = reading.poll(&mut Context::from_waker(Waker::noop())) else {
        return None;
    };
    parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}
