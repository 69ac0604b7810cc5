//! Extractors: what a handler takes to know who is asking.

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
/// As an argument of a handler it requires a token. `Option<Bearer<C>>` takes requests without one,
/// too, if the layer lets them pass; an invalid token is rejected either way.
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
/// A [`Rejection`]: 401 without a token, 401 if the custom claims do not read as `C`, 500 if
/// no layer has validated the request, with a line in the log that names the layer.
#[derive(Clone, Debug)]
pub struct Bearer<C = IgnoredAny>(pub BearerClaims<C>);

/// The claims of a [`Bearer`] token: those of a [`Validated`], to which it dereferences, and the
/// host's own.
#[derive(Clone, Debug)]
pub struct BearerClaims<C = IgnoredAny> {
    validated: Arc<Validated>,
    /// `customClaims`, as the host's own type.
    pub custom: C,
}

impl<C> BearerClaims<C> {
    /// Returns the validated token, to keep.
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
