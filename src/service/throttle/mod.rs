//! Slowing down those who guess, before any of their guesses costs work.
//!
//! Failures are counted for each name, for each client's network, and for each pair of the two,
//! whether or not the name exists. Beyond what a limit lets pass, an attempt has to wait for
//! longer after each failure; one that comes too soon is rejected without being looked at, and
//! does not count.
//!
//! 1. **An attempt is counted before it is looked at**, and given back where it was right. A
//!    thousand at once count as a thousand.
//! 2. **A success gives back itself and nothing else.** Whoever has an account cannot wipe out what
//!    was counted against them elsewhere by logging in to it.
//! 3. **A true owner is delayed, never shut out.** One network's guesses are stopped by the pair's
//!    limit long before they reach the name's; and from where somebody has logged in before, the
//!    name's limit is not asked. No delay is longer than the policy's longest.
//! 4. **An address is counted alike whatever the name.** It is asked and counted first for all, so
//!    that one which is used up tells nobody who has logged in from there.
//! 5. **Memory is bounded.** Beyond the maximum of keys, what goes first has failed least, and
//!    longest ago.
//!
//! A machine client's secret is checked first, in microseconds: who has a generated one is let
//! through, since nobody guesses it, and all others are held to the limits.
//!
//! One-time passwords have limits of their own, by customer: whoever knows the password starts
//! sessions as often as they like, and each of them stands a few tries. So has managing secrets, by
//! user, where each access counts, whatever comes of it.

mod ledger;

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::service::model::name::fold;
use crate::service::model::subject::Subject;
use crate::service::policy::{Policy, ThrottleLimit};
use crate::service::telemetry;
use crate::service::throttle::ledger::{Ledger, Record};
use crate::token::claims::SubjectType;
use crate::token::identifier::OrganizationId;

/// How long a network is remembered that somebody has logged in from.
const KNOWN_NETWORK_FOR: Duration = Duration::from_secs(30 * 86_400);
/// A login from a known network is noted anew after this long.
const KNOWN_NETWORK_NOTED: Duration = Duration::from_secs(3_600);

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
    wrong_codes: ThrottleLimit,
    sent_codes: ThrottleLimit,
    secret_access: ThrottleLimit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Name,
    Address,
    NameAndAddress,
    WrongCodes,
    SentCodes,
    SecretAccess,
}

impl Limit {
    fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Address => "address",
            Self::NameAndAddress => "name_and_address",
            Self::WrongCodes => "one_time_passwords",
            Self::SentCodes => "one_time_passwords_sent",
            Self::SecretAccess => "secret_access",
        }
    }
}

struct Ledgers {
    failures: Ledger,
    /// The pairs of name and network that a login has succeeded with.
    known_networks: Ledger,
}

/// Whom an attempt counts against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThrottleKeys {
    counted: [Option<(Limit, u64)>; 3],
    /// The pair of the network and the name as it was written: two names may look alike and be two
    /// people's.
    known_network: Option<u64>,
}

/// An attempt that was let through, to be told what came of it. One that is dropped stays as it is:
/// counted, but for its name where that `counts_afterwards`.
#[derive(Debug)]
pub(crate) struct Permit {
    keys: ThrottleKeys,
    at: Timestamp,
    /// What was there before it, to be put back, by limit and key.
    before: [Option<(Limit, u64, Timestamp)>; 3],
    /// From where somebody has logged in before, they do so many times at once. What is wrong
    /// counts against the name once that is known; no more can be under way than passwords are
    /// hashed at once.
    counts_afterwards: bool,
}

impl Throttle {
    pub(crate) fn new(policy: &Policy) -> Self {
        let capacity = policy.throttle.max_keys;
        let limits = Limits {
            by_name: policy.throttle.by_name,
            by_address: policy.throttle.by_address,
            by_name_and_address: policy.throttle.by_name_and_address,
            wrong_codes: policy.throttle.one_time_passwords,
            sent_codes: policy.throttle.one_time_passwords_sent,
            secret_access: policy.throttle.secret_access,
        };
        let ledgers = Ledgers {
            failures: Ledger::new(capacity, limits.longest_memory()),
            known_networks: Ledger::new(capacity, KNOWN_NETWORK_FOR),
        };
        Self { limits, hasher: RandomState::new(), ledgers: Mutex::new(ledgers) }
    }

    /// Whom an attempt with `name` from `address` counts against. Names of one organization that a person would
    /// take for one another count as one.
    pub(crate) fn keys(
        &self,
        subject_type: SubjectType,
        organization: Option<&str>,
        name: &str,
        address: Option<IpAddr>,
    ) -> ThrottleKeys {
        let whom = (subject_type, organization);
        let folded = self.hasher.hash_one((Limit::Name.as_str(), whom, fold(name)));
        let mut keys = ThrottleKeys {
            counted: [Some((Limit::Name, folded)), None, None],
            known_network: None,
        };
        if let Some(network) = address.map(network_of) {
            let key =
                |limit: Limit, name: u64| self.hasher.hash_one((limit.as_str(), name, network));
            keys.counted[1] = Some((Limit::Address, key(Limit::Address, 0)));
            keys.counted[2] = Some((Limit::NameAndAddress, key(Limit::NameAndAddress, folded)));
            keys.known_network = Some(self.hasher.hash_one((whom, name, network)));
        }
        keys
    }

    /// Whom wrong one-time passwords of a customer's sessions count against.
    pub(crate) fn keys_of_codes(&self, customer: &Subject) -> ThrottleKeys {
        self.single_key(Limit::WrongCodes, customer)
    }

