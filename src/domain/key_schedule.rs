//! The signing keys that nodes share, and when each of them signs.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::domain::sealing::Sealed;

/// A signing key that nodes share. Its private half is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledKey {
    pub(crate) kid: String,
    pub(crate) sealed: Sealed,
    pub(crate) announced_at: Timestamp,
    pub(crate) signs_from: Timestamp,
    pub(crate) retired_at: Option<Timestamp>,
}

impl ScheduledKey {
    /// Its RFC 7638 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// When it was made, to be published from then on.
    #[must_use]
    pub fn announced_at(&self) -> Timestamp {
        self.announced_at
    }

    /// When it begins to sign, in place of the one before it.
    #[must_use]
    pub fn signs_from(&self) -> Timestamp {
        self.signs_from
    }

    /// When it was ended before its time, as for a key that got into wrong hands.
    #[must_use]
    pub fn retired_at(&self) -> Option<Timestamp> {
        self.retired_at
    }
}

/// The signing keys that nodes share, in the order in which they sign.
///
/// It is one record, which every node reads and any of them may replace. What a key does at an
/// instant follows from the record and the instant: nodes turn to the next key together, without a
/// word, and also while the store is out of reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySchedule {
    pub(crate) keys: Vec<ScheduledKey>,
    pub(crate) version: u64,
}

impl KeySchedule {
    pub(crate) fn new(first: ScheduledKey) -> Self {
        Self { keys: vec![first], version: 1 }
    }

    /// The keys, in the order in which they sign.
    #[must_use]
    pub fn keys(&self) -> &[ScheduledKey] {
        &self.keys
    }

    /// Another number with every change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The same with a change, to be written over this one.
    pub(crate) fn changed(&self, change: impl FnOnce(&mut Vec<ScheduledKey>)) -> Self {
        let mut keys = self.keys.clone();
        change(&mut keys);
        Self { keys, version: self.version + 1 }
    }

    /// Which key signs: the last whose time has come. Where none's has, as for a clock that is
    /// behind that of whoever made the first, it is that one. Where that one was retired, it is the
    /// next that was not, by whatever clock: who retired it has that one sign, too.
    pub(crate) fn signing(&self, now: Timestamp) -> Option<usize> {
        let turn = self.keys.iter().rposition(|key| key.signs_from <= now).unwrap_or(0);
        let is_usable =
            |index: &usize| self.keys.get(*index).is_some_and(|key| key.retired_at.is_none());
        (turn..self.keys.len()).find(is_usable).or_else(|| (0..turn).rfind(is_usable))
    }

    /// When a key no longer verifies: `retention` after another took its place. One that was retired
    /// has ended, also by a clock that is behind that of whoever did it.
    pub(crate) fn ends_at(&self, index: usize, retention: Duration) -> Timestamp {
        if self.keys.get(index).is_some_and(|key| key.retired_at.is_some()) {
            return Timestamp::MIN;
        }
        self.keys.get(index + 1).map_or(Timestamp::MAX, |next| next.signs_from + retention)
    }

    /// When something will be otherwise than it is now.
    pub(crate) fn next_change(&self, now: Timestamp, retention: Duration) -> Option<Timestamp> {
        let begins = self.keys.iter().map(|key| key.signs_from);
        let ends = (0..self.keys.len()).map(|index| self.ends_at(index, retention));
        begins.chain(ends).filter(|change| *change > now).min()
    }

    /// How many keys at its beginning have ended. Those after an ended one may still be needed to
    /// tell its end.
    pub(crate) fn ended(&self, now: Timestamp, retention: Duration) -> usize {
        (0..self.keys.len()).take_while(|index| self.ends_at(*index, retention) <= now).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETENTION: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    fn schedule(signs_from: &[u64]) -> KeySchedule {
        let key = |(number, seconds): (usize, &u64)| ScheduledKey {
            kid: number.to_string(),
            sealed: Sealed::from_bytes(Vec::new()),
            announced_at: at(0),
            signs_from: at(*seconds),
            retired_at: None,
        };
        KeySchedule { keys: signs_from.iter().enumerate().map(key).collect(), version: 1 }
    }

    #[test]
    fn the_last_key_whose_time_has_come_signs_and_before_all_of_them_the_first() {
        let schedule = schedule(&[100, 200, 300]);
        let signing = [99, 100, 199, 200, 300, 1_000].map(|now| schedule.signing(at(now)));
        assert_eq!(signing, [0, 0, 0, 1, 2, 2].map(Some));
    }

    #[test]
    fn a_key_ends_when_what_it_signed_has_and_the_last_one_never_does() {
        let schedule = schedule(&[100, 200]);
        assert_eq!(schedule.ends_at(0, RETENTION), at(210));
        assert_eq!(schedule.ends_at(1, RETENTION), Timestamp::MAX);
        assert_eq!(schedule.ended(at(209), RETENTION), 0);
        assert_eq!(schedule.ended(at(210), RETENTION), 1);
    }

    #[test]
    fn a_retired_key_neither_signs_nor_verifies_and_its_neighbours_keep_their_times() {
        let mut schedule = schedule(&[100, 200, 300]);
        schedule.keys[1].retired_at = Some(at(205));
        for now in [199, 200, 204, 205, 299, 300] {
            let expected = if now < 200 { 0 } else { 2 };
            assert_eq!(schedule.signing(at(now)), Some(expected), "by a clock at {now}");
        }
        assert_eq!(schedule.ends_at(0, RETENTION), at(210));
        assert_eq!(schedule.ends_at(1, RETENTION), Timestamp::MIN);
        assert_eq!(schedule.ended(at(206), RETENTION), 0, "the one before it has not ended");
    }

    #[test]
    fn the_next_change_is_the_first_that_is_to_come() {
        let schedule = schedule(&[100, 200]);
        let change = |now| schedule.next_change(at(now), RETENTION);
        assert_eq!(change(50), Some(at(100)));
        assert_eq!(change(100), Some(at(200)));
        assert_eq!(change(200), Some(at(210)));
        assert_eq!(change(210), Some(Timestamp::MAX));
    }
}
