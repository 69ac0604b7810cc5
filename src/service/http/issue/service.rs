use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::guard::rejection::{ProblemDetails, Reject};
use crate::service::TokenService;
use crate::service::http::issue::IssueFuture;
use crate::service::http::issue::layer::Delivery;

/// Turns what handlers [`Issue`](crate::Issue) into tokens; see the [module docs](crate::layers::issue).
#[derive(Clone, Debug)]
pub struct IssueService<S, R = ProblemDetails> {
    pub(super) inner: S,
    pub(super) tokens: TokenService,
    pub(super) delivery: Delivery,
    pub(super) reject: R,
}

impl<S, R, ReqBody, ResBody> Service<Request<ReqBody>> for IssueService<S, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    R: Reject<ResBody> + Clone,
    ResBody: From<String>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = IssueFuture<S::Future, R>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        IssueFuture::new(
            self.inner.call(request),
            self.tokens.clone(),
            self.delivery.clone(),
            self.reject.clone(),
        )
    }
}
