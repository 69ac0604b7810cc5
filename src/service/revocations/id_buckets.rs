use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::token::identifier::{SessionId, TokenId};

const HOUR: Duration = Duration::from_secs(3_600);
/// In how many parts each bucket grows, so that none of them is copied for long under the lock.
const SHARDS: usize = 256;
/// How many buckets the longest life of a token takes: each is looked into at a check.
const BUCKETS: u32 = 24;

/// Ids of tokens and sessions that are revoked, as digests, in buckets by when they may be forgotten.
///
/// A bucket is forgotten as a whole. So an id is kept for longer than it has to be: by an hour at most, or
/// by a 24th of the longest life of a token, where that is more than a day.
pub(super) struct IdBuckets {
    width: u64,
    buckets: BTreeMap<u64, Bucket>,
    len: usize,
}

impl IdBuckets {
    pub(super) fn new(longest_life: Duration) -> Self {
        let width = (longest_life / BUCKETS).max(HOUR).as_micros();
        Self { width: u64::try_from(width).unwrap_or(u64::MAX), buckets: BTreeMap::new(), len: 0 }
    }

    pub(super) fn insert(&mut self, id: IdDigest, until: Timestamp) {
        let number = until.as_micros().div_ceil(self.width);
        if self.buckets.entry(number).or_default().insert(id) {
            self.len += 1;
        }
    }

    pub(super) fn contains(&self, id: IdDigest) -> bool {
        self.buckets.values().any(|bucket| bucket.contains(id))
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there is something to forget.
    pub(super) fn has_ended(&self, now: Timestamp) -> bool {
        self.buckets.keys().next().is_some_and(|first| *first <= self.last_ended(now))
    }

    /// Takes what may be forgotten, for the caller to drop: that takes time.
    pub(super) fn take_ended(&mut self, now: Timestamp) -> BTreeMap<u64, Bucket> {
        let live = self.buckets.split_off(&(self.last_ended(now) + 1));
        let ended = std::mem::replace(&mut self.buckets, live);
        self.len -= ended.values().map(|bucket| bucket.len).sum::<usize>();
        ended
    }

    fn last_ended(&self, now: Timestamp) -> u64 {
        now.as_micros() / self.width
    }
}

/// How many there are, and none of them.
impl fmt::Debug for IdBuckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdBuckets").field("len", &self.len).finish_non_exhaustive()
    }
}

pub(super) struct Bucket {
    shards: Vec<HashSet<IdDigest, BuildHasherDefault<DigestHasher>>>,
    len: usize,
}

impl Bucket {
    fn insert(&mut self, id: IdDigest) -> bool {
        let is_new = self.shards.get_mut(id.shard()).is_some_and(|shard| shard.insert(id));
        self.len += usize::from(is_new);
        is_new
    }

    fn contains(&self, id: IdDigest) -> bool {
        self.shards.get(id.shard()).is_some_and(|shard| shard.contains(&id))
    }
}

impl Default for Bucket {
    fn default() -> Self {
        Self { shards: vec![HashSet::default(); SHARDS], len: 0 }
    }
}

/// 128 bits of an id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct IdDigest([u64; 2]);

impl IdDigest {
    fn shard(self) -> usize {
        let [_, second] = self.0;
        usize::try_from(second % SHARDS as u64).unwrap_or(0)
    }
}

impl Hash for IdDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [first, _] = self.0;
        state.write_u64(first);
    }
}

/// Makes digests with keys of this process, so that nobody can choose two ids of one digest.
#[derive(Debug, Default)]
pub(super) struct IdDigester([RandomState; 2]);

impl IdDigester {
    pub(super) fn token(&self, id: &TokenId) -> IdDigest {
        self.digest("token", id.as_str())
    }

    pub(super) fn session(&self, id: &SessionId) -> IdDigest {
        self.digest("session", id.as_str())
    }

    fn digest(&self, kind: &str, id: &str) -> IdDigest {
        IdDigest(self.0.each_ref().map(|keys| keys.hash_one((kind, id))))
    }
}

/// Of a digest, which needs no hash.
#[derive(Default)]
pub(super) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        Timestamp::from_secs(1_767_225_600)
    }

    fn filled(digester: &IdDigester, count: u64, until: Timestamp) -> IdBuckets {
        let mut ids = IdBuckets::new(HOUR);
        for number in 0..count {
            ids.insert(digester.token(&id(number)), until);
        }
        ids
    }

    fn id(number: u64) -> TokenId {
        TokenId::new(format!("jti-{number}")).unwrap()
    }

    #[test]
    fn each_id_is_found_and_no_other_one() {
        let digester = IdDigester::default();
        let ids = filled(&digester, 10_000, start());
        assert_eq!(ids.len(), 10_000);
        assert!((0..10_000).all(|number| ids.contains(digester.token(&id(number)))));
        assert!((10_000..20_000).all(|number| !ids.contains(digester.token(&id(number)))));
        // A session and a token may have one id, and are two things.
        assert!(!ids.contains(digester.session(&SessionId::new("jti-1").unwrap())));
    }

    #[test]
    fn the_same_twice_is_one() {
        let digester = IdDigester::default();
        let mut ids = filled(&digester, 10, start());
        ids.insert(digester.token(&id(1)), start());
        assert_eq!(ids.len(), 10);
    }

    #[test]
    fn what_has_ended_goes_as_a_whole_within_the_width_of_a_bucket() {
        let digester = IdDigester::default();
        let mut ids = filled(&digester, 10, start());
        ids.insert(digester.token(&id(11)), start() + Duration::from_micros(1));
        assert!(!ids.has_ended(start() - Duration::from_micros(1)));
        assert!(ids.has_ended(start()));
        drop(ids.take_ended(start()));
        assert_eq!(ids.len(), 1);
        assert!(!ids.has_ended(start() + HOUR - Duration::from_micros(1)));
        drop(ids.take_ended(start() + HOUR));
        assert_eq!(ids.len(), 0);
    }

    #[test]
    fn however_long_tokens_live_a_check_looks_into_few_buckets() {
        let digester = IdDigester::default();
        for days in [1, 30, 3_650] {
            let life = Duration::from_secs(days * 86_400);
            let mut ids = IdBuckets::new(life);
            for number in 0..10_000 {
                let until = start() + life * u32::try_from(number).unwrap() / 10_000;
                ids.insert(digester.token(&id(number)), until);
            }
            assert!(ids.buckets.len() <= BUCKETS as usize + 1, "{}", ids.buckets.len());
        }
    }
}
