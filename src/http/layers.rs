//! The layers of a service, at hand on the service.

use std::sync::Arc;

use crate::http::exchange::ExchangeLayer;
use crate::http::issue::IssueLayer;
use crate::http::require::RequireLayer;
use crate::http::validate::ValidateLayer;
use crate::service::TokenService;

impl TokenService {
    /// A [`ValidateLayer`] for the tokens of this service.
    pub fn validate_layer(&self) -> ValidateLayer {
        ValidateLayer::new(self.validator().clone())
    }

    /// A [`RequireLayer`] for a permission, to stand behind a layer that validates.
    pub fn require(&self, permission: impl Into<Arc<str>>) -> RequireLayer {
        RequireLayer::new(permission)
    }

    /// An [`IssueLayer`] that signs what handlers grant.
    pub fn issue_layer(&self) -> IssueLayer {
        IssueLayer::new(self.clone())
    }

    /// An [`ExchangeLayer`] for the sessions of this service.
    pub fn exchange_layer(&self) -> ExchangeLayer {
        ExchangeLayer::new(self.clone())
    }
}
