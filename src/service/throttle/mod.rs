//! Slowing down those who guess, before any of their guesses costs work.
//!
//! Failures are counted for each name, for each client's network, and for each pair of the two,
//! whether or not the name exists. Beyond what a limit lets pass, an attempt has to wait for
//! longer after each failure; one that comes too soon is refused without being looked at, and
//! does not count.
//!
//! 1. **An attempt is counted before it is looked at**, and given back where it was right. A
//!    thousand at once count as a thousand.
//! 2. **A success gives back itself, and clears its own pair alone.** Whoever has an account
//!    cannot wipe out what was counted against them elsewhere by logging in to it.
//! 3. **A true owner is delayed, never shut out.** One network's guesses are stopped by the pair's
//!    limit long before they reach the name's; and from where somebody has logged in before, the
//!    name's limit is not asked.
//! 4. **Memory is bounded.** Beyond the maximum of keys, what goes first has failed least, and
//!    longest ago.

mod ledger;
mod limit;
mod name;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::domain::claims::SubjectType;
use crate::error::{Error, ErrorKind};
use crate::service::policy::Policy;
use crate::service::throttle::ledger::{Ledger, Record};
use crate::service::throttle::name::fold;
use crate::telemetry;

pub use self::limit::ThrottleLimit;

/// How long a network is remembered that somebody has logged in from.
const FAMILIAR_FOR: Duration = Duration::from_secs(30 * 86_400);
/// A login from a familiar network is noted anew after this long.
const FAMILIAR_NOTED: Duration = Duration::from_secs(3_600);

/// Counts failures and says who has to wait.
pub(crate) struct Throttle {
    limits: Limits,
    /// Keyed for each process, so that nobody can choose names that collide.
    hasher: RandomState,
    ledgers: Mutex<Ledgers>,
}

#[derive(Clone, Copy)]
struct Limits {
    by_name: ThrottleLimit,
    by_address: ThrottleLimit,
    by_name_and_address: ThrottleLimit,
}

struct Ledgers {
    failures: Ledger,
    /// The pairs of name and network that a login has succeeded with.
    familiar: Ledger,
}

/// Whom an attempt counts against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspect {
    name: u64,
    /// The network, and its pair with the name.
    address: Option<(u64, u64)>,
}

/// An attempt that was let through and counted. Dropped, it stays counted.
#[derive(Debug)]
pub(crate) struct Admission {
    suspect: Suspect,
    at: Timestamp,
    /// What was there before it, to be put back.
    before: [Option<(u64, Timestamp)>; 3],
}

impl Throttle {
    pub(crate) fn new(policy: &Policy) -> Self {
        let capacity = policy.throttle_max_keys;
        let limits = Limits {
            by_name: policy.throttle_by_name,
            by_address: policy.throttle_by_address,
            by_name_and_address: policy.throttle_by_name_and_address,
        };
        let ledgers = Ledgers {
            failures: Ledger::new(capacity, limits.longest_memory()),
            familiar: Ledger::new(capacity, FAMILIAR_FOR),
        };
        Self { limits, hasher: RandomState::new(), ledgers: Mutex::new(ledgers) }
    }

    /// Whom an attempt with `name` from `address` counts against. Names that a person would take
    /// for one another count as one.
    pub(crate) fn suspect(
        &self,
        subject_type: SubjectType,
        name: &str,
        address: Option<IpAddr>,
    ) -> Suspect {
        let name = self.hasher.hash_one(("name", subject_type, fold(name)));
        let address = address.map(network_of).map(|network| {
            let pair = self.hasher.hash_one(("pair", name, network));
            (self.hasher.hash_one(("address", network)), pair)
        });
        Suspect { name, address }
    }

    /// Lets an attempt through and counts it as a failure, until it is told otherwise.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Throttled`], with the time to wait, where it comes too soon.
    pub(crate) fn admit(&self, suspect: Suspect, now: Timestamp) -> Result<Admission, Error> {
        let mut ledgers = self.lock();
        self.check(&mut ledgers, suspect, now)?;
        let mut before = [None; 3];
        for ((_, key, limit), before) in self.limits.of(suspect).zip(&mut before) {
            *before = Some((key, ledgers.failures.count(key, now, limit.window)));
        }
        telemetry::throttle_keys(ledgers.failures.len());
        Ok(Admission { suspect, at: now, before })
    }

