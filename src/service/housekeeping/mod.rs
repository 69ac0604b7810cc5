//! The background work of a service: what has to be done now and then, and what has to be heard.

mod feed;
mod republish;
mod staleness;
mod store_checks;
mod supervisor;
mod suspension;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::jitter;
use crate::service::backoff::Backoff;
use crate::service::detached::resume_panic;
use crate::service::housekeeping::supervisor::supervise;
use crate::service::stores::unavailable;
use crate::service::telemetry::{self, Work};
use crate::service::token_service::{TokenService, TokenServiceInner};
use crate::service::writer::Writer;

/// In how many parts a store is purged at a time. What is left is for the next time.
const MAX_PARTS: usize = 10_000;
/// How long to wait after a failure: doubled with each that follows, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Clocks are read a little before the instant that was waited for.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
/// An interval is shorter by a random part of this share of it, so that nodes which began at once do not go
/// on like that.
const JITTER_SHARE: u32 = 10;
/// What a shutdown waits for beyond the calls of a store that are under way.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(1);

impl TokenService {
    /// Starts the service: checks its stores, reads the revocations of other nodes, loads
    /// [`ManagedKeys`](crate::ManagedKeys), and starts the background work. Call it once, before serving the first
    /// request.
    ///
    /// ```no_run
    /// # async fn example(
    /// #     tokens: countersign::TokenService,
    /// #     serve: impl Future<Output = ()>,
    /// # ) -> Result<(), countersign::Error> {
    /// let housekeeping = tokens.start().await?;
    /// serve.await;
    /// housekeeping.shutdown().await;
    /// # Ok(()) }
    /// ```
    ///
    /// The background work follows the revocation feed, rotates managed keys by their schedule, and purges expired
    /// records. If a store has lost writes, as in a failover, it repeats the revocations and session ends of this
    /// node's last ten minutes. It stops when the returned [`Housekeeping`] or the last clone of the service is
    /// dropped. A failure of a store after the start is logged as a warning and retried.
    ///
    /// A host that cannot run background work, such as a serverless one, calls [`catch_up`](Self::catch_up) instead.
    /// Without either call, a service over a shared store accepts no tokens, and issues none with managed keys.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if a store is not migrated, or its content was
    ///   sealed with other sealing keys.
    /// - [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if a store is unreachable; the call may be
    ///   repeated.
    /// - [`ErrorKind::Internal`](crate::ErrorKind::Internal) if the managed keys were sealed with a key that was not
    ///   given, or a record is corrupt.
    pub async fn start(&self) -> Result<Housekeeping, Error> {
        self.inner.revocations.set_start_missing(false);
        self.check_stores_are_current().await?;
        self.write_unaudited(|writer| async move { writer.refresh_keys().await }).await?;
        self.check_sealing_keys().await?;
        let losses = self.inner.recent_events.watch_losses();
        // Last: where something fails after it, nobody would follow the feed.
        feed::read_to_end(self).await?;
        let (stop, stopped) = watch::channel(());
        let stopped = StopSignal(stopped);
        let inner = Arc::downgrade(&self.inner);
        // Made here: what was heard just now is relied on from now on.
        let follower = staleness::FollowerGuard::new(&self.inner);
        let work = async move {
            let _follower = follower;
            let feed = supervise(Work::Feed, stopped.clone(), || {
                feed::follow(inner.clone(), stopped.clone())
            });
            let publishing = supervise(Work::Publish, stopped.clone(), || {
                feed::follow_repeats(inner.clone(), stopped.clone())
            });
            let republishing = supervise(Work::Republish, stopped.clone(), || {
                republish::after_losses(inner.clone(), losses.clone(), stopped.clone())
            });
            let keys = supervise(Work::Keys, stopped.clone(), || {
                follow_key_schedule(inner.clone(), stopped.clone())
            });
            let purging = supervise(Work::Purge, stopped.clone(), || {
                purge_periodically(inner.clone(), stopped.clone())
            });
            let watching = supervise(Work::StalenessWatch, stopped.clone(), || {
                staleness::watch(inner.clone(), stopped.clone())
            });
            tokio::join!(feed, publishing, republishing, keys, purging, watching);
        };
        let store_deadline = self.inner.policy.runtime.store_deadline;
        let writes = self.inner.writes.clone();
        Ok(Housekeeping { stop, work: tokio::spawn(work), writes, store_deadline })
    }

