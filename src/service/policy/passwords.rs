use std::sync::Arc;
use std::time::Duration;

use crate::service::model::password::{Password, PasswordCost};
use crate::service::policy::{PasswordRule, Rule};

settings! {
    /// Which passwords may be chosen, and what hashing them costs.
    Passwords {
        /// Sets the minimum length of a new password, in bytes. Default: 8 (NIST SP 800-63B). The maximum is
        /// [`Password::MAX_LEN`]. The minimum does not apply to passwords presented at a login.
        min_len: usize = 8,
        /// Sets how long after it was set a password expires. Default: never, since people who are forced to change a
        /// password often choose a worse one (NIST SP 800-63B). An expired password is rejected like a wrong one; its
        /// owner can still change it.
        lifetime: Option<Duration> = None,
        /// Sets whether changing a password revokes the sessions and tokens that were issued for the old one.
        /// Default: yes, since a password is often changed because somebody else may know it.
        end_sessions_on_change: bool = true,
        /// Sets the cost of a password hash. Default: 19 MiB of memory and two passes (OWASP).
        cost: PasswordCost = PasswordCost::default(),
        /// Sets how many passwords are hashed concurrently. Default: the number of cores; more would be slower and
        /// use more memory.
        hashing_permits: usize = cores(),
        /// Sets how many logins may wait for a hash. Default: eight per core. Further ones are rejected with a 503.
        hashing_queue: usize = cores() * 8,
        /// Sets how long a login may wait for a hash before it is rejected with a 503. Default: 2 seconds.
        hashing_deadline: Duration = Duration::from_secs(2),
    }
    also {
        rule: Option<Rule<PasswordRule>> = None,
    }
}

impl Passwords {
    /// Sets a rule for new passwords besides the length, such as a list of known passwords. Default: none. The error
    /// of the rule is sent to the client.
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

/// The number of passwords that can be hashed concurrently.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
