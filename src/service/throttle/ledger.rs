//! The failures by key, up to a maximum number of keys.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::clock::Timestamp;

/// A full ledger is searched for outdated records at most once a minute.
const PURGE_INTERVAL: Duration = Duration::from_secs(60);
/// The maximum by which readings of one clock may arrive out of order. A record further in the future was taken
/// before the clock was set back.
const DISORDER: Duration = Duration::from_secs(60);
/// One record in this many is reserved for keys that have not failed more than once.
const RECENT_SHARE: usize = 4;

/// The failures of one key in two adjacent windows: the earlier one counts in proportion to the part that a sliding
/// window still covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// The window that `current` counts, numbered since 1970.
    window: u64,
    previous: u32,
    current: u32,
    /// When it was last counted.
    pub(super) last: Timestamp,
    /// The sequence number of that count.
    sequence: u64,
    /// The tier that it is in; see [`Ledger`].
    tier: Tier,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tier {
    Recent,
    Failing,
}

impl Record {
    fn new(now: Timestamp, window: Duration) -> Self {
        let window = window_index(now, window);
        Self { window, previous: 0, current: 0, last: now, sequence: 0, tier: Tier::Recent }
    }

    /// Moves its windows to the present. After a clock was set back, nobody has to wait until it catches up: a
    /// record in the future counts as of now.
    fn advance_to(&mut self, now: Timestamp, window: Duration) {
        let is_ahead = self.last > now;
        let is_disorder = is_ahead && self.last.saturating_since(now) < DISORDER;
        let now = if is_disorder { self.last } else { now };
        let present = window_index(now, window);
        if is_ahead && !is_disorder {
            self.current = self.current.saturating_add(self.previous);
            (self.previous, self.window, self.last) = (0, present, now);
            return;
        }
        match present.saturating_sub(self.window) {
            0 => {}
            1 => (self.previous, self.current) = (self.current, 0),
            _ => (self.previous, self.current) = (0, 0),
        }
        self.window = present;
    }

    /// Returns the failures in the window that ends now, rounded up.
    pub(super) fn failures(&self, now: Timestamp, window: Duration) -> u32 {
        let length = micros(window);
        let left = length - now.max(self.last).as_micros() % length;
        let covered = u128::from(self.previous) * u128::from(left);
        let previous = covered.div_ceil(u128::from(length));
        self.current.saturating_add(u32::try_from(previous).unwrap_or(u32::MAX))
    }

    fn total(&self) -> u32 {
        self.previous.saturating_add(self.current)
    }
}

fn micros(window: Duration) -> u64 {
    u64::try_from(window.as_micros()).unwrap_or(u64::MAX).max(1)
}

fn window_index(now: Timestamp, window: Duration) -> u64 {
    now.as_micros() / micros(window)
}

/// Records by key, in two tiers. A new one is *recent*; of these, the one that was counted longest ago is evicted
/// first. One that is counted again is *failing*; of these, the one with the fewest failures is first moved back to
/// the recent ones, so that an attacker who fills this tier with keys of a few failures each cannot keep a new key
/// from being counted.
pub(super) struct Ledger {
    records: HashMap<u64, Record>,
    /// By sequence number and key.
    recent: BTreeSet<(u64, u64)>,
    /// By total, sequence number and key.
    failing: BTreeSet<(u32, u64, u64)>,
    /// The number of counts so far.
    counts: u64,
    capacity: usize,
    /// The maximum age of the last count of a record that is worth keeping.
    memory: Duration,
    purged_at: Option<Timestamp>,
}