    /// Reads the revocations of other nodes and loads the managed keys once, for a host that runs no background work.
    /// Call it before serving a request; its result is used for the policy's `runtime.max_revocation_staleness`.
    /// [`start`](Self::start) includes it.
    ///
    /// Such a host has to call [`purge_expired`](Self::purge_expired) from time to time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if the store is unreachable;
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) if the managed keys were sealed with a key that was not
    /// given, or have disappeared from the store.
    pub async fn catch_up(&self) -> Result<(), Error> {
        self.inner.revocations.set_start_missing(false);
        self.write_unaudited(|writer| async move { writer.refresh_keys().await }).await?;
        feed::read_to_end(self).await?;
        staleness::watch_last_read(&self.inner);
        if let Err(error) = feed::publish_repeats(self).await {
            tracing::warn!(
                error = ?error,
                "revocations: a revocation that repeats another one is known to this node alone until the \
                 next call"
            );
        }
        Ok(())
    }

    /// Checks that this node can issue and accept tokens now: the revocations of other nodes were read within the policy's
    /// [`max_revocation_staleness`](crate::policy::Runtime::max_revocation_staleness), and a key signs. It looks at what is
    /// in memory and calls no store, so a readiness probe may call it as often as it likes.
    ///
    /// ```
    /// # fn example(tokens: countersign::TokenService) {
    /// let status = match tokens.check_ready() {
    ///     Ok(()) => http::StatusCode::OK,
    ///     Err(_) => http::StatusCode::SERVICE_UNAVAILABLE,
    /// };
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) with what is missing.
    pub fn check_ready(&self) -> Result<(), Error> {
        self.check_revocations_are_known()?;
        if self.inner.keys.active().is_none() {
            return Err(unavailable("no key signs yet"));
        }
        Ok(())
    }

    /// Removes expired records from the store, and drops outdated data from memory. The background work does so every
    /// `runtime.housekeeping_interval`.
    ///
    /// A record counts as expired by the earlier of two clocks: that of this node and that of the store's engine.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if these clocks differ by more than the
    /// [`clock_tolerance`](crate::policy::RotationSchedule::clock_tolerance); nothing is then removed.
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if the store is unreachable; the data in memory is
    /// cleaned up in any case.
    pub async fn purge_expired(&self) -> Result<(), Error> {
        self.purge_unless(|| false).await
    }

    async fn purge_unless(&self, is_stopped: impl Fn() -> bool) -> Result<(), Error> {
        let stores = &self.inner.stores;
        let time = stores.time().await;
        let now = stores.clock().earliest_now();
        self.inner.throttle.purge(now);
        self.inner.keys.forget_retired(now);
        self.inner.revocations.purge(now);
        telemetry::revocations_held(self.inner.revocations.len());
        let time = time?;
        time.check()?;
        // A store may purge in parts, so that nobody has to wait for it.
        for _ in 0..MAX_PARTS {
            if is_stopped() {
                break;
            }
            let purging = self.write_unaudited(move |writer| async move {
                writer.stores.purge_expired(time.earlier).await
            });
            if purging.await? == 0 {
                break;
            }
        }
        telemetry::work_succeeded(Work::Purge, self.now());
        Ok(())
    }
}

impl Writer {
    /// Does what is due with the managed keys; returns when to do so again. There is nothing to do for
    /// keys that are not managed.
    async fn refresh_keys(&self) -> Result<Duration, Error> {
        match &self.inner.key_manager {
            Some(keys) => keys.refresh(&self.stores).await,
            None => Ok(Duration::MAX),
        }
    }
}

