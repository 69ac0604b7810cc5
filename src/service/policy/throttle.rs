use crate::service::policy::{DAY, HOUR, MINUTE, ThrottleLimit};
use std::time::Duration;

settings! {
    /// How many failed attempts are allowed before the next one is delayed.
    Throttle {
        /// Sets the limit of failures with one name, from all addresses together. Default: 100 a day (NIST SP
        /// 800-63B), then delays of 1 second to 15 minutes. It does not apply to addresses from which the owner of
        /// the name has logged in before.
        by_name: ThrottleLimit = ThrottleLimit::new(100, DAY),
        /// Sets the limit of failures from one address (for IPv6, one /64), with all names together. Default: 100 in
        /// 15 minutes, since an office may share one address; then delays of 1 second to 15 minutes. It also applies
        /// to addresses from which the owner of a name has logged in before, so that it does not reveal who has.
        by_address: ThrottleLimit = ThrottleLimit::new(100, 15 * MINUTE),
        /// Sets the limit of failures with one name from one address. Default: 10 a day, then delays of 1 second to 1
        /// hour. That allows about 45 guesses a day, less than half of the limit by name, so a single attacker cannot
        /// use that up and delay the owner elsewhere.
        by_name_and_address: ThrottleLimit = ThrottleLimit::new(10, DAY)
                .delays(Duration::from_secs(1), HOUR),
        /// Sets the limit of wrong one-time passwords of one customer, in all sessions together. Default: 10 a day,
        /// then delays of 1 second to 1 hour. A person who knows the password can start any number of sessions with
        /// several attempts each; this limit keeps them from guessing a code of six digits.
        one_time_passwords: ThrottleLimit = ThrottleLimit::new(10, DAY)
                .delays(Duration::from_secs(1), HOUR),
        /// Sets the limit of one-time passwords sent to one customer. Default: 10 an hour, then delays of 1 minute to
        /// 1 hour. It does not apply to sessions that the host itself starts.
        one_time_passwords_sent: ThrottleLimit = ThrottleLimit::new(10, HOUR).delays(MINUTE, HOUR),
        /// Sets the limit of reads and resets of machine clients' secrets by one user, whether or not they succeed.
        /// Default: 1,000 an hour, then delays of 1 second to 15 minutes. Clients often read one secret; reading all
        /// of them is a sign of a stolen token.
        secret_access: ThrottleLimit = ThrottleLimit::new(1_000, HOUR),
        /// Sets the number of names, addresses and pairs of both for which failures are counted. Default: 100,000,
        /// which takes up to 32 MB. Above that, those with the fewest failures are forgotten first.
        max_keys: usize = 100_000,
    }
    also {
    }
}
