use std::time::Duration;

use crate::service::policy::{DAY, HOUR, MINUTE};
use crate::token::acl::Acl;

settings! {
    /// How long customers' sessions live, how many there may be, and their one-time passwords.
    Sessions {
        /// The lifetime of a session that is started without one: 24 hours.
        lifetime: Duration = DAY,
        /// The longest lifetime that a session may be started with: 30 days.
        max_lifetime: Duration = 30 * DAY,
        /// How long an unused session lives: no limit but the session's own expiry. A timeout must be at least 2
        /// minutes; the session then ends that long after its start or its last use, and never later than its own
        /// expiry. A use is an exchange that keeps the session, or a request through an
        /// [`ExchangeLayer`](crate::ExchangeLayer); finding or listing a session is not. Uses are recorded once a
        /// minute, so a session may end up to a minute early. Tokens exchanged from it stay valid.
        ///
        /// A session that was started before this was set or changed gets it with its next use.
        idle_timeout: Option<Duration> = None,
        /// The longest life of a session that was started on a bearer's word: 1 hour. What a bearer has
        /// started ends with its revocation, which is remembered for as long.
        max_delegated_lifetime: Duration = HOUR,
        /// How many live sessions a customer may have: 100, several for each device that somebody has. One
        /// more is rejected, so that one known password cannot fill the store. Starts at the same
        /// moment may exceed it by their number.
        max_per_customer: usize = 100,
        /// How many live sessions a user or machine client may have started: 100,000, those of a large
        /// shop's customers within an hour, which take some 350 MB of a store in memory. One more is
        /// rejected, so that a bearer in wrong hands cannot fill the store. A session that was used up
        /// does not count, and takes less than half.
        max_per_starter: usize = 100_000,
        /// How many sessions a page of a list may skip: 10,000. A store reads what it skips, so that a page far behind
        /// costs much; [`PageRequest::after`](crate::store::PageRequest::after) costs nothing.
        max_list_offset: usize = 10_000,
        /// Whether ending a session revokes the tokens exchanged from it. On: who logs out means it.
        revoke_tokens_on_end: bool = true,
        /// How many digits a one-time password has: 6. From 6 to 10.
        one_time_password_digits: usize = 6,
        /// How long a one-time password lives: 10 minutes, enough for a slow mail server.
        one_time_password_lifetime: Duration = 10 * MINUTE,
        /// How many wrong one-time passwords end a session: 5. See also
        /// [`throttle.one_time_passwords`](crate::policy::Throttle::one_time_passwords).
        one_time_password_attempts: u32 = 5,
        /// How often a session's one-time password is sent again: 3 times, since each is a message that
        /// somebody may not have asked for.
        one_time_password_resends: u32 = 3,
        /// How long to wait before one is sent again: 1 minute, what a mail server takes at times.
        one_time_password_cooldown: Duration = MINUTE,
        /// How long the delivery of a one-time password may take: 10 seconds.
        sender_deadline: Duration = Duration::from_secs(10),
    }
    also {
        delegable_acl: Option<Acl> = None,
    }
}

impl Sessions {
    /// The most that a bearer may give to a session that it starts, or to an exchange that it widens,
    /// of what its own list holds: all of it. Set it where bearers hold more than customers should
    /// ever get.
    pub fn delegable_acl(mut self, acl: Acl) -> Self {
        self.delegable_acl = Some(acl);
        self
    }
}
