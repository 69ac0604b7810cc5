use std::fmt;

use crate::token::claims::Validated;

/// The revocations that a validator consults. A validator without them accepts every token that is
/// valid by itself.
pub(crate) trait Revocations: fmt::Debug + Send + Sync {
    /// Returns a number that is another after each revocation. A token that was not revoked at one
    /// epoch has to be looked up again at the next.
    fn epoch(&self) -> u64;

    /// Returns whether `token` is revoked.
    fn contains(&self, token: &Validated) -> bool;

    /// Returns whether revocations of other nodes may have been missed for longer than the policy
    /// allows.
    fn is_stale(&self) -> bool;

    /// Says in the log, once, where a host has not started what reads revocations and keys. To be
    /// called where a token cannot be judged for want of them.
    fn remind_of_start(&self);
}
