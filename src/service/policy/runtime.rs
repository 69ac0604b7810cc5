use std::time::Duration;

use crate::service::policy::MINUTE;

settings! {
    /// How a service goes about its work beside others, and what it logs.
    Runtime {
        /// How long one call of a store may take: 5 seconds. Then it counts as out of reach.
        store_deadline: Duration = Duration::from_secs(5),
        /// How often what [`start`](crate::TokenService::start) runs tidies up: once a
        /// minute.
        housekeeping_interval: Duration = MINUTE,
        /// For how long tokens are accepted where the store cannot be asked what other nodes revoked:
        /// a minute. Longer than a restart of the store, and not as long as an outage. Then they are
        /// answered 503, as they are before the store was asked for the first time. It is for stores
        /// that last ([`Store::is_durable`](crate::store::Store::is_durable)).
        max_revocation_staleness: Duration = MINUTE,
        /// Whether tokens are accepted for as long as the store cannot be asked what other nodes
        /// revoked, past [`max_revocation_staleness`](Self::max_revocation_staleness): they are not.
        ///
        /// Dangerous: what was revoked on another node is let through until the store is there again.
        dangerous_accept_stale_revocations: bool = false,
        /// Whether the audit log shows the names of those who log in. Off: it has a digest under a key
        /// derived from the sealing key, since people type passwords where names belong.
        audit_shows_subjects: bool = false,
    }
    also {
    }
}