    /// Whether an attempt would be let through. For credentials that are checked at once, without
    /// waiting for anything: a failure is then told to [`failed`](Self::failed).
    pub(crate) fn peek(&self, suspect: Suspect, now: Timestamp) -> Result<(), Error> {
        let mut ledgers = self.lock();
        if ledgers.failures.is_empty() {
            return Ok(());
        }
        self.check(&mut ledgers, suspect, now)
    }

    /// Counts a failure.
    pub(crate) fn failed(&self, suspect: Suspect, now: Timestamp) {
        let mut ledgers = self.lock();
        for (_, key, limit) in self.limits.of(suspect) {
            ledgers.failures.count(key, now, limit.window);
        }
        telemetry::throttle_keys(ledgers.failures.len());
    }

    /// Tells that an attempt was right.
    pub(crate) fn succeeded(&self, admission: &Admission) {
        self.give_back(admission);
        self.recognised(admission.suspect, admission.at);
    }

    /// Notes from where somebody has proven who they are, and forgets what they had mistyped there.
    pub(crate) fn recognised(&self, suspect: Suspect, now: Timestamp) {
        let Some((_, pair)) = suspect.address else { return };
        let mut ledgers = self.lock();
        ledgers.failures.remove(pair);
        let known = ledgers.familiar.get(pair).map(|record| record.last);
        if known.is_none_or(|last| now.saturating_since(last) >= FAMILIAR_NOTED) {
            ledgers.familiar.note(pair, now);
        }
    }

    /// Takes an attempt back that nothing was compared for.
    pub(crate) fn give_back(&self, admission: &Admission) {
        let mut ledgers = self.lock();
        for (key, before) in admission.before.iter().flatten() {
            ledgers.failures.give_back(*key, admission.at, *before);
        }
    }

    /// Forgets what no longer counts.
    pub(crate) fn purge(&self, now: Timestamp) {
        let mut ledgers = self.lock();
        ledgers.failures.purge(now);
        ledgers.familiar.purge(now);
        telemetry::throttle_keys(ledgers.failures.len());
    }

    fn check(&self, ledgers: &mut Ledgers, suspect: Suspect, now: Timestamp) -> Result<(), Error> {
        let familiar = suspect.address.is_some_and(|(_, pair)| {
            let known = ledgers.familiar.get(pair).map(|record| record.last);
            known.is_some_and(|last| now.saturating_since(last) < FAMILIAR_FOR)
        });
        let longest_wait = self
            .limits
            .of(suspect)
            .filter(|(limit_name, ..)| !(familiar && *limit_name == "name"))
            .filter_map(|(limit_name, key, limit)| {
                let record = ledgers.failures.as_of(key, now, limit.window)?;
                Some((limit.remaining(&record, now), limit_name))
            })
            .max();
        match longest_wait {
            Some((wait, limit_name)) if !wait.is_zero() => {
                telemetry::throttled(limit_name);
                Err(Error::new(ErrorKind::Throttled, "too many attempts: wait before the next")
                    .with_retry_after(wait))
            }
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ledgers> {
        self.ledgers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limits {
    /// The limits that a suspect is held to, each with its name and the key that it counts by.
    fn of(&self, suspect: Suspect) -> impl Iterator<Item = (&'static str, u64, &ThrottleLimit)> {
        let by_address = suspect.address.map(|(network, pair)| {
            [
                ("address", network, &self.by_address),
                ("name_and_address", pair, &self.by_name_and_address),
            ]
        });
        std::iter::once(("name", suspect.name, &self.by_name))
            .chain(by_address.into_iter().flatten())
    }

    /// How long ago a failure may be that still counts.
    fn longest_memory(&self) -> Duration {
        [self.by_name, self.by_address, self.by_name_and_address]
            .iter()
            .map(ThrottleLimit::memory)
            .max()
            .unwrap_or_default()
    }
}

impl ThrottleLimit {
    /// How long the next attempt has to wait.
    fn remaining(&self, record: &Record, now: Timestamp) -> Duration {
        let wait = self.wait_after(record.failures(now, self.window));
        wait.saturating_sub(now.saturating_since(record.last))
    }
}

/// The network that an address is throttled as. Whoever has one IPv6 address has the other 2^64 of
/// its subnet, too (RFC 4291 §2.5.4), so that these count as one.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let subnet = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(subnet))
        }
        v4 => v4,
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
