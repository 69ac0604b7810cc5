//! The signing keys that nodes share, and the times at which each of them signs.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::service::model::sealing::Sealed;

/// A signing key that nodes share. Its private part is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledKey {
    pub(crate) kid: String,
    pub(crate) sealed: Sealed,
    pub(crate) announced_at: Timestamp,
    pub(crate) signs_from: Timestamp,
    pub(crate) retired_at: Option<Timestamp>,
}

impl ScheduledKey {
    /// Returns the key's RFC 7638 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Returns when the key was generated; it is published from then on.
    #[must_use]
    pub fn announced_at(&self) -> Timestamp {
        self.announced_at
    }

    /// Returns when the key starts to sign, in place of the previous one.
    #[must_use]
    pub fn signs_from(&self) -> Timestamp {
        self.signs_from
    }

    /// Returns when the key was retired ahead of the schedule, such as after a leak.
    #[must_use]
    pub fn retired_at(&self) -> Option<Timestamp> {
        self.retired_at
    }
}

impl ScheduledKey {
    fn into_retired(self) -> Option<RetiredKey> {
        let retired_at = self.retired_at?;
        Some(RetiredKey { kid: self.kid, retired_at })
    }
}

/// A retired key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetiredKey {
    pub(crate) kid: String,
    pub(crate) retired_at: Timestamp,
}

impl RetiredKey {
    /// Returns the key's RFC 7638 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Returns when the key was retired.
    #[must_use]
    pub fn retired_at(&self) -> Timestamp {
        self.retired_at
    }
}

/// The signing keys that nodes share, in the order in which they sign.
///
/// It is one record that every node reads and may replace. The record and the time together determine what each key
/// does, so all nodes switch to the next key at the same time without communicating, even if the store is
/// unreachable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySchedule {
    pub(crate) keys: Vec<ScheduledKey>,
    /// Keys that were retired and are no longer in `keys`: none of them may return, whatever happens to the record.
    pub(crate) retired: Vec<RetiredKey>,
    pub(crate) version: u64,
}

impl KeySchedule {
    pub(crate) fn new(first: ScheduledKey) -> Self {
        Self { keys: vec![first], retired: Vec::new(), version: 1 }
    }

    /// Returns the keys, in the order in which they sign.
    #[must_use]
    pub fn keys(&self) -> &[ScheduledKey] {
        &self.keys
    }

    /// Returns the keys that were retired and are no longer among the [`keys`](Self::keys). They are kept until the
    /// last of their tokens has expired.
    #[must_use]
    pub fn retired(&self) -> &[RetiredKey] {
        &self.retired
    }

    /// Returns the version of the record, which differs after each change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Returns the record with the next version.
    #[must_use]
    pub fn next_version(mut self) -> Self {
        self.version += 1;
        self
    }

    /// Returns the signing key: the last one whose start has been reached. If none has started, as on a clock behind
    /// that of the node that generated the first, it is the first one. If that one was retired, it is the next one
    /// that was not, on any clock: the retiring node lets that one sign, too.
    pub(crate) fn signing(&self, now: Timestamp) -> Option<usize> {
        let turn = self.keys.iter().rposition(|key| key.signs_from <= now).unwrap_or(0);
        let is_usable =
            |index: &usize| self.keys.get(*index).is_some_and(|key| key.retired_at.is_none());
        (turn..self.keys.len()).find(is_usable).or_else(|| (0..turn).rfind(is_usable))
    }

    /// Returns when a key no longer verifies: `retention` after the next key replaced it. A retired key has ended,
    /// also on a clock behind that of the node that retired it; and it replaced no other key if none follows it.
    pub(crate) fn ends_at(&self, index: usize, retention: Duration) -> Timestamp {
        if self.keys.get(index).is_some_and(|key| key.retired_at.is_some()) {
            return Timestamp::MIN;
        }
        if self.keys.iter().skip(index + 1).all(|key| key.retired_at.is_some()) {
            return Timestamp::MAX;
        }
        self.keys.get(index + 1).map_or(Timestamp::MAX, |next| next.signs_from + retention)
    }

    /// Returns the time of the next change.
    pub(crate) fn next_change(&self, now: Timestamp, retention: Duration) -> Option<Timestamp> {
        let begins = self.keys.iter().map(|key| key.signs_from);
        let ends = (0..self.keys.len()).map(|index| self.ends_at(index, retention));
        begins.chain(ends).filter(|change| *change > now).min()
    }

    /// Returns how many keys at the beginning have ended. Keys after an ended one may still be needed to compute its
    /// end.
    fn ended_count(&self, now: Timestamp, retention: Duration) -> usize {
        (0..self.keys.len()).take_while(|index| self.ends_at(*index, retention) <= now).count()
    }

    /// Removes keys that have ended, except the last one. The retirement of a removed key is kept until no token of
    /// it can be valid.
    pub(crate) fn drop_ended(&mut self, now: Timestamp, retention: Duration) {
        let ended = self.ended_count(now, retention);
        let ended = self.keys.drain(..ended.min(self.keys.len().saturating_sub(1)));
        self.retired.extend(ended.filter_map(ScheduledKey::into_retired));
        self.forget_retirements(now, retention);
    }

