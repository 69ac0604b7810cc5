use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use tower_service::Service;

use crate::guard::authenticate::audit_authorization_rejection;
use crate::guard::future::GuardFuture;
use crate::guard::rejection::{ProblemDetails, Reject, Rejection, RejectionReason};
use crate::guard::require::layer::Rule;
use crate::guard::validate::Anonymous;
use crate::token::claims::Validated;

/// Lets requests through whose token grants a permission; see
/// [`RequireLayer`](crate::RequireLayer).
#[derive(Clone, Debug)]
pub struct Require<S, R = ProblemDetails> {
    pub(super) inner: S,
    pub(super) rule: Arc<Rule>,
    pub(super) reject: R,
}

impl Rule {
    fn check(&self, parts: &mut Parts) -> Result<(), Rejection> {
        let Some(validated) = parts.extensions.get::<Arc<Validated>>().map(Arc::clone) else {
            return Err(match parts.extensions.get::<Anonymous>() {
                Some(Anonymous { realm }) => {
                    Rejection::new(RejectionReason::MissingCredentials, realm)
                }
                None => Rejection::missing_layer("ValidateLayer", "RequireLayer"),
            });
        };
        let values: Vec<_> = self
            .scope
            .iter()
            .filter_map(|(key, read)| Some((key.as_str(), read(parts)?)))
            .collect();
        let scope: Vec<_> = values.iter().map(|(key, value)| (*key, value.as_str())).collect();
        if validated.allows(&self.permission, &scope) {
            Ok(())
        } else {
            audit_authorization_rejection(&validated, RejectionReason::InsufficientPermission);
            Err(Rejection::insufficient(&self.permission, validated.issuer()))
        }
    }
}

impl<S, R, ReqBody, ResBody> Service<Request<ReqBody>> for Require<S, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    R: Reject<ResBody>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = GuardFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        match self.rule.check(&mut parts) {
            Ok(()) => GuardFuture::let_through(self.inner.call(Request::from_parts(parts, body))),
            Err(rejection) => GuardFuture::rejected(rejection.respond_with(&self.reject)),
        }
    }
}
