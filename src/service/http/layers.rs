//! The layers of a service, and the context of a request.

use std::sync::{Arc, Once};

use http::request::Parts;

use crate::guard::client_address::client_address;
use crate::guard::path::path_parameter;
use crate::guard::require::RequireLayer;
use crate::guard::validate::ValidateLayer;
use crate::service::http::exchange::ExchangeLayer;
use crate::service::http::issue::IssueLayer;
use crate::service::http::same_origin::SameOriginLayer;
use crate::service::{RequestContext, TokenService};

/// Logged once.
static NO_ADDRESS: Once = Once::new();

impl TokenService {
    /// Returns a [`ValidateLayer`] for the tokens of this service alone.
    pub fn validate_layer(&self) -> ValidateLayer {
        ValidateLayer::new(self.validator().clone())
    }

    /// Returns a [`ValidateLayer`] for the tokens of this service and of the issuers that it trusts. Handlers behind
    /// it receive principals of other issuers, so they must key a caller's data by the whole
    /// [`Principal`](crate::claims::Principal).
    pub fn validate_layer_with_trusted_issuers(&self) -> ValidateLayer {
        ValidateLayer::new(self.validator_with_trusted_issuers().clone())
    }

    /// Returns a [`RequireLayer`] for a permission, to be mounted behind a layer that validates tokens.
    pub fn require_layer(&self, permission: impl Into<Arc<str>>) -> RequireLayer {
        RequireLayer::new(permission)
    }

    /// Returns an [`IssueLayer`] that signs the grants of handlers.
    pub fn issue_layer(&self) -> IssueLayer {
        IssueLayer::new(self.clone())
    }

    /// Returns an [`ExchangeLayer`] for the sessions of this service.
    pub fn exchange_layer(&self) -> ExchangeLayer {
        ExchangeLayer::new(self.clone())
    }

    /// Returns an [`ExchangeLayer`] for the sessions of this service that also lets the JWTs of the issuers through that
    /// it trusts, as [`validate_layer_with_trusted_issuers`](Self::validate_layer_with_trusted_issuers) does. A trusted
    /// issuer's token is mapped to a user by default, and the layer admits customers: see
    /// [`ExchangeLayer::only`].
    pub fn exchange_layer_with_trusted_issuers(&self) -> ExchangeLayer {
        ExchangeLayer::new(self.clone()).with_trusted_issuers()
    }

    /// Returns a [`SameOriginLayer`] for login handlers that set the cookie themselves.
    pub fn same_origin_layer(&self) -> SameOriginLayer {
        SameOriginLayer::new(self.clone())
    }

    /// Returns the origin of a request, as the routes determine it: the client's address (see
    /// [`ClientAddress`](crate::ClientAddress)), and the organization in the path parameter of the policy's
    /// `http.organization_parameter`. If the policy has `principals.organization_required`, and a route has path
    /// parameters but not that one, nothing is found and an error is logged, since another parameter may name the
    /// tenant. An axum handler that logs callers in takes it as an argument:
    ///
    /// ```
    /// use axum::extract::{Json, State};
    /// use countersign::tokens::IssuedToken;
    /// use countersign::{Error, Password, RequestContext, TokenService};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Login {
    ///     name: String,
    ///     password: Password,
    /// }
    ///
    /// // The state is, or has, a `TokenService`.
    /// async fn log_in(
    ///     State(tokens): State<TokenService>,
    ///     context: RequestContext,
    ///     Json(login): Json<Login>,
    /// ) -> Result<IssuedToken, Error> {
    ///     tokens.issue_user_token(&login.name, login.password, &context).await
    /// }
    /// ```
    pub fn request_context(&self, parts: &mut Parts) -> RequestContext {
        let proxies = self.validator().trusted_proxies();
        let context = match client_address(proxies, &parts.headers, &parts.extensions) {
            Some(address) => RequestContext::from_address(address),
            None => {
                NO_ADDRESS.call_once(|| {
                    tracing::warn!(
                        "throttle: client addresses are unknown, logins are throttled by name alone; \
                         serve with `into_make_service_with_connect_info::<SocketAddr>()`, or insert \
                         a `ClientAddress` into the request's extensions"
                    );
                });
                RequestContext::without_address()
            }
        };
        match path_parameter(&mut parts.extensions, &self.policy().http.organization_parameter) {
            Ok(name) => context.organization_named(&name),
            Err(fault) if fault.is_absent => {
                let is_required = self.policy().principals.organization_required;
                if !(is_required && has_parameters(&mut parts.extensions)) {
                    return context;
                }
                tracing::error!(
                    parameter = self.policy().http.organization_parameter,
                    "request context: the route has other path parameters and not this one; nothing is \
                     found there; set the policy's `organization_parameter` to the one that is meant"
                );
                context.organization_named("")
            }
            // It is ambiguous or not text: no organization matches it.
            Err(_) => context.organization_named(""),
        }
    }
}

/// Returns whether the path has any parameters.
#[cfg(feature = "router")]
fn has_parameters(extensions: &mut http::Extensions) -> bool {
    crate::guard::path::path_parameters(extensions)
        .is_ok_and(|all| all.is_some_and(|all| all.iter().next().is_some()))
}

#[cfg(not(feature = "router"))]
fn has_parameters(_: &mut http::Extensions) -> bool {
    false
}

/// Rejects nothing: an invalid organization id matches no principal or session.
#[cfg(feature = "router")]
impl<S> axum::extract::FromRequestParts<S> for RequestContext
where
    S: Send + Sync,
    TokenService: axum::extract::FromRef<S>,
{
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let tokens = <TokenService as axum::extract::FromRef<S>>::from_ref(state);
        Ok(tokens.request_context(parts))
    }
}
