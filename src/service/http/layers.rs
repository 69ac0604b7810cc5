//! The layers of a service, and the context of a request.

use std::sync::Arc;

use http::{Extensions, HeaderMap};

use crate::guard::client_address::client_address;
use crate::guard::require::RequireLayer;
use crate::guard::validate::ValidateLayer;
use crate::service::http::exchange::ExchangeLayer;
use crate::service::http::issue::IssueLayer;
use crate::service::{RequestContext, TokenService};

impl TokenService {
    /// A [`ValidateLayer`] for the tokens of this service, and of the issuers that it trusts.
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

    /// Returns where a request comes from, for a handler of the host's own that logs somebody in:
    /// its client's address, as the routes find it. See [`ClientAddress`](crate::ClientAddress).
    ///
    /// ```
    /// use axum::extract::{Request, State};
    /// use countersign::{Password, TokenService};
    ///
    /// async fn login(State(tokens): State<TokenService>, request: Request) -> String {
    ///     let context = tokens.request_context(request.headers(), request.extensions());
    ///     // Here from a form; never from a path.
    ///     let Ok(password) = Password::new("correct-horse-battery-staple") else {
    ///         return "no password".to_owned();
    ///     };
    ///     match tokens.issue_user_token("ops@example.com", password, &context).await {
    ///         Ok(token) => token.access_token.expose().to_owned(),
    ///         Err(error) => error.message().to_owned(),
    ///     }
    /// }
    /// ```
    pub fn request_context(&self, headers: &HeaderMap, extensions: &Extensions) -> RequestContext {
        let proxies = self.own_tokens_validator().trusted_proxies();
        RequestContext::default().address(client_address(proxies, headers, extensions))
    }
}