/// The handle of the background work of a service that was [started](TokenService::start).
///
/// Dropping it stops the background work. Keep it while requests are served, then call [`shutdown`](Self::shutdown).
#[must_use = "the background work ends when it is dropped"]
pub struct Housekeeping {
    /// Dropped, it stops the work.
    stop: watch::Sender<()>,
    work: JoinHandle<()>,
    /// Has a receiver for each piece of work under way that writes.
    writes: watch::Sender<()>,
    store_deadline: Duration,
}

impl Housekeeping {
    /// Stops the background work and waits for the writes in progress.
    ///
    /// Background work that takes longer than about twice the policy's `runtime.store_deadline` is aborted. A write
    /// of a request, such as a log-out, runs to completion even if its client has disconnected, so it is waited for:
    /// the process must not exit before it has finished. Each store call of such a write is aborted after the
    /// `store_deadline`, but ending many sessions of one principal takes as many calls. A host that cannot wait that
    /// long puts a timeout around this method.
    ///
    /// Over a shared store, tokens are rejected with a 503 after this call: make it after the last request has been
    /// served.
    pub async fn shutdown(self) {
        let Self { stop, mut work, writes, store_deadline } = self;
        drop(stop);
        // A change of keys is a read and a write.
        let limit = store_deadline.saturating_mul(2).saturating_add(SHUTDOWN_MARGIN);
        if tokio::time::timeout(limit, &mut work).await.is_err() {
            tracing::warn!("housekeeping: shutdown took too long, the work under way is aborted");
            work.abort();
        }
        writes.closed().await;
    }
}

impl fmt::Debug for Housekeeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Housekeeping").field("work", &self.work).finish_non_exhaustive()
    }
}

/// Says that the work is to end.
#[derive(Clone)]
struct StopSignal(watch::Receiver<()>);

impl StopSignal {
    fn is_set(&self) -> bool {
        self.0.has_changed().is_err()
    }

    /// Completes when the work is to end.
    async fn wait(&mut self) {
        // Nothing is sent: the sender is dropped.
        while self.0.changed().await.is_ok() {}
    }

    /// Waits for so long, or until the work is to end.
    async fn sleep(&mut self, pause: Duration) {
        let _ = tokio::time::timeout(pause, self.wait()).await;
    }
}

async fn purge_periodically(inner: Weak<TokenServiceInner>, mut stop: StopSignal) {
    while !stop.is_set() {
        let Some(alive) = inner.upgrade() else { return };
        let interval = alive.policy.runtime.housekeeping_interval;
        let tokens = TokenService { inner: alive };
        if let Err(error) = tokens.purge_unless(|| stop.is_set()).await {
            resume_panic(&error);
            tracing::warn!(error = ?error, "housekeeping: purge failed, expired records stay until the next run");
        }
        drop(tokens);
        stop.sleep(interval - jitter::below(interval / JITTER_SHARE)).await;
    }
}

/// Reads the shared keys now and then, and turns to each when its time comes.
async fn follow_key_schedule(inner: Weak<TokenServiceInner>, mut stop: StopSignal) {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    while !stop.is_set() {
        let Some(alive) = inner.upgrade() else { return };
        let Some(keys) = &alive.key_manager else { return };
        // First what is known already, which the store cannot hold up.
        if let Err(error) = keys.apply_known().await {
            tracing::error!(error = ?error, "signing keys: applying the known keys failed, the node goes on with its present ones; trying again");
        }
        let tokens = TokenService { inner: Arc::clone(&alive) };
        let refreshing =
            tokens.write_unaudited(|writer| async move { writer.refresh_keys().await }).await;
        drop(tokens);
        let pause = match refreshing {
            Ok(pause) => {
                backoff.succeeded();
                telemetry::work_succeeded(Work::Keys, alive.clock.now());
                pause.max(SHORTEST_PAUSE)
            }
            Err(error) => {
                resume_panic(&error);
                tracing::warn!(error = ?error, "signing keys: reading the store failed, trying again");
                backoff.failed()
            }
        };
        drop(alive);
        stop.sleep(pause).await;
    }
}