impl Ledger {
    pub(super) fn new(capacity: usize, memory: Duration) -> Self {
        Self {
            records: HashMap::new(),
            recent: BTreeSet::new(),
            failing: BTreeSet::new(),
            counts: 0,
            capacity,
            memory,
            purged_at: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn get(&self, key: u64) -> Option<&Record> {
        self.records.get(&key)
    }

    /// Returns the record of a key as of now. A record in the future is corrected for good.
    pub(super) fn as_of(&mut self, key: u64, now: Timestamp, window: Duration) -> Option<Record> {
        let record = *self.records.get(&key)?;
        let mut turned = record;
        turned.advance_to(now, window);
        if record.last > now {
            self.remove(key);
            self.insert(key, turned);
        }
        Some(turned)
    }

    /// Counts a failure; returns the time of the previous one.
    pub(super) fn count(&mut self, key: u64, now: Timestamp, window: Duration) -> Timestamp {
        let mut before = now;
        self.change(key, now, window, |record| {
            before = record.last;
            record.last = now.max(record.last);
            record.current = record.current.saturating_add(1);
        });
        before
    }

    /// Subtracts a failure that was counted at `at`, after a failure at `before`. A failure that no longer counts is
    /// not subtracted from later ones.
    pub(super) fn give_back(
        &mut self,
        key: u64,
        at: Timestamp,
        before: Timestamp,
        window: Duration,
    ) {
        let Some(record) = self.remove(key) else { return };
        let mut given_back = record;
        match given_back.window.saturating_sub(window_index(at, window)) {
            0 => given_back.current = given_back.current.saturating_sub(1),
            1 => given_back.previous = given_back.previous.saturating_sub(1),
            _ => {}
        }
        if given_back.last == at {
            given_back.last = before;
        }
        if given_back.total() > 0 {
            self.insert(key, given_back);
        }
    }

    /// Adds a key without failures.
    pub(super) fn note(&mut self, key: u64, now: Timestamp) {
        self.change(key, now, PURGE_INTERVAL, |record| record.last = now);
    }

    fn remove(&mut self, key: u64) -> Option<Record> {
        let record = self.records.remove(&key)?;
        match record.tier {
            Tier::Recent => self.recent.remove(&(record.sequence, key)),
            Tier::Failing => self.failing.remove(&(record.total(), record.sequence, key)),
        };
        Some(record)
    }

    /// Drops records that no longer count.
    pub(super) fn purge(&mut self, now: Timestamp) {
        let memory = self.memory;
        let forgotten = |record: &Record| now.saturating_since(record.last) > memory;
        self.records.retain(|_, record| !forgotten(record));
        let records = &self.records;
        self.recent.retain(|(_, key)| records.contains_key(key));
        self.failing.retain(|(_, _, key)| records.contains_key(key));
        self.purged_at = Some(now);
    }

    fn change(
        &mut self,
        key: u64,
        now: Timestamp,
        window: Duration,
        change: impl FnOnce(&mut Record),
    ) {
        let mut record = match self.remove(key) {
            Some(mut record) => {
                record.advance_to(now, window);
                record
            }
            None => {
                self.make_room(now);
                Record::new(now, window)
            }
        };
        change(&mut record);
        self.counts += 1;
        record.sequence = self.counts;
        self.insert(key, record);
    }

    fn insert(&mut self, key: u64, mut record: Record) {
        if record.total() > 1 {
            record.tier = Tier::Failing;
        }
        match record.tier {
            Tier::Recent => self.recent.insert((record.sequence, key)),
            Tier::Failing => self.failing.insert((record.total(), record.sequence, key)),
        };
        self.records.insert(key, record);
        self.keep_to_the_shares();
    }

    /// Moves records with the fewest failures back to the recent ones, if there are too many.
    fn keep_to_the_shares(&mut self) {
        let recent_share = (self.capacity / RECENT_SHARE).max(1);
        while self.failing.len() > self.capacity.saturating_sub(recent_share) {
            let Some((_, sequence, least)) = self.failing.pop_first() else { return };
            if let Some(record) = self.records.get_mut(&least) {
                record.tier = Tier::Recent;
                self.recent.insert((sequence, least));
            }
        }
    }

    fn make_room(&mut self, now: Timestamp) {
        if self.records.len() < self.capacity {
            return;
        }
        let recently = |at: Timestamp| now.saturating_since(at) < PURGE_INTERVAL;
        if !self.purged_at.is_some_and(recently) {
            self.purge(now);
        }
        while self.records.len() >= self.capacity {
            let Some((_, oldest)) = self.recent.pop_first() else { return };
            self.records.remove(&oldest);
        }
    }
}
