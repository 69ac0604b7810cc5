#![doc = include_str!("docs/crate.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[macro_use]
mod audit;
#[cfg(any(feature = "service", feature = "remote-jwks"))]
mod custom_claims;
mod error;
mod guard;
mod jitter;
mod json;
mod rejection;
#[cfg(feature = "service")]
mod service;
mod sync;
mod telemetry;
mod token;
mod validate;

pub mod clock;
pub mod jose;

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
/// | `same_origin` | before a login form, keeps other sites' requests out |
pub mod layers {
    pub use crate::guard::{GuardFuture, require, validate};

    #[cfg(feature = "service")]
    pub use crate::service::http::{exchange, issue, same_origin};
}

/// The builders of a [`Validator`] and of a `TokenService`. Each begins with the settings that it needs, one stage
/// after the other, so that none is forgotten.
pub mod builder {
    #[cfg(feature = "service")]
    pub use crate::service::{KeySource, TokenServiceBuilder};
    pub use crate::validate::ValidatorBuilder;
    pub use crate::validate::stages::*;
}

#[doc = include_str!("docs/observability.md")]
pub mod observability {
    pub use crate::rejection::LogReason;
}

#[doc = include_str!("docs/guide/mod.md")]
pub mod guide {
    #[doc = include_str!("docs/guide/comparison.md")]
    pub mod comparison {}

    #[doc = include_str!("docs/guide/custom_store.md")]
    pub mod custom_store {}

    #[doc = include_str!("docs/guide/customer_sessions.md")]
    pub mod customer_sessions {}

    #[doc = include_str!("docs/guide/forward_auth.md")]
    pub mod forward_auth {}

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

    #[doc = include_str!("docs/guide/upgrade.md")]
    pub mod upgrade {}
}

/// Parts of a [`Validated`] that few hosts name: the principal that a host keys its data by, and the `jti`.
pub mod claims {
    pub use crate::token::identifier::TokenId;
    pub use crate::token::principal::Principal;
}

/// What is wrong with a token that a [`Validator`] rejects, or with a field that an [`Error`] names.
pub mod faults {
    pub use crate::error::InvalidField;
    pub use crate::validate::TokenFault;
}

/// The claims of other issuers' tokens, and what they are mapped to: see [`TrustedIssuer::map_claims`].
#[cfg(feature = "remote-jwks")]
pub mod trusted_issuer {
    pub use crate::validate::trusted::{ForeignClaims, MappedClaims};
}

pub use self::clock::timestamp::Timestamp;
pub use self::error::{Error, ErrorKind};
pub use self::guard::client_address::ClientAddress;
pub use self::guard::extract::Bearer;
pub use self::guard::require::caller::{Caller, Requirement};
pub use self::guard::require::layer::RequireLayer;
pub use self::guard::validate::layer::ValidateLayer;
pub use self::jose::algorithm::Algorithm;
pub use self::jose::key_ring::KeyRing;
pub use self::rejection::Rejection;
pub use self::token::acl::{Acl, AclEntry};
pub use self::token::claims::{SubjectType, Validated};
pub use self::token::identifier::{CustomerId, OrganizationId, SessionId};
pub use self::token::organization::Organization;
pub use self::validate::Validator;
#[cfg(feature = "remote-jwks")]
pub use self::validate::trusted::TrustedIssuer;

#[cfg(feature = "service")]
pub use self::service::{
    Actor, AuthenticationToken, Entity, EntityId, ExchangeLayer, ExchangeRequest, Grant,
    Housekeeping, Issue, IssueLayer, ManagedKeys, NewSession, Password, Policy, RequestContext,
    SameOriginLayer, SealingKey, Secret, StartedSession, TokenService,
    public::{cookies, entities, policy, sessions, tokens},
    store,
};

#[cfg(feature = "router")]
pub use self::service::http::forward_auth;

#[cfg(all(doctest, feature = "router", feature = "remote-jwks", feature = "aws-lc-rs"))]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;

#[cfg(all(doctest, feature = "router"))]
#[doc = include_str!("docs/must_not_compile.md")]
struct MustNotCompile;
