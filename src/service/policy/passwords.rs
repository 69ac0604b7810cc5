use std::sync::Arc;
use std::time::Duration;

use crate::service::model::password::{Password, PasswordCost};
use crate::service::policy::{PasswordRule, Rule};

settings! {
    /// Which passwords may be chosen, and what hashing them costs.
    Passwords {
        /// The shortest password that may be chosen, in bytes: 8 (NIST SP 800-63B). The longest has
        /// [`Password::MAX_LEN`]. What is presented at a login is not held to it.
        min_len: usize = 8,
        /// How long a password may be used after it was set: for ever, since a person who has to change it
        /// often chooses a worse one (NIST SP 800-63B). An expired one is rejected like a wrong one, and
        /// can still be changed by its owner.
        lifetime: Option<Duration> = None,
        /// Whether changing a password ends the sessions and tokens that it yielded. On: it is changed
        /// because somebody else may know it.
        end_sessions_on_change: bool = true,
        /// What a password hash costs: 19 MiB and two passes (OWASP).
        cost: PasswordCost = PasswordCost::default(),
        /// How many passwords are hashed at once: as many as there are cores. More would only be
        /// slower, and take memory.
        hashing_permits: usize = cores(),
        /// How many logins may wait for a hash: eight for each core. Further ones are rejected with a 503.
        hashing_queue: usize = cores() * 8,
        /// How long a login may wait for a hash: 2 seconds. Then it is rejected with a 503.
        hashing_deadline: Duration = Duration::from_secs(2),
    }
    also {
        rule: Option<Rule<PasswordRule>> = None,
    }
}

impl Passwords {
    /// What the host asks of a password beyond its length, as that it is not in a list of known
    /// ones. The error is what is wrong with it, and is told to the caller. Nothing, by
    /// default.
    ///
    /// ```
    /// use countersign::{Password, Policy};
    ///
    /// let policy = Policy::default()
    ///     .passwords(|passwords| passwords.rule(|password: &Password| {
    ///     if password.expose().contains("password") {
    ///         return Err("must not be so easy to guess".to_owned());
    ///     }
    ///     Ok(())
    /// }));
    /// ```
    pub fn rule(
        mut self,
        rule: impl Fn(&Password) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.rule = Some(Rule(Arc::new(rule)));
        self
    }
}

/// How many passwords can be hashed side by side.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
