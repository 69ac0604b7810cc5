use std::sync::Arc;
use std::time::Duration;

use crate::service::model::entity::EntityId;
use crate::service::model::secret::SecretOperation;
use crate::service::policy::{Rule, SecretAccessRule};
use crate::token::claims::Validated;

settings! {
    /// Lifetimes of machine clients' secrets, and access to them.
    Secrets {
        /// Sets the lifetime, in days, of a secret whose request sets none. Default: 180, as documented.
        lifetime_days: u64 = 180,
        /// Sets the maximum lifetime of a secret, in days. Default: 180, as documented. A longer one is reduced to
        /// it.
        max_lifetime_days: u64 = 180,
        /// Sets how long the old secret is accepted after a reset. Default: not at all, since a reset may respond to
        /// a leak. The documented service accepts it for 5 days.
        overlap: Duration = Duration::ZERO,
        /// Sets how long an expired secret is still accepted, with a warning. Default: not at all. The documented
        /// service accepts it for 5 days.
        grace: Duration = Duration::ZERO,
        /// Sets whether a reset also revokes the tokens issued for the old secret. Default: no, as documented.
        revoke_tokens_on_reset: bool = false,
        /// Sets the maximum age of a user's token, counted from the login, for reading and resetting secrets.
        /// Default: no limit but the token's lifetime, since documented clients keep a token for a day. With a few
        /// minutes, a stolen token soon gives no access to secrets.
        max_token_age: Option<Duration> = None,
    }
    also {
        access_rule: Option<Rule<SecretAccessRule>> = None,
    }
}

impl Secrets {
    /// Sets a rule for reads and resets of secrets that the user's ACL grants: they are rejected if `rule` returns
    /// `false`. Default: none. The rule is called last, for each request, and its rejection is the same as for an
    /// unknown machine client. It must not block: keep what it looks up in memory. With
    /// [`principals.opaque_subjects`](crate::policy::Principals::opaque_subjects), a principal's id is not its name.
    ///
    /// ```
    /// use countersign::policy::SecretOperation;
    /// use countersign::{Policy, Validated};
    ///
    /// let policy = Policy::default()
    ///     .secrets(|secrets| secrets.access_rule(|manager: &Validated, client, operation| {
    ///     operation == SecretOperation::Read || manager.principal().id() == client.name()
    /// }));
    /// ```
    pub fn access_rule(
        mut self,
        rule: impl Fn(&Validated, &EntityId, SecretOperation) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.access_rule = Some(Rule(Arc::new(rule)));
        self
    }
}
