use std::time::Duration;

use crate::service::policy::{DAY, HOUR, MINUTE};
use crate::token::acl::Acl;

settings! {
    /// Lifetimes and limits of customers' sessions, and their one-time passwords.
    Sessions {
        /// Sets the lifetime of a session whose request sets none. Default: 24 hours.
        lifetime: Duration = DAY,
        /// Sets the maximum lifetime of a session. Default: 30 days.
        max_lifetime: Duration = 30 * DAY,
        /// Sets the idle timeout of a session: it ends that long after its start or last use, and never later than
        /// its own expiry. Default: none. The minimum is 2 minutes. A use is an exchange that keeps the session, or a
        /// request through an [`ExchangeLayer`](crate::ExchangeLayer); finding or listing a session is not. Uses are
        /// recorded once a minute, so a session may end up to a minute early. Tokens exchanged from it stay valid.
        ///
        /// A session that was started before this setting was changed adopts it at its next use.
        idle_timeout: Option<Duration> = None,
        /// Sets the maximum lifetime of a session that a bearer starts. Default: 1 hour. Revoking the bearer ends
        /// these sessions, and the revocation is kept for that long.
        max_delegated_lifetime: Duration = HOUR,
        /// Sets the maximum number of live sessions of a customer. Default: 100, several for each of a person's
        /// devices. Further ones are rejected, so that one known password cannot fill the store. Concurrent starts
        /// may exceed the maximum by their number.
        max_per_customer: usize = 100,
        /// Sets the maximum number of live sessions that a user or machine client may have started. Default: 100,000,
        /// enough for one hour of a large shop's customers; they take about 350 MB in a store in memory. Further ones
        /// are rejected, so that a stolen bearer token cannot fill the store. A session that an exchange has used up
        /// does not count and takes less than half the memory.
        max_per_starter: usize = 100_000,
        /// Sets how many sessions a page of a list may skip. Default: 10,000. A store reads the sessions that it
        /// skips, so a large offset is expensive; [`PageRequest::after`](crate::store::PageRequest::after) is not.
        max_list_offset: usize = 10_000,
        /// Sets whether ending a session revokes the tokens exchanged from it. Default: yes.
        revoke_tokens_on_end: bool = true,
        /// Sets the number of digits of a one-time password, from 6 to 10. Default: 6.
        one_time_password_digits: usize = 6,
        /// Sets the lifetime of a one-time password. Default: 10 minutes, enough for a slow mail server.
        one_time_password_lifetime: Duration = 10 * MINUTE,
        /// Sets how many wrong one-time passwords end a session. Default: 5. See also
        /// [`throttle.one_time_passwords`](crate::policy::Throttle::one_time_passwords).
        one_time_password_attempts: u32 = 5,
        /// Sets how often a session's one-time password may be sent again. Default: 3 times, since somebody may
        /// receive messages that they did not ask for.
        one_time_password_resends: u32 = 3,
        /// Sets the minimum time between two sendings of a session's one-time password. Default: 1 minute, about the
        /// delay of a slow mail server.
        one_time_password_cooldown: Duration = MINUTE,
        /// Sets the timeout of delivering a one-time password. Default: 10 seconds.
        sender_deadline: Duration = Duration::from_secs(10),
    }
    also {
        delegable_acl: Option<Acl> = None,
    }
}

impl Sessions {
    /// Sets the maximum ACL that a bearer may pass on to a session that it starts, or to an exchange that it widens.
    /// Default: the bearer's own ACL. Set it if bearers hold permissions that customers must never get.
    pub fn delegable_acl(mut self, acl: Acl) -> Self {
        self.delegable_acl = Some(acl);
        self
    }
}
