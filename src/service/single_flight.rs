//! Runs work once for concurrent tasks that request the same.

use std::hash::Hash;

use tokio::sync::OnceCell;

use crate::sync::{FlightResult, SingleFlight};

impl<K: Clone + Eq + Hash, V: Clone> SingleFlight<K, OnceCell<V>> {
    /// Does the work, or waits for the task that is doing it. If that task is dropped, the next one does it, any
    /// number of times.
    pub(in crate::service) async fn join(
        &self,
        key: K,
        work: impl Future<Output = V>,
    ) -> FlightResult<V> {
        let flight = self.join_flight(key);
        let mut is_own = false;
        let outcome = flight.cell.get_or_init(|| {
            is_own = true;
            work
        });
        let outcome = outcome.await.clone();
        flight.finish(is_own, outcome)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::hash::RandomState;
    use std::pin::Pin;
    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    type Flights = SingleFlight<Arc<str>, OnceCell<u8>>;

    /// Joins and waits.
    fn join<'a>(
        flights: &'a Flights,
        key: &Arc<str>,
        work: impl Future<Output = u8> + 'a,
    ) -> Pin<Box<dyn Future<Output = FlightResult<u8>> + 'a>> {
        let mut joining: Pin<Box<dyn Future<Output = _>>> =
            Box::pin(flights.join(Arc::clone(key), work));
        assert!((&mut joining).now_or_never().is_none());
        joining
    }

    #[tokio::test]
    async fn where_who_does_the_work_hangs_up_the_next_one_does_it() {
        let (flights, key) = (Flights::new(RandomState::new()), Arc::from("key"));
        let hanging_up: Vec<_> = (0..300).map(|_| join(&flights, &key, pending())).collect();
        let patient = join(&flights, &key, async { 7 });
        drop(hanging_up);
        assert!(matches!(patient.await, FlightResult::Own(7)));
        assert_eq!(Arc::strong_count(&key), 1, "nothing of it is left");
        drop([join(&flights, &key, pending()), join(&flights, &key, pending())]);
        assert_eq!(Arc::strong_count(&key), 1, "nor where all hang up");
    }

    #[tokio::test]
    async fn who_hangs_up_while_waiting_ends_nothing() {
        let (flights, key) = (Flights::new(RandomState::new()), Arc::from("key"));
        let (sender, work) = oneshot::channel();
        let first = join(&flights, &key, async { work.await.unwrap() });
        drop(join(&flights, &key, pending()));
        let third = join(&flights, &key, pending());
        sender.send(7).unwrap();
        assert!(matches!(first.await, FlightResult::Own(7)));
        assert!(matches!(third.await, FlightResult::Shared(7)));
        assert_eq!(Arc::strong_count(&key), 1, "nothing of it is left");
    }
}
