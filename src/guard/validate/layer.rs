use tower_layer::Layer;

use crate::guard::rejection::ProblemDetails;
use crate::guard::response_caching::ResponseCaching;
use crate::guard::validate::Validate;
use crate::validate::Validator;

/// Mounts [`Validate`] on a service: only requests with a good token pass. See the
/// [module docs](crate::layers::validate) for what is let through and what is rejected.
#[derive(Clone, Debug)]
#[must_use]
pub struct ValidateLayer<R = ProblemDetails> {
    validator: Validator,
    required: bool,
    caching: ResponseCaching,
    reject: R,
}

impl ValidateLayer {
    /// Creates a layer that rejects requests without credentials, in problem details.
    pub fn new(validator: Validator) -> Self {
        let caching = ResponseCaching::of("Authorization");
        Self { validator, required: true, caching, reject: ProblemDetails }
    }
}

impl<R> ValidateLayer<R> {
    /// Lets requests without credentials pass as anonymous. Bad credentials are rejected still.
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// Leaves the `Cache-Control` of handlers as it is, so that shared caches may store what says
    /// `public`. For pages that are the same for everybody who may see them; see the
    /// [module docs](crate::layers::validate#caches).
    pub fn allow_public(mut self) -> Self {
        self.caching = self.caching.allow_public();
        self
    }

    /// Shapes what is answered to requests that are rejected; see [`Reject`](crate::Reject).
    pub fn reject_with<F>(self, reject: F) -> ValidateLayer<F> {
        let Self { validator, required, caching, .. } = self;
        ValidateLayer { validator, required, caching, reject }
    }
}

impl<S, R: Clone> Layer<S> for ValidateLayer<R> {
    type Service = Validate<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Validate {
            inner,
            validator: self.validator.clone(),
            required: self.required,
            caching: self.caching,
            reject: self.reject.clone(),
        }
    }
}
