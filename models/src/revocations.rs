//! A token that is revoked while it is known to be good.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::sync::atomic::AtomicBool;
use loom::thread;

use crate::epoch_lock::EpochLock;
use crate::sync::CheckedEpoch;

/// What a validator has of a token that it has checked, and what may be revoked.
struct Known {
    is_revoked: EpochLock<bool>,
    not_revoked: CheckedEpoch,
    /// Whether the call that revoked it has returned.
    is_done: AtomicBool,
}

impl Known {
    fn new() -> Self {
        let is_revoked = EpochLock::new(false);
        let not_revoked = CheckedEpoch::new(is_revoked.epoch());
        Self { is_revoked, not_revoked, is_done: AtomicBool::new(false) }
    }

    fn revoke(&self) {
        self.is_revoked.change(|is_revoked| *is_revoked = true);
        self.is_done.store(true, Ordering::Release);
    }

    fn validate(&self) -> Result<(), ()> {
        let epoch = self.is_revoked.epoch();
        let check = || if *self.is_revoked.read() { Err(()) } else { Ok(()) };
        self.not_revoked.check(epoch, check)
    }

    fn validate_and_judge(&self) {
        let was_done = self.is_done.load(Ordering::Acquire);
        let outcome = self.validate();
        assert!(!was_done || outcome.is_err(), "a token was accepted that had been revoked");
    }
}

#[test]
fn once_a_revocation_is_done_nobody_accepts_the_token() {
    loom::model(|| {
        let known = Arc::new(Known::new());
        let validators = [Arc::clone(&known), Arc::clone(&known)].map(|known| {
            thread::spawn(move || {
                known.validate_and_judge();
                known.validate_and_judge();
            })
        });
        known.revoke();
        for validator in validators {
            validator.join().unwrap();
        }
        known.validate().unwrap_err();
    });
}

#[test]
fn a_token_is_rejected_from_the_first_rejection_on() {
    loom::model(|| {
        let known = Arc::new(Known::new());
        let revoker = Arc::clone(&known);
        let revoker = thread::spawn(move || revoker.revoke());
        let first = known.validate();
        let second = known.validate();
        assert!(first.is_ok() || second.is_err());
        revoker.join().unwrap();
    });
}

#[test]
fn a_token_that_is_checked_while_another_is_revoked_stays_good() {
    loom::model(|| {
        let known = Arc::new(Known::new());
        let other = Arc::clone(&known);
        // A change that does not touch it.
        let other = thread::spawn(move || other.is_revoked.change(|_| {}));
        known.validate().unwrap();
        other.join().unwrap();
        known.validate().unwrap();
    });
}

#[test]
fn two_that_revoke_at_once_are_both_seen() {
    loom::model(|| {
        let set = Arc::new(EpochLock::new(0));
        let before = set.epoch();
        let others = [1, 2].map(|bit| {
            let set = Arc::clone(&set);
            thread::spawn(move || set.change(|bits| *bits |= bit))
        });
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(*set.read(), 3);
        assert_eq!(set.epoch(), before + 2);
    });
}