    /// Announces the next key if it is due on both of two clocks; `make` generates it, given its start. A key signs
    /// for a `period`, and is published for `announcement` before that, on the clock that is ahead.
    pub(crate) fn announce_if_due(
        &mut self,
        (earlier, later): (Timestamp, Timestamp),
        period: Duration,
        announcement: Duration,
        make: impl FnOnce(Timestamp) -> Result<ScheduledKey, Error>,
    ) -> Result<(), Error> {
        let Some(last) = self.keys.last() else { return Ok(()) };
        if last.signs_from + period <= earlier + announcement {
            self.keys.push(make(later + announcement)?);
        }
        Ok(())
    }

    /// Adds a key that signs at once, if no other key may sign.
    pub(crate) fn ensure_signing(
        &mut self,
        now: Timestamp,
        make: impl FnOnce(Timestamp) -> Result<ScheduledKey, Error>,
    ) -> Result<(), Error> {
        if self.signing(now).is_none() {
            self.keys.push(make(now)?);
        }
        Ok(())
    }

    /// Returns every key that is known to be retired, with the time.
    pub(crate) fn retirements(&self) -> impl Iterator<Item = (&str, Timestamp)> {
        let among_keys = self.keys.iter().filter_map(|key| Some((&*key.kid, key.retired_at?)));
        among_keys.chain(self.retired.iter().map(|key| (&*key.kid, key.retired_at)))
    }

    /// Retires the keys that are known to be retired, whatever happened to the record since. A key that is not in
    /// the schedule is noted for as long as a token of it may be valid.
    pub(crate) fn apply_retirements<'a>(
        &mut self,
        retirements: impl IntoIterator<Item = (&'a str, Timestamp)>,
        now: Timestamp,
        retention: Duration,
    ) {
        for (kid, retired_at) in retirements {
            if let Some(key) = self.keys.iter_mut().find(|key| key.kid == kid) {
                key.retired_at.get_or_insert(retired_at);
            } else if self.retired.iter().all(|key| key.kid != kid) {
                self.retired.push(RetiredKey { kid: kid.to_owned(), retired_at });
            }
        }
        self.forget_retirements(now, retention);
    }

    fn forget_retirements(&mut self, now: Timestamp, retention: Duration) {
        self.retired.retain(|key| now < key.retired_at + retention);
    }

    /// Returns whether a store with the record `found` was restored to a state before this record was written:
    /// `found` has an earlier version, or the same version, written by another node, without some of these keys.
    pub(crate) fn is_lost_in(&self, found: &Self, is_retired: impl Fn(&str) -> bool) -> bool {
        let is_missing = |key: &ScheduledKey| {
            found.keys.iter().all(|other| other.kid != key.kid) && !is_retired(&key.kid)
        };
        self.version > found.version
            || self.version == found.version && self.keys.iter().any(is_missing)
    }

    /// Merges a newer record, after a store was restored to an earlier state: adds the keys that this record lacks
    /// or has in another form. Retired keys that only this record has are dropped.
    pub(crate) fn merge_newer(&mut self, newer: &Self, is_retired: impl Fn(&str) -> bool) {
        let older = std::mem::replace(&mut self.keys, newer.keys.clone());
        let is_known = |kid: &str| newer.keys.iter().any(|known| known.kid == kid);
        let is_kept = |key: &ScheduledKey| !is_known(&key.kid) && !is_retired(&key.kid);
        self.keys.extend(older.into_iter().filter(is_kept));
        self.keys.sort_by_key(|key| key.signs_from);
        self.version = self.version.max(newer.version);
    }

    /// Lets the next key sign as soon as all nodes have it, which is `propagation` after its announcement. If none
    /// is announced, `make` generates one, given its start. Returns the start.
    pub(crate) fn rotate_early(
        &mut self,
        now: Timestamp,
        propagation: Duration,
        make: impl FnOnce(Timestamp) -> Result<ScheduledKey, Error>,
    ) -> Result<Timestamp, Error> {
        match self.keys.iter_mut().find(|key| key.signs_from > now) {
            Some(next) => {
                let known_to_all = now.max(next.announced_at + propagation);
                next.signs_from = next.signs_from.min(known_to_all);
                Ok(next.signs_from)
            }
            None => {
                self.keys.push(make(now + propagation)?);
                Ok(now + propagation)
            }
        }
    }

    /// Retires a key now. If it signs, the next key replaces it, or one that `make` generates.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if no key has that `kid`; and the errors of `make`.
    pub(crate) fn retire(
        &mut self,
        kid: &str,
        now: Timestamp,
        make: impl FnOnce(Timestamp) -> Result<ScheduledKey, Error>,
    ) -> Result<(), Error> {
        let none = || Error::new(ErrorKind::NotFound, "no key has that kid");
        let retired = self.keys.iter().position(|key| key.kid == kid).ok_or_else(none)?;
        if self.signing(now) == Some(retired) {
            let mut later = self.keys.iter_mut().skip(retired + 1);
            match later.find(|key| key.signs_from > now) {
                Some(next) => next.signs_from = now,
                None => self.keys.push(make(now)?),
            }
        }
        // A key that never signed is removed without a trace.
        self.keys[retired].retired_at = Some(now);
        if self.keys[retired].signs_from > now {
            let never_signed = self.keys.remove(retired);
            self.retired.extend(never_signed.into_retired());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