    /// Whom one-time passwords count against that are sent to a customer.
    pub(crate) fn keys_of_sending(&self, customer: &Subject) -> ThrottleKeys {
        self.single_key(Limit::SentCodes, customer)
    }

    /// Whom it counts against that a user reads or resets secrets of machine clients.
    pub(crate) fn keys_of_managing(
        &self,
        organization: Option<&OrganizationId>,
        user: &str,
    ) -> ThrottleKeys {
        self.single_key(Limit::SecretAccess, (organization, user))
    }

    fn single_key(&self, limit: Limit, whom: impl Hash) -> ThrottleKeys {
        let key = self.hasher.hash_one((limit.as_str(), whom));
        ThrottleKeys { counted: [Some((limit, key)), None, None], known_network: None }
    }

    /// Looks whether an attempt would be let through, and counts nothing.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire).
    pub(crate) fn check(&self, keys: ThrottleKeys, now: Timestamp) -> Result<(), Error> {
        let mut ledgers = self.lock();
        let is_known_network = ledgers.is_known_network(keys, now);
        self.check_limits(&mut ledgers, keys, is_known_network, now)
    }

    /// Lets an attempt through and counts it as a failure, until it is told otherwise.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Throttled`], with the time to wait, where it comes too soon.
    pub(crate) fn acquire(&self, keys: ThrottleKeys, now: Timestamp) -> Result<Permit, Error> {
        let mut ledgers = self.lock();
        let counts_afterwards = ledgers.is_known_network(keys, now);
        self.check_limits(&mut ledgers, keys, counts_afterwards, now)?;
        let counted = |limit: Limit| !counts_afterwards || limit == Limit::Address;
        let before = self.count(&mut ledgers, keys, counted, now);
        Ok(Permit { keys, at: now, before, counts_afterwards })
    }

    /// Tells that an attempt was wrong.
    pub(crate) fn failed(&self, permit: &Permit) {
        if permit.counts_afterwards {
            let uncounted = |limit: Limit| limit != Limit::Address;
            self.count(&mut self.lock(), permit.keys, uncounted, permit.at);
        }
    }

    /// Tells that an attempt was right.
    pub(crate) fn succeeded(&self, permit: &Permit) {
        self.give_back(permit);
        let Some(pair) = permit.keys.known_network else { return };
        let now = permit.at;
        let mut ledgers = self.lock();
        let known = ledgers.known_networks.get(pair).map(|record| record.last);
        if known.is_none_or(|last| now.saturating_since(last) >= KNOWN_NETWORK_NOTED) {
            ledgers.known_networks.note(pair, now);
        }
    }

    /// Takes an attempt back that was right, or that nothing was compared for.
    pub(crate) fn give_back(&self, permit: &Permit) {
        let mut ledgers = self.lock();
        for (limit, key, before) in permit.before.iter().flatten() {
            let window = self.limits.of(*limit).window;
            ledgers.failures.give_back(*key, permit.at, *before, window);
        }
    }

    /// Forgets what no longer counts.
    pub(crate) fn purge(&self, now: Timestamp) {
        let mut ledgers = self.lock();
        ledgers.failures.purge(now);
        ledgers.known_networks.purge(now);
        telemetry::throttle_keys(ledgers.failures.len());
    }

    fn count(
        &self,
        ledgers: &mut Ledgers,
        keys: ThrottleKeys,
        is_counted: impl Fn(Limit) -> bool,
        now: Timestamp,
    ) -> [Option<(Limit, u64, Timestamp)>; 3] {
        let before = keys.counted.map(|key| {
            let (limit, key) = key.filter(|(limit, _)| is_counted(*limit))?;
            Some((limit, key, ledgers.failures.count(key, now, self.limits.of(limit).window)))
        });
        telemetry::throttle_keys(ledgers.failures.len());
        before
    }

    fn check_limits(
        &self,
        ledgers: &mut Ledgers,
        keys: ThrottleKeys,
        is_known_network: bool,
        now: Timestamp,
    ) -> Result<(), Error> {
        // What others do with the name elsewhere is no matter of somebody's who has logged in from
        // here. What they do from here is: an exemption would tell them who has.
        let asked = |limit: Limit| !is_known_network || limit != Limit::Name;
        let longest_wait = keys
            .counted
            .into_iter()
            .flatten()
            .filter(|(limit, _)| asked(*limit))
            .filter_map(|(name, key)| {
                let limit = self.limits.of(name);
                let record = ledgers.failures.as_of(key, now, limit.window)?;
                Some((limit.remaining(&record, now), name.as_str()))
            })
            .max();
        match longest_wait {
            Some((wait, limit)) if !wait.is_zero() => {
                telemetry::throttled(limit);
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

impl Ledgers {
    fn is_known_network(&self, keys: ThrottleKeys, now: Timestamp) -> bool {
        let known = keys.known_network.and_then(|pair| self.known_networks.get(pair));
        known.is_some_and(|record| now.saturating_since(record.last) < KNOWN_NETWORK_FOR)
    }
}

impl Limits {
    fn of(&self, limit: Limit) -> &ThrottleLimit {
        match limit {
            Limit::Name => &self.by_name,
            Limit::Address => &self.by_address,
            Limit::NameAndAddress => &self.by_name_and_address,
            Limit::WrongCodes => &self.wrong_codes,
            Limit::SentCodes => &self.sent_codes,
            Limit::SecretAccess => &self.secret_access,
        }
    }

    /// How long ago a failure may be that still counts.
    fn longest_memory(&self) -> Duration {
        [
            self.by_name,
            self.by_address,
            self.by_name_and_address,
            self.wrong_codes,
            self.sent_codes,
            self.secret_access,
        ]
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
