use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::service::policy::{CustomClaimsRule, DAY, HOUR, MINUTE, RotationSchedule, Rule};
use crate::token::claims::Validated;
use crate::validate::builder::{DEFAULT_LEEWAY, DEFAULT_MAX_TOKEN_LEN, DEFAULT_TOKEN_CACHE_BYTES};

settings! {
    /// How long tokens live, what they may say, and how they are checked.
    Tokens {
        /// How long a user's token lives: 24 hours, as the documented response has it. The documented service
        /// lets it live for 180 days. One that the host issues to a customer by a [`Grant`](crate::Grant) lives
        /// as long; those of sessions have lifetimes of their own.
        user_lifetime: Duration = DAY,
        /// How long a machine client's token lives: 24 hours, as documented clients expect. It gets another one
        /// without anybody's help, so a shorter life costs it little.
        machine_lifetime: Duration = DAY,
        /// The lifetime of an exchanged token whose request sets none: 1 hour, as documented.
        exchanged_lifetime: Duration = HOUR,
        /// The longest life that an exchange may ask for: 24 hours, since a token that leaks is worth
        /// as much as it has yet to live.
        max_exchanged_lifetime: Duration = DAY,
        /// The lifetime of the phantom tokens that `ExchangeLayer` makes: 5 minutes, since a new one costs one
        /// signature and one read of the session.
        phantom_lifetime: Duration = 5 * MINUTE,
        /// The longest life of any token of this service that it accepts, from its `iat` to its `exp`,
        /// and for how long revocations are remembered: the longest of the other lifetimes, since no
        /// token lives longer that is issued under them. A token that was issued under longer ones is
        /// rejected, so that none outlives what revoked it.
        ///
        /// It is there to change the other lifetimes while several nodes run, or while tokens are to
        /// stay good: raised before them, and lowered once the last longer token has expired. See
        /// [`guide::many_nodes`](crate::guide::many_nodes).
        max_lifetime: Option<Duration> = None,
        /// How much clocks may differ: 60 seconds, at most 300.
        leeway: Duration = DEFAULT_LEEWAY,
        /// The longest token that is made or looked at, in bytes: 8 KiB, what common servers have room
        /// for in a header.
        max_len: usize = DEFAULT_MAX_TOKEN_LEN,
        /// The approximate size, in bytes, of the cache of verified tokens: 64 MiB, room for about 24,000 with
        /// eight permissions each. Zero turns it off; see
        /// [`ValidatorBuilder::token_cache_bytes`](crate::builder::ValidatorBuilder::token_cache_bytes).
        cache_bytes: usize = DEFAULT_TOKEN_CACHE_BYTES,
        /// Whether permissions may end in a wildcard, as `Storefront*`. Off: it grants operations that
        /// nobody has thought of yet. `*` alone always counts.
        trailing_wildcards: bool = false,
        /// Whether an ACL must name each of the service's own operations
        /// ([list](crate::guide::token_service#the-services-own-operations)) for them to be granted, so that `*` and
        /// trailing wildcards do not. Off: `*` is documented as everything. Turn it on where `*` is meant for the
        /// host's operations: it then neither reads secrets nor starts sessions, and cannot be passed on as a grant of
        /// them. A layer of the host's that requires one of these names is not affected.
        own_operations_by_name: bool = false,
        /// The longest `customClaims`, in bytes of JSON: 4 KiB, so that the token stays below 8.
        max_custom_claims_len: usize = 4 * 1024,
        /// When [`ManagedKeys`](crate::ManagedKeys) are changed: every 90 days, announced 14 days ahead.
        rotation_schedule: RotationSchedule = RotationSchedule::default(),
    }
    also {
        first_party_client_id: String = "first-party".to_owned(),
        open_custom_claims: Vec<String> = Vec::new(),
        delegated_custom_claims: Vec<String> = Vec::new(),
        custom_claims_rule: Option<Rule<CustomClaimsRule>> = None,
    }
}

impl Tokens {
    /// `client_id` of the tokens of users and customers: `first-party`. No machine client may
    /// take it.
    pub fn first_party_client_id(mut self, id: impl Into<String>) -> Self {
        self.first_party_client_id = id.into();
        self
    }

    /// Custom claims that anybody may set to anything, at an exchange without a bearer token, too:
    /// none. Handlers must not rely on what these say. One that the host has set, with the session
    /// or the credential, is not changed by it.
    pub fn open_custom_claims<T: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = T>,
    ) -> Self {
        self.open_custom_claims = names.into_iter().map(Into::into).collect();
        self
    }

    /// Custom claims that a bearer may pass on to the sessions that it starts and the exchanges that
    /// it widens: none, since a permission to start sessions is none to say who somebody is. Only the
    /// value that the bearer's own token carries under that name is passed on, and in place of none
    /// that the host has set.
    pub fn delegated_custom_claims<T: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = T>,
    ) -> Self {
        self.delegated_custom_claims = names.into_iter().map(Into::into).collect();
        self
    }

    /// Which further custom claims a bearer may set, by their names and values: none. It is asked
    /// about each one that neither [`open_custom_claims`](Self::open_custom_claims) nor
    /// [`delegated_custom_claims`](Self::delegated_custom_claims) lets pass, and never about one that
    /// the host has set: that stays as it is.
    ///
    /// ```
    /// use countersign::{Policy, SubjectType, Validated};
    /// use serde_json::Value;
    ///
    /// let policy = Policy::default()
    ///     .tokens(|tokens| tokens.custom_claims_rule(|bearer: &Validated, name, value: &Value| {
    ///     bearer.principal().subject_type() == SubjectType::Machine && name == "channel" && value == "kiosk"
    /// }));
    /// ```
    pub fn custom_claims_rule(
        mut self,
        rule: impl Fn(&Validated, &str, &Value) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.custom_claims_rule = Some(Rule(Arc::new(rule)));
        self
    }
}
