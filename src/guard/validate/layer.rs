use std::sync::Arc;

use tower_layer::Layer;

use crate::guard::admission::{Admission, Kinds};
use crate::guard::response_caching::ResponseCaching;
use crate::guard::validate::Validate;
use crate::token::claims::SubjectType;
use crate::validate::Validator;

/// Mounts [`Validate`] on a service: forwards only requests with a valid token. See the
/// [module docs](crate::layers::validate) for the rules.
#[derive(Clone, Debug)]
#[must_use]
pub struct ValidateLayer {
    validator: Validator,
    required: bool,
    admission: Admission,
    caching: ResponseCaching,
}

impl ValidateLayer {
    /// Creates a layer that rejects requests without credentials.
    pub fn new(validator: Validator) -> Self {
        Self {
            validator,
            required: true,
            admission: Admission::ALL,
            caching: ResponseCaching::of("Authorization"),
        }
    }

    /// Lets requests without credentials pass as anonymous. Invalid credentials are still rejected.
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// Admits only these kinds of principals; others are rejected with a 403. Default: all.
    ///
    /// ```
    /// # fn app(validator: countersign::Validator) {
    /// use countersign::{SubjectType, ValidateLayer};
    ///
    /// let staff = ValidateLayer::new(validator).only([SubjectType::User]);
    /// # }
    /// ```
    pub fn only(mut self, kinds: impl IntoIterator<Item = SubjectType>) -> Self {
        self.admission.kinds = Kinds::of(kinds);
        self
    }

    /// Rejects, with a 403, tokens that are bound to another organization than the one in axum's path parameter
    /// `parameter`, on all routes behind the layer. Handlers get the checked organization as `organizationId` of a
    /// [`CheckedScope`](crate::layers::require::CheckedScope).
    ///
    /// A route that lacks the parameter, or has it twice, responds with a 500 and an error in the log. Mount the
    /// layer on a router whose routes all have the parameter: with `Router::layer`, or nested below the parameter.
    ///
    /// ```
    /// # fn app(validator: countersign::Validator) -> axum::Router {
    /// use axum::{Router, routing::get};
    /// use countersign::ValidateLayer;
    ///
    /// Router::new()
    ///     .route("/organizations/{organizationId}/orders", get(async || "orders"))
    ///     .layer(ValidateLayer::new(validator).organization_from_path("organizationId"))
    /// # }
    /// ```
    pub fn organization_from_path(mut self, parameter: impl Into<Arc<str>>) -> Self {
        self.admission.organization = Some(parameter.into());
        self
    }

    /// Leaves the handlers' `Cache-Control` unchanged, so that shared caches may store responses marked `public`. For
    /// pages that are the same for every permitted caller; see the [module docs](crate::layers::validate#caches).
    pub fn allow_public(mut self) -> Self {
        self.caching = self.caching.allow_public();
        self
    }
}

impl<S> Layer<S> for ValidateLayer {
    type Service = Validate<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Validate {
            inner,
            validator: self.validator.clone(),
            required: self.required,
            admission: self.admission.clone(),
            caching: self.caching,
        }
    }
}
