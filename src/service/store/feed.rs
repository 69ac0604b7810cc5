//! Waiting for news of the revocation feed, in the stores that are shared.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::service::store::{Cursor, FeedPage, StoreError};

/// Wakes those who wait for the feed, after something was, or may have been, published. They then
/// read it.
#[derive(Debug)]
pub(super) struct Notifier(watch::Sender<()>);

impl Notifier {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    pub(super) fn notify(&self) {
        self.0.send_replace(());
    }

    /// Reads until there is an event, notified or not: at least every `poll`, so that a lost
    /// notification costs no more than that.
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
        let mut notifications = self.0.subscribe();
        let mut after = after.clone();
        let end = sleep(wait);
        tokio::pin!(end);
        loop {
            notifications.mark_unchanged();
            let news = read(after).await?;
            // What is there already is not waited for, be it that this part of it was empty.
            if !news.events.is_empty() || !news.is_complete {
                return Ok(news);
            }
            tokio::select! {
                () = &mut end => return Ok(news),
                _ = notifications.changed() => {}
                () = sleep(poll) => {}
            }
            after = news.next;
        }
    }
}
