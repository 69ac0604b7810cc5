use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::service::policy::{CustomClaimsRule, DAY, HOUR, MINUTE, RotationSchedule, Rule};
use crate::token::claims::Validated;
use crate::validate::builder::{DEFAULT_LEEWAY, DEFAULT_MAX_TOKEN_LEN, DEFAULT_TOKEN_CACHE_BYTES};

settings! {
    /// Lifetimes, contents and validation of tokens.
    Tokens {
        /// Sets the lifetime of a user's token. Default: 24 hours, as the documented response states; the documented
        /// service uses 180 days. It also applies to tokens that the host issues to customers by a
        /// [`Grant`](crate::Grant). Tokens exchanged from sessions have lifetimes of their own.
        user_lifetime: Duration = DAY,
        /// Sets the lifetime of a machine client's token. Default: 24 hours, as documented clients expect. A machine
        /// client gets a new token without help, so a shorter lifetime costs little.
        machine_lifetime: Duration = DAY,
        /// Sets the lifetime of an exchanged token whose request sets none. Default: 1 hour, as documented.
        exchanged_lifetime: Duration = HOUR,
        /// Sets the maximum lifetime that an exchange may request. Default: 24 hours, since a leaked token is usable
        /// until it expires.
        max_exchanged_lifetime: Duration = DAY,
        /// Sets the lifetime of the phantom tokens that `ExchangeLayer` makes. Default: 5 minutes, since a new one
        /// costs one signature and one read of the session.
        phantom_lifetime: Duration = 5 * MINUTE,
        /// Sets the maximum lifetime, from `iat` to `exp`, of the service's tokens that it accepts, and for how long
        /// revocations are kept. Default: the longest of the other lifetimes, since no token issued under them lives
        /// longer. A token that was issued under longer lifetimes is rejected, so that none outlives its revocation.
        ///
        /// Use it to change the other lifetimes while several nodes run, or while earlier tokens are to stay valid:
        /// raise it before raising them, and lower it after the last longer token has expired. See
        /// [`guide::many_nodes`](crate::guide::many_nodes).
        max_lifetime: Option<Duration> = None,
        /// Sets how far clocks may differ. Default: 60 seconds; maximum: 300.
        leeway: Duration = DEFAULT_LEEWAY,
        /// Sets the maximum length, in bytes, of a token that is issued or accepted. Default: 8 KiB, the limit of a
        /// header in common servers.
        max_len: usize = DEFAULT_MAX_TOKEN_LEN,
        /// Sets the approximate size, in bytes, of the cache of verified tokens. Default: 64 MiB, enough for about
        /// 24,000 tokens with eight permissions each. Zero turns it off; see
        /// [`ValidatorBuilder::token_cache_bytes`](crate::builder::ValidatorBuilder::token_cache_bytes).
        cache_bytes: usize = DEFAULT_TOKEN_CACHE_BYTES,
        /// Sets whether permissions may end in a wildcard, such as `Storefront*`. Default: no, since a wildcard also
        /// grants operations that are added later. `*` alone is always allowed.
        trailing_wildcards: bool = false,
        /// Sets whether an ACL must name each of the service's own operations
        /// ([list](crate::guide::token_service#the-services-own-operations)) to grant them, so that `*` and trailing
        /// wildcards do not. Default: no, since `*` is documented as everything. Turn it on if `*` is meant for the
        /// host's operations: it then neither reads secrets nor starts sessions, and cannot be delegated as a grant
        /// of them. A host's own layer that requires one of these names is not affected.
        own_operations_by_name: bool = false,
        /// Sets the maximum length of `customClaims`, in bytes of JSON. Default: 4 KiB, so that the token stays below
        /// 8 KiB.
        max_custom_claims_len: usize = 4 * 1024,
        /// Sets the rotation schedule of [`ManagedKeys`](crate::ManagedKeys). Default: a new key every 90 days,
        /// published 14 days ahead.
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
    /// Sets the `client_id` in tokens of users and customers. Default: `first-party`. No machine client may have this
    /// id.
    pub fn first_party_client_id(mut self, id: impl Into<String>) -> Self {
        self.first_party_client_id = id.into();
        self
    }

    /// Sets the names of custom claims that any caller of an exchange may set to any value, even without a bearer
    /// token. Default: none. Handlers must not rely on these values. A claim that the host has set, with the session
    /// or the credential, is not overwritten.
    pub fn open_custom_claims<T: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = T>,
    ) -> Self {
        self.open_custom_claims = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the names of custom claims that a bearer may pass on to the sessions that it starts and the exchanges
    /// that it widens. Default: none, since the permission to start sessions does not include vouching for an
    /// identity. Only the value in the bearer's own token is passed on, and it does not overwrite a claim that the
    /// host has set.
    pub fn delegated_custom_claims<T: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = T>,
    ) -> Self {
        self.delegated_custom_claims = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets a rule that decides, by name and value, which further custom claims a bearer may set. Default: none. It
    /// is called for each claim that neither [`open_custom_claims`](Self::open_custom_claims) nor
    /// [`delegated_custom_claims`](Self::delegated_custom_claims) allows, and never for a claim that the host has
    /// set, which stays unchanged.
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
