use std::sync::Arc;
use std::time::Duration;

use crate::service::model::entity::EntityId;
use crate::service::model::secret::SecretOperation;
use crate::service::policy::{Rule, SecretAccessRule};
use crate::token::claims::Validated;

settings! {
    /// How long machine clients' secrets live, and who may read them.
    Secrets {
        /// The lifetime, in days, of a secret that is made without one: 180, as documented.
        lifetime_days: u64 = 180,
        /// The longest lifetime of a secret, in days: 180, as documented. A longer one is reduced to it.
        max_lifetime_days: u64 = 180,
        /// How long the old secret still works after a reset: not at all, since a reset may be the
        /// answer to a leak. The documented service gives 5 days.
        overlap: Duration = Duration::ZERO,
        /// How long an expired secret still yields a token, with a warning: not at all. The documented
        /// service gives 5 days.
        grace: Duration = Duration::ZERO,
        /// Whether a reset also revokes the tokens that the old secret yielded. Off, as documented.
        revoke_tokens_on_reset: bool = false,
        /// How old a user's token may be to read and reset secrets by it, from its login on: as old as
        /// tokens get, since documented clients hold one for a day. A few minutes make a token that was
        /// stolen worth no secret for long.
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
