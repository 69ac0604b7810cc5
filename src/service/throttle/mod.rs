//! Throttles guessing, before a guess costs any work.
//!
//! Failures are counted by name, by client network, and by pair of the two, whether or not the name exists. Above a
//! limit, an attempt has to wait, for longer after each failure; one that comes too soon is rejected without being
//! checked, and is not counted.
//!
//! 1. **An attempt is counted before it is checked**, and subtracted if it was right. A thousand concurrent attempts
//!    count as a thousand.
//! 2. **A success subtracts only itself.** An attacker with an account cannot reset other counts by logging in to
//!    it.
//! 3. **The owner of a name is delayed, never locked out.** Guesses from one network reach the limit of the pair
//!    long before that of the name; and for a network from which the owner has logged in before, the limit of the
//!    name does not apply. No delay is longer than the policy's longest.
//! 4. **An address is counted alike for all names.** It is checked and counted first, so that an exhausted limit
//!    does not reveal who has logged in from there.
//! 5. **Memory is bounded.** Above the maximum of keys, those with the fewest and oldest failures are evicted first.
//!
//! A machine client's secret is verified first, in microseconds: a caller with a generated secret is admitted, since
//! it cannot be guessed, and all others are subject to the limits.
//!
//! One-time passwords have limits of their own, by customer: a caller that knows the password can start any number
//! of sessions, with a few attempts each. So does the management of secrets, by user, where each access counts,
//! whatever its outcome.

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

/// How long a network stays known after a login.
const KNOWN_NETWORK_FOR: Duration = Duration::from_secs(30 * 86_400);
/// After this long, a login from a known network is recorded again.
const KNOWN_NETWORK_NOTED: Duration = Duration::from_secs(3_600);

/// Counts failures and decides who has to wait.
pub(crate) struct Throttle {
    limits: Limits,
    /// Keyed for each process, so that no attacker can choose names that collide.
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
    /// The pairs of name and network of successful logins.
    known_networks: Ledger,
}

/// The keys that an attempt counts against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThrottleKeys {
    counted: [Option<(Limit, u64)>; 3],
    /// The pair of network and name as written: names that look alike may belong to two people.
    known_network: Option<u64>,
}

/// An admitted attempt, whose outcome is to be reported. If it is dropped, it stays counted, except for its name if
/// it `counts_afterwards`.
#[derive(Debug)]
pub(crate) struct Permit {
    keys: ThrottleKeys,
    at: Timestamp,
    /// The previous state, to be restored, by limit and key.
    before: [Option<(Limit, u64, Timestamp)>; 3],
    /// From a known network, the owner may make many attempts at once. A wrong one counts against the name once that
    /// is known; their number is limited by that of concurrent password hashes.
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

    /// Returns the keys of an attempt with `name` from `address`. Names of one organization that look alike count as
    /// one.
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

    /// Returns the keys of wrong one-time passwords in a customer's sessions.
    pub(crate) fn keys_of_codes(&self, customer: &Subject) -> ThrottleKeys {
        self.single_key(Limit::WrongCodes, customer)
    }

    /// Returns the keys of one-time passwords that are sent to a customer.
    pub(crate) fn keys_of_sending(&self, customer: &Subject) -> ThrottleKeys {
        self.single_key(Limit::SentCodes, customer)
    }

    /// Returns the keys of a user's reads and resets of machine clients' secrets.
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

    /// Checks whether an attempt would be admitted, and counts nothing.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire).
    pub(crate) fn check(&self, keys: ThrottleKeys, now: Timestamp) -> Result<(), Error> {
        let mut ledgers = self.lock();
        let is_known_network = ledgers.is_known_network(keys, now);
        self.check_limits(&mut ledgers, keys, is_known_network, now)
    }

    /// Admits an attempt and counts it as a failure, until its outcome is reported.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Throttled`], with the time to wait, if it comes too soon.
    pub(crate) fn acquire(&self, keys: ThrottleKeys, now: Timestamp) -> Result<Permit, Error> {
        let mut ledgers = self.lock();
        let counts_afterwards = ledgers.is_known_network(keys, now);
        self.check_limits(&mut ledgers, keys, counts_afterwards, now)?;
        let counted = |limit: Limit| !counts_afterwards || limit == Limit::Address;
        let before = self.count(&mut ledgers, keys, counted, now);
        Ok(Permit { keys, at: now, before, counts_afterwards })
    }

    /// Reports that an attempt was wrong.
    pub(crate) fn failed(&self, permit: &Permit) {
        if permit.counts_afterwards {
            let uncounted = |limit: Limit| limit != Limit::Address;
            self.count(&mut self.lock(), permit.keys, uncounted, permit.at);
        }
    }

    /// Reports that an attempt was right.
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

    /// Subtracts an attempt that was right, or for which nothing was compared.
    pub(crate) fn give_back(&self, permit: &Permit) {
        let mut ledgers = self.lock();
        for (limit, key, before) in permit.before.iter().flatten() {
            let window = self.limits.of(*limit).window;
            ledgers.failures.give_back(*key, permit.at, *before, window);
        }
    }

    /// Drops records that no longer count.
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
        // Failures of others with the name, from other networks, do not delay an owner on a known network. Those
        // from this network do: an exemption would reveal that the network is known.
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

    /// Returns the maximum age of a failure that still counts.
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
    /// Returns how long the next attempt has to wait.
    fn remaining(&self, record: &Record, now: Timestamp) -> Duration {
        let wait = self.wait_after(record.failures(now, self.window));
        wait.saturating_sub(now.saturating_since(record.last))
    }
}

/// Returns the network that an address is throttled as. The holder of one IPv6 address has the other 2^64 of its
/// subnet, too (RFC 4291 §2.5.4), so these count as one.
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
