//! Extractors of the caller.

use std::ops::Deref;
use std::sync::Arc;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::guard::admission::{forbidden, found, required};
use crate::rejection::{LogReason, Rejection};
use crate::token::claims::Validated;

/// The validated bearer token of a request, with the host's own custom claims read as `C`.
///
/// As a handler's argument, it requires a token. `Option<Bearer<C>>` also accepts requests without one, if the layer
/// lets them pass; an invalid token is rejected in both cases.
///
/// ```
/// use countersign::Bearer;
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct MyClaims {
///     locale: String,
/// }
///
/// async fn greet(Bearer(claims): Bearer<MyClaims>) -> String {
///     format!("{} {}", claims.principal().id(), claims.custom.locale)
/// }
///
/// async fn front_page(caller: Option<Bearer>) -> String {
///     caller.map_or("hello".to_owned(), |Bearer(claims)| format!("hello {}", claims.principal().id()))
/// }
/// ```
///
/// # Rejections
///
/// A [`Rejection`]: 401 without a token, 401 if the custom claims cannot be read as `C`, 500 with an error in the log
/// if no layer has validated the request.
#[derive(Clone, Debug)]
pub struct Bearer<C = IgnoredAny>(pub BearerClaims<C>);

/// The claims of a [`Bearer`] token. It dereferences to [`Validated`] and adds the host's custom claims.
#[derive(Clone, Debug)]
pub struct BearerClaims<C = IgnoredAny> {
    validated: Arc<Validated>,
    /// The `customClaims`, read as the host's type.
    pub custom: C,
}

impl<C> BearerClaims<C> {
    /// Returns the validated token, for use beyond the request.
    #[must_use]
    pub fn validated(&self) -> &Arc<Validated> {
        &self.validated
    }
}

impl<C> Deref for BearerClaims<C> {
    type Target = Validated;

    fn deref(&self) -> &Validated {
        &self.validated
    }
}

const NEEDED_BY: &str = "the extractor Bearer";

fn read<C: DeserializeOwned>(validated: Arc<Validated>) -> Result<Bearer<C>, Rejection> {
    match C::deserialize(validated.custom_claims()) {
        Ok(custom) => Ok(Bearer(BearerClaims { validated, custom })),
        Err(_) => Err(forbidden(&validated, LogReason::UnexpectedCustomClaims)),
    }
}

impl<S: Sync, C: DeserializeOwned> FromRequestParts<S> for Bearer<C> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        read(required(&parts.extensions, NEEDED_BY)?)
    }
}

impl<S: Sync, C: DeserializeOwned> OptionalFromRequestParts<S> for Bearer<C> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Rejection> {
        found(&parts.extensions, NEEDED_BY)?.map(Arc::clone).map(read).transpose()
    }
}
