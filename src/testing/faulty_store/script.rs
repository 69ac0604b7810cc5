use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::calls::{Calls, StoreVerb};
use super::fault::StoreFault;
use super::hold::{Gate, HeldCalls, Point};
use crate::service::store::StoreError;

/// The faults and holds of a store, and its counts.
#[derive(Debug, Default)]
pub(super) struct Script {
    rules: Mutex<Rules>,
    counts: watch::Sender<HashMap<StoreVerb, usize>>,
}

/// The oldest first.
#[derive(Debug, Default)]
struct Rules {
    faults: Vec<(Calls, StoreFault)>,
    holds: Vec<(Calls, Point, Arc<Gate>)>,
}

impl Script {
    pub(super) fn fail(&self, calls: Calls, fault: StoreFault) {
        self.rules().faults.push((calls, fault));
    }

    pub(super) fn clear_faults(&self) {
        self.rules().faults.clear();
    }

    pub(super) fn faults_left(&self) -> usize {
        let left = |(calls, _): &(Calls, StoreFault)| calls.left();
        self.rules().faults.iter().map(left).fold(0, usize::saturating_add)
    }

    pub(super) fn hold(&self, calls: Calls, point: Point) -> HeldCalls {
        let gate = Arc::<Gate>::default();
        self.rules().holds.push((calls, point, Arc::clone(&gate)));
        HeldCalls::new(gate)
    }

    pub(super) fn calls(&self, verb: StoreVerb) -> usize {
        self.counts.borrow().get(&verb).copied().unwrap_or(0)
    }

    pub(super) async fn wait_for_calls(&self, verb: StoreVerb, count: usize) {
        let is_reached = |counts: &HashMap<_, _>| counts.get(&verb).copied().unwrap_or(0) >= count;
        // It fails where the sender is gone, which is borrowed here.
        let _ = self.counts.subscribe().wait_for(is_reached).await;
    }

    /// Runs a call as the script says.
    pub(super) async fn run<T>(
        &self,
        verb: StoreVerb,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let (fault, holds) = self.rules().meet(verb);
        // After the rules were read: a test that waited for the count cannot change this call's.
        self.counts.send_modify(|counts| *counts.entry(verb).or_default() += 1);
        pass(&holds, Point::Call).await;
        let result = match fault {
            Some(fault) => fault.apply(call).await,
            None => call.await,
        };
        pass(&holds, Point::Reply).await;
        result
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rules {
    /// Counts a call, and returns its fault and its holds.
    fn meet(&mut self, verb: StoreVerb) -> (Option<StoreFault>, Vec<(Point, Arc<Gate>)>) {
        let mut faults = self.faults.iter_mut();
        let fault = faults.find_map(|(calls, fault)| calls.select(verb).then(|| fault.clone()));
        self.faults.retain(|(calls, _)| calls.left() > 0);
        self.holds.retain(|(_, _, gate)| !gate.is_open());
        let holds = self.holds.iter_mut().filter_map(|(calls, point, gate)| {
            calls.select(verb).then(|| (*point, Arc::clone(gate)))
        });
        (fault, holds.collect())
    }
}

async fn pass(holds: &[(Point, Arc<Gate>)], at: Point) {
    for (_, gate) in holds.iter().filter(|(point, _)| *point == at) {
        gate.pass().await;
    }
}
