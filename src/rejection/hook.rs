use std::fmt;
use std::sync::Arc;

use axum_core::body::Body;
use axum_core::response::IntoResponse;
use http::Response;
use http::request::Parts;

use crate::rejection::Rejection;

type Hook = dyn Fn(&Rejection, &Parts) -> Response<Body> + Send + Sync;

/// The host's hook that makes the response to a rejection, if there is one.
#[derive(Clone, Default)]
pub(crate) struct RejectionHook(Option<Arc<Hook>>);

impl RejectionHook {
    pub(crate) fn new<R: IntoResponse>(
        hook: impl Fn(&Rejection, &Parts) -> R + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(move |rejection, request| hook(rejection, request).into_response())))
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the host's response to a rejection, if there is a hook.
    pub(crate) fn shape(&self, rejection: &Rejection, request: &Parts) -> Option<Response<Body>> {
        self.0.as_ref().map(|hook| hook(rejection, request))
    }
}

impl fmt::Debug for RejectionHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RejectionHook").field(&self.0.is_some()).finish()
    }
}
