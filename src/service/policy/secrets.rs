use std::sync::Arc;
use std::time::Duration;

use crate::service::model::entity::EntityId;
use crate::service::model::secret::SecretOperation;
use crate::service::policy::{Rule, SecretAccessRule};
use crate::token::claims::Validated;

settings! {
    /// How long machine clients' secrets live, and who may read them.
    Secrets {
        /// How many days a secret lives that asks for nothing: 180, as documented.
        lifetime_days: u64 = 180,
        /// The most days that a secret may live: 180, as documented. More is cut to it.
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
    /// Adds a check to reads and resets of secrets that the user's list grants: they are refused where
    /// `rule` returns `false`. By default there is none. It is asked last, about each one, and who is
    /// refused is told what an unknown machine client is. It must not block: what has to be looked up is best kept in memory. Under
    /// [`principals.opaque_subjects`](crate::policy::Principals::opaque_subjects), a principal's id is no name.
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
