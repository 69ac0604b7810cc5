//! A key ring that is changed while tokens are checked by it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::sync::atomic::AtomicBool;
use loom::thread;

use crate::sync::EpochSwap;

type Keys = EpochSwap<Vec<u8>>;

fn announce(keys: &Keys, key: u8) {
    keys.update(|keys| Some([keys.as_slice(), &[key]].concat()));
}

fn retire(keys: &Keys, key: u8) {
    keys.update(|keys| Some(keys.iter().copied().filter(|known| *known != key).collect()));
}

#[test]
fn of_two_changes_at_once_neither_is_lost() {
    loom::model(|| {
        let keys = Arc::new(Keys::new(vec![0]));
        let others = [1, 2].map(|key| {
            let keys = Arc::clone(&keys);
            thread::spawn(move || announce(&keys, key))
        });
        for other in others {
            other.join().unwrap();
        }
        let mut known = (*keys.load()).clone();
        known.sort_unstable();
        assert_eq!(known, [0, 1, 2]);
        assert_eq!(keys.epoch(), 2);
    });
}

#[test]
fn a_change_that_is_rejected_or_is_none_changes_nothing() {
    loom::model(|| {
        let keys = Arc::new(Keys::new(vec![0]));
        let other = Arc::clone(&keys);
        let other = thread::spawn(move || announce(&other, 1));
        keys.try_update(|_| Err(())).unwrap_err();
        other.join().unwrap();
        assert_eq!(*keys.load(), [0, 1]);
        assert_eq!(keys.epoch(), 1);
        assert!(!keys.update(|_| None));
        assert_eq!(keys.epoch(), 1);
    });
}

/// As a validator does: it remembers a token together with the epoch that was current before
/// its key was found.
#[test]
fn once_a_key_is_retired_nobody_accepts_a_known_token_of_it() {
    loom::model(|| {
        let keys = Arc::new(Keys::new(vec![0, 1]));
        let is_done = Arc::new(AtomicBool::new(false));
        let (rotating, done) = (Arc::clone(&keys), Arc::clone(&is_done));
        let rotating = thread::spawn(move || {
            retire(&rotating, 0);
            done.store(true, Ordering::Release);
        });
        let epoch = keys.epoch();
        let was_found = keys.load().contains(&0);
        for _ in 0..2 {
            let was_done = is_done.load(Ordering::Acquire);
            let is_accepted = was_found && keys.epoch() == epoch;
            assert!(!was_done || !is_accepted, "a token of a retired key was accepted");
        }
        rotating.join().unwrap();
        assert!(!was_found || keys.epoch() != epoch);
    });
}

#[test]
fn who_sees_the_number_of_a_change_sees_the_change() {
    loom::model(|| {
        let keys = Arc::new(Keys::new(Vec::new()));
        let other = Arc::clone(&keys);
        let other = thread::spawn(move || {
            announce(&other, 1);
            announce(&other, 2);
        });
        let epoch = keys.epoch();
        let known = keys.load().len();
        assert!(known as u64 >= epoch, "{known} keys as of epoch {epoch}");
        other.join().unwrap();
    });
}
