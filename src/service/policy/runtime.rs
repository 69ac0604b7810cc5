use std::time::Duration;

use crate::service::policy::MINUTE;

settings! {
    /// Deadlines, staleness limits and the audit log.
    Runtime {
        /// Sets the deadline of one call of a store, after which the store counts as unavailable. Default: 5 seconds.
        store_deadline: Duration = Duration::from_secs(5),
        /// Sets how often the background work of [`start`](crate::TokenService::start) purges expired records.
        /// Default: 1 minute.
        housekeeping_interval: Duration = MINUTE,
        /// Sets how long tokens are accepted after the last successful read of the revocation feed. Default: 1
        /// minute, longer than a restart of the store and shorter than an outage. After that, and before the first
        /// read, requests with a token are rejected with a 503. It applies to durable stores
        /// ([`Store::is_durable`](crate::store::Store::is_durable)).
        max_revocation_staleness: Duration = MINUTE,
        /// Sets whether tokens are accepted after [`max_revocation_staleness`](Self::max_revocation_staleness), while
        /// the revocation feed cannot be read. Default: no.
        ///
        /// Dangerous: a token revoked on another node is accepted until the store is reachable again.
        dangerous_accept_stale_revocations: bool = false,
        /// Sets whether the audit log contains the names used at logins. Default: no. It contains a digest under a
        /// key derived from the sealing key, since people sometimes type a password into the name field.
        audit_shows_subjects: bool = false,
    }
    also {
    }
}
