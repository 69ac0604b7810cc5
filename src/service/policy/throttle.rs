use crate::service::policy::{DAY, HOUR, MINUTE, ThrottleLimit};
use std::time::Duration;

settings! {
    /// How many attempts are let pass before the next one has to wait.
    Throttle {
        /// How many failures one name may have from everywhere together: 100 a day (NIST SP 800-63B),
        /// then delays of 1 second to 15 minutes. From where its owner has logged in before, it is not
        /// asked.
        by_name: ThrottleLimit = ThrottleLimit::new(100, DAY),
        /// How many failures one address (of IPv6, one /64) may have with all names together: 100 in
        /// 15 minutes, since an office may share one, then delays of 1 second to 15 minutes. It holds for
        /// every name, also where its owner has logged in from there before: who has is not told.
        by_address: ThrottleLimit = ThrottleLimit::new(100, 15 * MINUTE),
        /// How many failures one name may have from one address: 10 a day, then delays of 1 second to 1
        /// hour. Guessing all day yields some 45, which is less than half of what the name's own limit
        /// lets pass: one attacker cannot use that up and delay the owner elsewhere.
        by_name_and_address: ThrottleLimit = ThrottleLimit::new(10, DAY)
                .delays(Duration::from_secs(1), HOUR),
        /// How many wrong one-time passwords one customer may have in all sessions together: 10 a day,
        /// then delays of 1 second to 1 hour. Whoever knows the password starts as many sessions as they
        /// like, and each stands a few tries: this is what keeps a code of six digits from being guessed.
        one_time_passwords: ThrottleLimit = ThrottleLimit::new(10, DAY)
                .delays(Duration::from_secs(1), HOUR),
        /// How many one-time passwords are sent to one customer: 10 an hour, then delays of 1 minute to
        /// 1 hour. Sessions that the host starts itself are not held to it.
        one_time_passwords_sent: ThrottleLimit = ThrottleLimit::new(10, HOUR).delays(MINUTE, HOUR),
        /// How often one user may read and reset secrets of machine clients, whatever comes of it: 1,000
        /// times an hour, then after delays of 1 second to 15 minutes. Reading one as often as asked is
        /// what clients do; reading all of them is what a stolen token does.
        secret_access: ThrottleLimit = ThrottleLimit::new(1_000, HOUR),
        /// How many names, addresses and pairs of them failures are kept of: 100,000, which takes up to
        /// 32 MB. Beyond it, what has failed least is forgotten first.
        max_keys: usize = 100_000,
    }
    also {
    }
}
