#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "service", feature = "remote-jwks"))]
mod backoff;
mod clock;
mod domain;
mod error;
mod http;
mod json;
mod service;
mod sync;
#[cfg_attr(not(feature = "service"), allow(dead_code, reason = "most is told by the service"))]
mod telemetry;

pub mod jose;

#[cfg(feature = "service")]
pub mod store;
#[cfg(all(feature = "testing", any(feature = "aws-lc-rs", feature = "rust-crypto")))]
pub mod testing;

/// The middleware, a module each: its layer, its service, and what it lets through.
///
/// | | in front of a handler, it |
/// |---|---|
/// | [`validate`](layers::validate) | lets requests through that bring a good token |
/// | [`require`](layers::require) | behind it, those whose token grants a permission |
/// | `exchange` | turns authentication tokens into JWTs on their way in |
/// | `issue` | turns what handlers grant into tokens on their way out |
pub mod layers {
    pub use crate::http::{RefusableFuture, require, validate};

    #[cfg(feature = "service")]
    pub use crate::http::{exchange, issue};
}

#[doc = include_str!("docs/observability.md")]
pub mod observability {
    #[allow(unused_imports, reason = "the page links to them")]
    use crate::{ClientAddress, ErrorKind, TokenFault};
}

#[doc = include_str!("docs/guide/mod.md")]
pub mod guide {
    #[doc = include_str!("docs/guide/comparison.md")]
    pub mod comparison {}

    #[doc = include_str!("docs/guide/custom_store.md")]
    pub mod custom_store {}

    #[doc = include_str!("docs/guide/customer_sessions.md")]
    pub mod customer_sessions {}

    #[doc = include_str!("docs/guide/many_nodes.md")]
    pub mod many_nodes {}

    #[doc = include_str!("docs/guide/protect.md")]
    pub mod protect {}

    #[doc = include_str!("docs/guide/reading.md")]
    pub mod reading {}

    #[doc = include_str!("docs/guide/rotate_keys.md")]
    pub mod rotate_keys {}

    #[doc = include_str!("docs/guide/testing.md")]
    pub mod testing {}

    #[doc = include_str!("docs/guide/token_service.md")]
    pub mod token_service {}
}

pub use self::clock::{Clock, SystemClock, Timestamp};
pub use self::domain::acl;
#[doc(inline)]
pub use self::domain::acl::{Acl, AclEntry};
pub use self::domain::claims::{AccessToken, SubjectType, Validated};
pub use self::domain::identifier::{CustomerId, OrganizationId, SessionId, TokenId};
pub use self::domain::revocation::{Revocation, RevocationTarget};
pub use self::error::{Error, ErrorKind, InvalidField};
pub use self::http::client_address::ClientAddress;
pub use self::http::extract::{Bearer, BearerClaims};
pub use self::http::refusal::{ProblemDetails, Refusal, RefusalReason, Refuse};
pub use self::http::{require::RequireLayer, validate::ValidateLayer};
#[doc(inline)]
pub use self::jose::{Algorithm, KeyRing};
#[cfg(feature = "remote-jwks")]
pub use self::service::trusted::{ForeignClaims, MappedClaims, TrustedIssuer};
pub use self::service::validate::{TokenFault, Validator, ValidatorBuilder};

#[cfg(feature = "service")]
pub use self::domain::{
    entity::{Entity, EntityId, EntityKind},
    key_schedule::{KeySchedule, ScheduledKey},
    one_time_password::OneTimePassword,
    password::{Password, PasswordCost, PasswordHash},
    sealing::SealingKey,
    secret::{Secret, Secrets, StoredSecret},
    session::{AuthenticationToken, Session, SessionKey},
};
#[cfg(feature = "service")]
pub use self::http::{
    cookie::SameSite,
    exchange::ExchangeLayer,
    issue::{Issue, IssueLayer},
};
#[cfg(feature = "service")]
pub use self::service::{
    Caller, CustomerLogin, ExchangeRequest, ExchangedToken, Grant, IssuedSecret, IssuedToken,
    KeySource, ManagedKeys, NewSession, OneTimePasswordMessage, OneTimePasswordSender, Policy,
    RotationSchedule, StartedSession, ThrottleLimit, TokenService, TokenServiceBuilder, permission,
};
