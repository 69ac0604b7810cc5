//! What the nodes are configured with, and by when what was answered has to hold everywhere.

use std::time::Duration;

pub const NODES: usize = 3;

/// `runtime.max_revocation_staleness`: a node that has heard nothing for longer accepts no token.
pub const STALENESS: Duration = Duration::from_secs(5);
/// `tokens.phantom_lifetime`.
pub const PHANTOM_LIFETIME: Duration = Duration::from_secs(10);
/// The time-to-live of `store::Cached`.
pub const COPIES_LIVE: Duration = Duration::from_secs(5);
/// `refresh_interval` of the schedule of keys.
pub const KEYS_REFRESH: Duration = Duration::from_secs(1);
/// `clock_tolerance` of the schedule of keys.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(3);
/// `http.jwks_max_age`.
pub const JWKS_MAX_AGE: Duration = Duration::from_secs(5);

/// For the scheduling of a loaded machine. What is really lost is lost for longer.
pub const SLACK: Duration = Duration::from_secs(3);
/// After which a node has read the feed and the keys again, once nothing keeps it from that: it tries every
/// second, and a call that hangs is given up after some seconds.
pub const RECOVERY: Duration = Duration::from_secs(6);
/// How long a request that nobody waits for any more may go on.
pub const LATE: Duration = Duration::from_secs(20);
/// Within which everything is served again after the last fault.
pub const SERVED_AGAIN: Duration = Duration::from_secs(40);
