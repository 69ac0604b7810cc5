use tower_layer::Layer;

use crate::error::Error;
use crate::service::TokenService;
use crate::service::http::request_origin::OriginRule;
use crate::service::http::same_origin::SameOrigin;

/// Mounts [`SameOrigin`] on a service: rejects unsafe requests from other sites. See the
/// [module docs](crate::layers::same_origin).
///
/// ```
/// # #[cfg(feature = "router")] fn example(tokens: countersign::TokenService) {
/// use axum::extract::{Form, State};
/// use axum::response::{IntoResponse, Redirect};
/// use axum::{Router, routing::post};
/// use countersign::cookies::SessionCookie;
/// use countersign::sessions::CustomerLogin;
/// use countersign::{Error, Password, RequestContext, TokenService};
/// use http::header::SET_COOKIE;
///
/// #[derive(serde::Deserialize)]
/// struct Login {
///     name: String,
///     password: Password,
/// }
///
/// async fn log_in(
///     State(tokens): State<TokenService>,
///     context: RequestContext,
///     Form(Login { name, password }): Form<Login>,
/// ) -> Result<impl IntoResponse, Error> {
///     let started = tokens.log_in_customer(CustomerLogin::new(name, password), &context).await?;
///     Ok(([(SET_COOKIE, started.cookie(&SessionCookie::default()))], Redirect::to("/")))
/// }
///
/// let app: Router = Router::new()
///     .route("/login", post(log_in))
///     .layer(tokens.same_origin_layer())
///     .with_state(tokens);
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SameOriginLayer {
    tokens: TokenService,
    origins: OriginRule,
}

impl SameOriginLayer {
    /// Creates a layer that forwards only requests from the app's own pages.
    pub fn new(tokens: TokenService) -> Self {
        Self { tokens, origins: OriginRule::default() }
    }

    /// Also forwards requests from pages of this origin. See
    /// [`ExchangeLayer::allow_origin`](crate::ExchangeLayer::allow_origin).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if it is not an origin in the form that browsers
    /// send.
    pub fn allow_origin(mut self, origin: &str) -> Result<Self, Error> {
        self.origins = self.origins.allow(origin)?;
        Ok(self)
    }
}

impl<S> Layer<S> for SameOriginLayer {
    type Service = SameOrigin<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SameOrigin { inner, tokens: self.tokens.clone(), origins: self.origins.clone() }
    }
}
