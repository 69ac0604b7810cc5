use std::time::Duration;

use crate::service::policy::MINUTE;

settings! {
    /// How a service goes about its work beside others, and what it logs.
    Runtime {
        /// How long one call of a store may take: 5 seconds. Then it counts as out of reach.
        store_deadline: Duration = Duration::from_secs(5),
        /// How often the background work of [`start`](crate::TokenService::start) purges expired records: once a
        /// minute.
        housekeeping_interval: Duration = MINUTE,
        /// How long after the last successful read of the feed of revocations tokens are still accepted: 1 minute,
        /// longer than a restart of the store and shorter than an outage. After it, and before the first read,
        /// requests with a token are rejected with a 503. It applies to durable stores
        /// ([`Store::is_durable`](crate::store::Store::is_durable)).
        max_revocation_staleness: Duration = MINUTE,
        /// Whether tokens are accepted past [`max_revocation_staleness`](Self::max_revocation_staleness), while the feed
        /// of revocations cannot be read. Off.
        ///
        /// Dangerous: a token revoked on another node is accepted until the store is reachable again.
        dangerous_accept_stale_revocations: bool = false,
        /// Whether the audit log shows the names of those who log in. Off: it has a digest under a key
        /// derived from the sealing key, since people type passwords where names belong.
        audit_shows_subjects: bool = false,
    }
    also {
    }
}
