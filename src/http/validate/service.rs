use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, HeaderMap, Request, Response};
use tower_service::Service;

use crate::http::bearer::{Credentials, credentials};
use crate::http::future::RefusableFuture;
use crate::http::refusal::{ProblemDetails, Refusal, RefusalReason, Refuse};
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
        let realm = self.validator.issuer();
        let token = match credentials(headers) {
            Credentials::Bearer(token) => token,
            Credentials::Absent if !self.required => {
                extensions.insert(Anonymous { realm: realm.into() });
                return Ok(());
            }
            Credentials::Absent => {
                return Err(Refusal::new(RefusalReason::MissingCredentials, realm));
            }
            Credentials::Malformed => {
                return Err(Refusal::new(RefusalReason::MalformedCredentials, realm));
            }
        };
        let validated = self
            .validator
            .validate(token)
            .map_err(|fault| Refusal::new(RefusalReason::InvalidToken(fault), realm))?;
        extensions.insert(validated);
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
