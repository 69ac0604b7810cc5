//! Many requests that bring the same new token.

use std::hash::RandomState;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use loom::sync::atomic::AtomicUsize;
use loom::thread;

use crate::stand_ins::OnceLock;
use crate::sync::{FlightResult, SingleFlight};

/// One for all runs of a model, which have to be alike.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Work, and how much of it is done at once.
struct Work {
    flights: SingleFlight<u8, OnceLock<usize>>,
    under_way: AtomicUsize,
    done: AtomicUsize,
}

impl Work {
    fn new() -> Self {
        Self {
            flights: SingleFlight::new(HASHER.clone()),
            under_way: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
        }
    }

    fn join(&self, key: u8) -> FlightResult<usize> {
        self.flights.join_blocking(key, || {
            assert_eq!(self.under_way.fetch_add(1, Ordering::AcqRel), 0, "two do the same work");
            thread::yield_now();
            self.under_way.fetch_sub(1, Ordering::AcqRel);
            self.done.fetch_add(1, Ordering::AcqRel)
        })
    }
}

fn value(result: &FlightResult<usize>) -> usize {
    match result {
        FlightResult::Own(value) | FlightResult::Shared(value) => *value,
    }
}

#[test]
fn work_is_done_by_one_at_a_time_and_nothing_of_it_is_left_behind() {
    let mut model = loom::model::Builder::new();
    // Three threads that may stop each other anywhere take minutes.
    model.preemption_bound = Some(3);
    model.check(|| {
        let work = Arc::new(Work::new());
        let others = [(); 2].map(|()| {
            let work = Arc::clone(&work);
            thread::spawn(move || work.join(7))
        });
        let mut outcomes = vec![work.join(7)];
        outcomes.extend(others.map(|other| other.join().unwrap()));
        let own = outcomes.iter().filter(|result| matches!(result, FlightResult::Own(_))).count();
        assert_eq!(own, work.done.load(Ordering::Acquire), "who did it is told so");
        assert!(outcomes.iter().all(|result| value(result) < own));
        assert_eq!(work.flights.len(), 0, "a finished flight is still listed");
    });
}

#[test]
fn what_was_finished_before_is_handed_to_nobody_who_comes_later() {
    loom::model(|| {
        let work = Arc::new(Work::new());
        let other = Arc::clone(&work);
        let other = thread::spawn(move || other.join(7));
        let first = work.join(7);
        let second = work.join(7);
        assert!(value(&second) > value(&first), "it was done before it was asked for");
        other.join().unwrap();
        assert_eq!(work.flights.len(), 0);
    });
}
