//! Extractors: what a handler takes to know who is asking.

use std::ops::Deref;
use std::sync::Arc;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::guard::authenticate::audit_authorization_rejection;
use crate::guard::rejection::{Rejection, RejectionReason};
use crate::guard::validate::Anonymous;
use crate::token::claims::Validated;

/// The validated bearer token of a request, with the host's own custom claims read as `C`.
///
/// As an argument of a handler it demands a token. `Option<Bearer<C>>` takes requests without one,
/// too, where the layer lets them pass; a bad token is rejected either way.
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
///     format!("{} {}", claims.subject(), claims.custom.locale)
/// }
///
/// async fn front_page(caller: Option<Bearer>) -> String {
///     caller.map_or("hello".to_owned(), |Bearer(claims)| format!("hello {}", claims.subject()))
/// }
/// ```
///
/// # Rejections
///
/// A [`Rejection`]: 401 without a token, 401 where the custom claims do not read as `C`, 500 where
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
    /// The validated token, to keep.
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

/// `None` where the request was let through without credentials.
fn find(parts: &Parts) -> Result<Option<Arc<Validated>>, Rejection> {
    if let Some(validated) = parts.extensions.get::<Arc<Validated>>() {
        return Ok(Some(Arc::clone(validated)));
    }
    match parts.extensions.get::<Anonymous>() {
        Some(_) => Ok(None),
        None => Err(Rejection::missing_layer("ValidateLayer", "the extractor Bearer")),
    }
}

fn read<C: DeserializeOwned>(validated: Arc<Validated>) -> Result<Bearer<C>, Rejection> {
    match C::deserialize(validated.custom_claims()) {
        Ok(custom) => Ok(Bearer(BearerClaims { validated, custom })),
        Err(_) => {
            let reason = RejectionReason::UnexpectedCustomClaims;
            Err(Rejection::new(
                audit_authorization_rejection(&validated, reason),
                validated.issuer(),
            ))
        }
    }
}

impl<S: Sync, C: DeserializeOwned> FromRequestParts<S> for Bearer<C> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        match find(parts)? {
            Some(validated) => read(validated),
            None => {
                let anonymous = parts.extensions.get::<Anonymous>();
                let realm = anonymous.map_or("", |anonymous| &anonymous.realm);
                Err(Rejection::new(RejectionReason::MissingCredentials, realm))
            }
        }
    }
}

impl<S: Sync, C: DeserializeOwned> OptionalFromRequestParts<S> for Bearer<C> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Rejection> {
        find(parts)?.map(read).transpose()
    }
}
