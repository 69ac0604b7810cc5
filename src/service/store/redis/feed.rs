//! The revocation feed: a stream, read by the ids of its entries, and a task that waits for the next
//! one.

use std::sync::Arc;
use std::time::Duration;

use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{Cmd, RedisResult};

use crate::clock::Timestamp;
use crate::service::store::feed::Notifier;
use crate::service::store::redis::RedisStore;
use crate::service::store::redis::connection::{Connection, RESPONSE_TIMEOUT, Servers};
use crate::service::store::redis::records::new_writer_id;
use crate::service::store::{Cursor, FeedEvent, FeedPage, StoreError, record};

/// How often the feed is looked at where no entry is heard of.
const POLL: Duration = Duration::from_secs(1);
/// How long the server is asked to wait for the next entry.
const BLOCK: Duration = Duration::from_secs(5);
/// How many entries are read at a time, and removed at a time.
const BATCH_LEN: usize = 1_000;
/// About how many entries one read returns: all that it has to do before its deadline.
const MOST_AT_ONCE: usize = 5_000;

/// How far a reader has come: the last entry that was read, and in which history.
#[derive(Clone, Debug, PartialEq, Eq)]
struct StreamPosition {
    history: String,
    id: String,
    nonce: String,
}

impl StreamPosition {
    /// Before all entries, of whatever history.
    fn start() -> Self {
        Self { history: String::new(), id: "0-0".to_owned(), nonce: String::new() }
    }

    /// None where it is no position of this store, as of an earlier release.
    fn parse(mark: &str) -> Option<Self> {
        let mut parts = mark.split('/');
        let position = Self {
            history: parts.next()?.to_owned(),
            id: parts.next()?.to_owned(),
            nonce: parts.next().unwrap_or_default().to_owned(),
        };
        let (millis, count) = position.id.split_once('-')?;
        let is_number = |text: &str| text.parse::<u64>().is_ok();
        (is_number(millis) && is_number(count)).then_some(position)
    }

    fn to_cursor(&self) -> Cursor {
        let Self { history, id, nonce } = self;
        Cursor::new(&format!("{history}/{id}/{nonce}"))
    }
}

/// What one read of the feed gave.
struct Batch {
    /// Whether the reader's position is of the history that was read. If not, this begins at the start.
    is_known: bool,
    next: StreamPosition,
    /// Each by the id of its entry.
    records: Vec<(String, Vec<u8>)>,
}

impl RedisStore {
    pub(super) async fn append_to_feed(&self, event: &FeedEvent) -> Result<(), StoreError> {
        let inner = &self.inner;
        let (feed, ends) = (inner.keys.feed(), inner.keys.feed_ends());
        let until = event.until().as_micros().to_string();
        let arguments = [until, record::write_event(event)?, new_writer_id()];
        // Twice, where an answer was lost, is harmless.
        let published =
            inner.client.run_and_wait(&inner.publish, &[&feed, &ends], &arguments).await?;
        let _id: String = published.value;
        Ok(())
    }

    pub(super) async fn wait_for_news(
        &self,
        after: &Cursor,
        wait: Duration,
    ) -> Result<FeedPage, StoreError> {
        let inner = &self.inner;
        let (servers, feed) = (inner.client.servers().clone(), inner.keys.feed());
        let notifier = Arc::clone(&inner.notifier);
        inner.listening.ensure_running(move || {
            notify_of_entries(servers.clone(), feed.clone(), Arc::clone(&notifier))
        });
        inner.notifier.read_or_wait(after, wait, POLL, |after| self.read_page(after)).await
    }

    /// All that was published after the cursor; everything, where that is of another history, or
    /// of a future that this one does not have.
    async fn read_page(&self, after: Cursor) -> Result<FeedPage, StoreError> {
        let position = after.mark().and_then(StreamPosition::parse);
        let first = position.unwrap_or_else(StreamPosition::start);
        let mut batch = self.read_batch(&first).await?;
        let history_changed = after != Cursor::START && !batch.is_known;
        if history_changed {
            self.inner.client.renew_waiting_connection()?;
        }
        let mut events = Vec::with_capacity(batch.records.len());
        loop {
            for (id, record) in &batch.records {
                events.push(record::read_event(record, id));
            }
            let next = batch.next;
            let is_complete = batch.records.len() < BATCH_LEN;
            if is_complete || events.len() >= MOST_AT_ONCE {
                return Ok(FeedPage {
                    events,
                    next: next.to_cursor(),
                    is_complete,
                    history_changed,
                });
            }
            batch = self.read_batch(&next).await?;
            if !batch.is_known {
                // The next read begins at the start, and says so.
                let next = next.to_cursor();
                return Ok(FeedPage { events, next, is_complete: false, history_changed });
            }
        }
    }

    async fn read_batch(&self, after: &StreamPosition) -> Result<Batch, StoreError> {
        let inner = &self.inner;
        let StreamPosition { history, id, nonce } = after.clone();
        let arguments = [history, id, nonce, BATCH_LEN.to_string()];
        let (is_known, history, id, nonce, records) =
            inner.client.run(&inner.read_feed, &[&inner.keys.feed()], &arguments).await?;
        Ok(Batch { is_known, next: StreamPosition { history, id, nonce }, records })
    }

    pub(super) async fn trim_feed(&self, now: Timestamp) -> Result<u64, StoreError> {
        let inner = &self.inner;
        let arguments = [now.as_micros().to_string(), BATCH_LEN.to_string()];
        let (feed, ends) = (inner.keys.feed(), inner.keys.feed_ends());
        inner.client.run(&inner.trim_feed, &[&feed, &ends], &arguments).await
    }
}

/// Notifies for as long as the server can be listened to, over a connection of its own: who waits
/// in a server keeps its whole connection waiting.
async fn notify_of_entries(
    servers: Servers,
    feed: String,
    notifier: Arc<Notifier>,
) -> RedisResult<()> {
    let mut connection: Connection = servers.connect(BLOCK + RESPONSE_TIMEOUT)?;
    let mut after = "$".to_owned();
    let millis = usize::try_from(BLOCK.as_millis()).unwrap_or(usize::MAX);
    let options = StreamReadOptions::default().block(millis);
    loop {
        // Before the first, too: something may have been published while nobody listened.
        notifier.notify();
        let read = Cmd::xread_options(&[&feed], &[&after], &options);
        let heard: Option<StreamReadReply> = read.query_async(&mut connection).await?;
        let entries = heard.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids);
        if let Some(last) = entries.last() {
            after = last.id;
        }
    }
}
