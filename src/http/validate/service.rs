use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, HeaderMap, Request, Response};
use tower_service::Service;

use crate::http::authenticate::Authenticator;
use crate::http::future::RefusableFuture;
use crate::http::refusal::{ProblemDetails, Refusal, Refuse};
use crate::service::validate::Validator;

/// Lets requests through that bring a good token; see the [module docs](crate::layers::validate).
#[derive(Clone, Debug)]
pub struct Validate<S, R = ProblemDetails> {
    pub(super) inner: S,
    pub(super) validator: Validator,
    pub(super) required: bool,
    pub(super) refuse: R,
}

/// Marks a request that was let through without credentials, so that an extractor can tell it from
/// one that no layer has seen.
#[derive(Clone, Debug)]
pub(crate) struct Anonymous {
    pub(crate) realm: Arc<str>,
}

impl<S, R> Validate<S, R> {
    fn authenticate(
        &self,
        headers: &HeaderMap,
        extensions: &mut Extensions,
    ) -> Result<(), Refusal> {
        let validator = &self.validator;
        let realm = validator.issuer();
        let authenticator = Authenticator { validator, headers, extensions: &*extensions };
        let authenticated = if self.required {
            authenticator.required().map(Some)
        } else {
            authenticator.optional()
        };
        match authenticated.map_err(|reason| Refusal::new(reason, realm))? {
            Some(validated) => {
                extensions.insert(validated);
            }
            None => {
                extensions.insert(Anonymous { realm: realm.into() });
            }
        }
        Ok(())
    }
}

impl<S, R, ReqBody, ResBody> Service<Request<ReqBody>> for Validate<S, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    R: Refuse<ResBody>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = RefusableFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let mut extensions = std::mem::take(request.extensions_mut());
        let outcome = self.authenticate(request.headers(), &mut extensions);
        *request.extensions_mut() = extensions;
        match outcome {
            // Nothing has been awaited since `poll_ready`: the service that was ready is called.
            Ok(()) => RefusableFuture::let_through(self.inner.call(request)),
            Err(refusal) => RefusableFuture::refused(self.refuse.refuse(&refusal)),
        }
    }
}
