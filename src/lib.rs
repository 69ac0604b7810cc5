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

/// The middleware: one module for each layer, with its service and its rules.
///
/// | module | what its layer does |
/// |---|---|
/// | [`validate`](layers::validate) | rejects requests without a valid token |
/// | [`require`](layers::require) | behind `validate` or `exchange`: rejects tokens that lack a permission |
/// | `exchange` | exchanges the authentication token of a request for a JWT |
/// | `issue` | signs a token for what a handler grants |
/// | `same_origin` | rejects requests from other sites, before a login form |
pub mod layers {
    pub use crate::guard::{GuardFuture, require, validate};

    #[cfg(feature = "service")]
    pub use crate::service::http::{exchange, issue, same_origin};
}

/// The builders of a [`Validator`] and of a `TokenService`. Each takes its required settings in stages (issuer,
/// audience, keys), so that code which omits one does not compile.
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

    #[doc = include_str!("docs/guide/glossary.md")]
    pub mod glossary {}

    #[doc = include_str!("docs/guide/many_nodes.md")]
    pub mod many_nodes {}

    #[doc = include_str!("docs/guide/operate.md")]
    pub mod operate {}

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

/// Parts of a [`Validated`] that few hosts name: the principal by which a host keys its data, and the `jti`.
pub mod claims {
    pub use crate::token::identifier::TokenId;
    pub use crate::token::principal::Principal;
}

/// The reasons for which a [`Validator`] rejects a token, and the invalid fields of an [`Error`].
pub mod faults {
    pub use crate::error::InvalidField;
    pub use crate::validate::TokenFault;
}

/// What a [`TrustedIssuer`] is given: the argument and result of a mapping of claims
/// ([`TrustedIssuer::map_claims`]), and what fetches its keys ([`TrustedIssuer::key_fetcher`]).
#[cfg(feature = "remote-jwks")]
pub mod trusted_issuer {
    pub use crate::validate::trusted::{ForeignClaims, JwkSet, KeyFetcher, MappedClaims};
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
pub use self::validate::proxies::TrustedProxies;
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
