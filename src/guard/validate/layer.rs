use tower_layer::Layer;

use crate::guard::refusal::ProblemDetails;
use crate::guard::validate::Validate;
use crate::validate::Validator;

/// Mounts [`Validate`] on a service: only requests with a good token pass. See the
/// [module docs](crate::layers::validate) for what is let through and what is refused.
#[derive(Clone, Debug)]
#[must_use]
pub struct ValidateLayer<R = ProblemDetails> {
    validator: Validator,
    required: bool,
    refuse: R,
}

impl ValidateLayer {
    /// A layer that refuses requests without credentials, in problem details.
    pub fn new(validator: Validator) -> Self {
        Self { validator, required: true, refuse: ProblemDetails }
    }
}

impl<R> ValidateLayer<R> {
    /// Lets requests without credentials pass as anonymous. Bad credentials are refused still.
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// Shapes what is answered to requests that are refused; see [`Refuse`](crate::Refuse).
    pub fn refuse_with<F>(self, refuse: F) -> ValidateLayer<F> {
        ValidateLayer { validator: self.validator, required: self.required, refuse }
    }
}

impl<S, R: Clone> Layer<S> for ValidateLayer<R> {
    type Service = Validate<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Validate {
            inner,
            validator: self.validator.clone(),
            required: self.required,
            refuse: self.refuse.clone(),
        }
    }
}
