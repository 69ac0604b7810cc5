use std::sync::Arc;

use crate::guard::extract::BearerClaims;
use crate::token::claims::Validated;

/// Who performs a management operation: the host itself, or the bearer of a token.
///
/// For the host, no permission is checked, no throttle applies, and the audit event names no actor. Fields, limits of
/// sessions and the organization of the request are still checked.
///
/// ```
/// # use countersign::{Actor, Bearer, EntityId, Error, RequestContext, TokenService};
/// # async fn use_it(
/// #     tokens: TokenService, Bearer(caller): Bearer, context: RequestContext,
/// # ) -> Result<(), Error> {
/// let machine = EntityId::machine("aa-1")?;
/// // In a handler of the host's own, where the caller's list decides:
/// let secret = tokens.read_secret(&caller, &machine, None, &context).await?;
///
/// // In a script that sets the machine client up:
/// let here = RequestContext::without_address();
/// let secret = tokens.reset_secret(Actor::Host, &machine, None, &here).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Actor<'a> {
    /// The host, which has all permissions.
    Host,
    /// The bearer of a token, whose ACL must grant the operation.
    Bearer(&'a Validated),
}

impl<'a> From<&'a Validated> for Actor<'a> {
    fn from(bearer: &'a Validated) -> Self {
        Self::Bearer(bearer)
    }
}

impl<'a> From<&'a Arc<Validated>> for Actor<'a> {
    fn from(bearer: &'a Arc<Validated>) -> Self {
        Self::Bearer(bearer)
    }
}

impl<'a, C> From<&'a BearerClaims<C>> for Actor<'a> {
    fn from(bearer: &'a BearerClaims<C>) -> Self {
        Self::Bearer(bearer)
    }
}

/// An [`Actor`] that outlives its request.
#[derive(Debug)]
pub(in crate::service) enum OwnedActor {
    Host,
    Bearer(Box<Validated>),
}

impl OwnedActor {
    pub(in crate::service) fn borrowed(&self) -> Actor<'_> {
        match self {
            Self::Host => Actor::Host,
            Self::Bearer(bearer) => Actor::Bearer(bearer),
        }
    }
}

impl<'a> Actor<'a> {
    pub(in crate::service) fn to_owned(self) -> OwnedActor {
        match self {
            Self::Host => OwnedActor::Host,
            Self::Bearer(bearer) => OwnedActor::Bearer(Box::new(bearer.clone())),
        }
    }

    /// Returns the bearer; `None` for the host.
    pub(in crate::service) fn bearer(self) -> Option<&'a Validated> {
        match self {
            Self::Host => None,
            Self::Bearer(bearer) => Some(bearer),
        }
    }
}
