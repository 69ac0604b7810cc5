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
use crate::service::store::{Cursor, FeedEvent, FeedPage, StoreError, record};

/// How often the feed is looked at where no entry is heard of.
const POLL: Duration = Duration::from_secs(1);
/// How long the server is asked to wait for the next entry.
const BLOCK: Duration = Duration::from_secs(5);
/// How many entries are read at a time, and removed at a time.
const BATCH_LEN: usize = 1_000;
/// About how many entries one read returns: all that it has to do before its deadline.
const MOST_AT_ONCE: usize = 5_000;

/// Where an entry stands in the stream: milliseconds, and a count within them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct EntryId(u64, u64);

impl EntryId {
    fn parse(text: &str) -> Option<Self> {
        let (millis, count) = text.split_once('-')?;
        Some(Self(millis.parse().ok()?, count.parse().ok()?))
    }
}

/// A cursor: the last entry that was read, and in which history.
struct StreamPosition<'a> {
    history: &'a str,
    last: &'a str,
}

impl<'a> StreamPosition<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (history, last) = text.split_once('/')?;
        EntryId::parse(last).map(|_| Self { history, last })
    }
}

/// What one read of the feed gave.
struct Batch {
    history: String,
    last: String,
    ids: Vec<String>,
    records: Vec<Vec<u8>>,
}

impl RedisStore {
    pub(super) async fn append_to_feed(&self, event: &FeedEvent) -> Result<(), StoreError> {
        let inner = &self.inner;
        let (feed, ends) = (inner.keys.feed(), inner.keys.feed_ends());
        let until = event.until().as_micros().to_string();
        let arguments = [until, record::write_event(event)?];
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
        inner.listener.ensure_listening(move || {
            notify_of_entries(servers.clone(), feed.clone(), Arc::clone(&notifier))
        });
        inner.notifier.read_or_wait(after, wait, POLL, |after| self.read_page(after)).await
    }

    /// All that was published after the cursor; everything, where that is of another history, or
    /// of a future that this one does not have.
    async fn read_page(&self, after: Cursor) -> Result<FeedPage, StoreError> {
        let position = after.mark().and_then(StreamPosition::parse);
        let mut first = position
            .as_ref()
            .map_or_else(|| "-".to_owned(), |position| format!("({}", position.last));
        let mut batch = self.read_batch(&first).await?;
        if let Some(position) = position
            && (position.history != batch.history
                || EntryId::parse(position.last) > EntryId::parse(&batch.last))
        {
            "-".clone_into(&mut first);
            batch = self.read_batch(&first).await?;
        }
        let history = batch.history.clone();
        let mut events = Vec::with_capacity(batch.records.len());
        loop {
            for (id, record) in batch.ids.iter().zip(&batch.records) {
                events.push(record::read_event(record, id));
            }
            let last = batch.ids.last().unwrap_or(&batch.last);
            let is_complete = batch.ids.len() < BATCH_LEN;
            if is_complete || batch.history != history || events.len() >= MOST_AT_ONCE {
                let next = Cursor::new(&format!("{history}/{last}"));
                return Ok(FeedPage { events, next, is_complete });
            }
            batch = self.read_batch(&format!("({last}")).await?;
        }
    }

    async fn read_batch(&self, first: &str) -> Result<Batch, StoreError> {
        let inner = &self.inner;
        let arguments = [first.to_owned(), BATCH_LEN.to_string()];
        let (history, last, ids, records) =
            inner.client.run(&inner.read_feed, &[&inner.keys.feed()], &arguments).await?;
        Ok(Batch { history, last, ids, records })
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
