use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::BoxError;
use axum_core::body::Body;
use bytes::Bytes;
use http::{Extensions, HeaderMap, Request, Response};
use tower_layer::Layer as _;
use tower_service::Service;

use crate::guard::accessors::inner_service_accessors;
use crate::guard::admission::Admission;
use crate::guard::authenticate::{Authenticator, keys_to_wait_for};
use crate::guard::bearer::hide_credentials;
use crate::guard::future::{GuardFuture, Marking};
use crate::guard::response_caching::ResponseCaching;
use crate::guard::shaping::Shaping;
use crate::guard::validate::ValidateLayer;
use crate::guard::validate::future::{ValidateFuture, WaitingForKeys};
use crate::rejection::Rejection;
use crate::validate::Validator;

/// Rejects requests without a valid token; see the [module docs](crate::layers::validate).
#[derive(Clone, Debug)]
pub struct Validate<S> {
    pub(super) inner: S,
    pub(super) validator: Validator,
    pub(super) required: bool,
    pub(super) admission: Admission,
    pub(super) caching: ResponseCaching,
}

/// Marks a request that was forwarded without credentials, so that an extractor can tell it from one that no layer
/// has validated.
#[derive(Clone, Debug)]
pub(crate) struct Anonymous {
    pub(crate) realm: Arc<str>,
}

impl<S> Validate<S> {
    /// Wraps a service in the middleware that [`ValidateLayer::new`] applies; use the layer for further settings.
    pub fn new(inner: S, validator: Validator) -> Self {
        ValidateLayer::new(validator).layer(inner)
    }

    inner_service_accessors!();

    /// Forwards or rejects a request for which the inner service is ready.
    pub(super) fn respond<ReqBody, ResBody>(
        &mut self,
        mut request: Request<ReqBody>,
    ) -> ValidateFuture<S, ReqBody>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    {
        let mut extensions = std::mem::take(request.extensions_mut());
        let outcome = self.authenticate(request.headers(), &mut extensions);
        *request.extensions_mut() = extensions;
        hide_credentials(request.headers_mut());
        let shaping = Shaping::of(&self.validator, &request);
        match outcome {
            Ok(is_validated) => {
                let marking = Marking { caching: self.caching, is_validated, shaping };
                GuardFuture::let_through_and_mark(self.inner.call(request), marking)
            }
            Err(rejection) => GuardFuture::rejected(shaping.reject(rejection)),
        }
    }

    /// Returns whether the caller was validated, as opposed to an anonymous one.
    fn authenticate(
        &self,
        headers: &HeaderMap,
        extensions: &mut Extensions,
    ) -> Result<bool, Rejection> {
        let validator = &self.validator;
        let realm = validator.issuer();
        let authenticator = Authenticator { validator, headers, extensions: &*extensions };
        let authenticated = if self.required {
            authenticator.required().map(Some)
        } else {
            authenticator.optional()
        };
        let authenticated = authenticated.map_err(|reason| Rejection::new(reason, realm))?;
        self.admission.check(authenticated.as_deref(), extensions)?;
        let is_validated = match authenticated {
            Some(validated) => {
                extensions.insert(validated);
                true
            }
            None => {
                extensions.insert(Anonymous { realm: realm.into() });
                false
            }
        };
        Ok(is_validated)
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Validate<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ResBody: http_body::Body<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ValidateFuture<S, ReqBody>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let validator = &self.validator;
        if let Some(fetch) = keys_to_wait_for(validator, request.headers()) {
            // `poll_ready` made this service ready, so it is the one to call; its clone is left in its place.
            let clone = self.clone();
            let validate = std::mem::replace(self, clone);
            return GuardFuture::waiting(WaitingForKeys { fetch, validate, request });
        }
        // Nothing was awaited since `poll_ready`, so the service that was made ready is called.
        self.respond(request)
    }
}
