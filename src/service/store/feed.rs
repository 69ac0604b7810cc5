//! Waiting for news of the revocation feed, in the stores that are shared.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::service::store::{Cursor, FeedPage, StoreError};

/// Wakes those who wait for the feed, after something was, or may have been, published. They then
/// read it.
#[derive(Debug)]
pub(super) struct Notifier {
    notifications: watch::Sender<u64>,
    end: Mutex<Option<KnownEnd>>,
}

/// Where the feed ended when it was read last.
#[derive(Debug)]
struct KnownEnd {
    cursor: Cursor,
    /// How many notifications came before that read.
    notifications: u64,
}

impl Notifier {
    pub(super) fn new() -> Self {
        Self { notifications: watch::Sender::new(0), end: Mutex::default() }
    }

    pub(super) fn notify(&self) {
        self.notifications.send_modify(|count| *count += 1);
    }

    /// Reads until there is an event, notified or not: at least every `poll`, so that a lost
    /// notification costs no more than that. Who comes back from the end of the feed waits first: one
    /// notification is one read.
    pub(super) async fn read_or_wait<F>(
        &self,
        after: &Cursor,
        wait: Duration,
        poll: Duration,
        mut read: impl FnMut(Cursor) -> F,
    ) -> Result<FeedPage, StoreError>
    where
        F: Future<Output = Result<FeedPage, StoreError>>,
    {
        let mut notifications = self.notifications.subscribe();
        let mut after = after.clone();
        let mut is_last_read = wait.is_zero();
        let mut is_at_end = !is_last_read && self.is_end(&after, *notifications.borrow());
        let end = sleep(wait);
        tokio::pin!(end);
        loop {
            if !is_at_end {
                let notified = *notifications.borrow_and_update();
                let news = read(after).await?;
                if news.is_complete {
                    self.set_end(news.next.clone(), notified);
                }
                // What is there already is not waited for, be it that this part of it was empty.
                let is_news = !news.events.is_empty() || !news.is_complete || news.history_changed;
                if is_news || is_last_read {
                    return Ok(news);
                }
                after = news.next;
            }
            is_at_end = false;
            tokio::select! {
                () = &mut end => is_last_read = true,
                _ = notifications.changed() => {}
                () = sleep(poll) => {}
            }
        }
    }

    fn set_end(&self, cursor: Cursor, notifications: u64) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        *end = Some(KnownEnd { cursor, notifications });
    }

    /// Returns whether the feed was read up to `cursor` and to its end, and nothing was notified since.
    fn is_end(&self, cursor: &Cursor, notifications: u64) -> bool {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.as_ref().is_some_and(|end| end.cursor == *cursor && end.notifications == notifications)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::clock::Timestamp;
    use crate::service::model::entity::EntityId;
    use crate::service::store::FeedEvent;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn one_notification_is_one_read() {
        let (notifier, reads) = (Notifier::new(), Cell::new(0));
        let event = FeedEvent::EntityChanged {
            id: EntityId::machine("aa-1").unwrap(),
            until: Timestamp::MAX,
        };
        // Each read but the first has one event.
        let read = |_| {
            reads.set(reads.get() + 1);
            let events = if reads.get() == 1 { vec![] } else { vec![event.clone()] };
            let next = Cursor::new(&reads.get().to_string());
            async { Ok(FeedPage { events, next, is_complete: true, history_changed: false }) }
        };
        let first = notifier.read_or_wait(&Cursor::START, Duration::ZERO, MINUTE, read);
        let mut cursor = first.await.unwrap().next;
        for expected in 2..5 {
            let waiting = notifier.read_or_wait(&cursor, MINUTE, MINUTE * 2, read);
            let notifying = async {
                tokio::task::yield_now().await;
                assert_eq!(reads.get(), expected - 1, "nothing is read before");
                notifier.notify();
            };
            cursor = tokio::join!(waiting, notifying).0.unwrap().next;
            assert_eq!(reads.get(), expected);
        }
        // What comes while nobody waits is read at once.
        notifier.notify();
        let read_at_once = notifier.read_or_wait(&cursor, MINUTE, MINUTE * 2, read).await;
        assert_eq!(read_at_once.unwrap().events.len(), 1);
    }
}
