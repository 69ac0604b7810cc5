//! Password hashing off the executor's threads, with a limit on concurrency.

mod workers;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};

use crate::error::{Error, ErrorKind};
use crate::service::hashing::workers::Workers;
use crate::service::model::password::{Password, PasswordCost, PasswordHash};
use crate::service::policy::Policy;
use crate::service::telemetry;

pub(crate) use self::workers::Job;

/// The executor of the jobs; see
/// [`hashing_executor`](crate::builder::TokenServiceBuilder::hashing_executor).
pub(crate) type Executor = dyn Fn(Job) + Send + Sync;

/// Limits the number of concurrent hashes, the length of the queue, and the time in it.
#[derive(Clone)]
pub(crate) struct HashingPool {
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    queue: usize,
    deadline: Duration,
    cost: PasswordCost,
    executor: Arc<Executor>,
    /// Compared with if a name is unknown, so that an unknown name takes as long as a known one.
    dummy: PasswordHash,
}

impl HashingPool {
    /// Creates a pool with threads of its own, unless the host sets another executor.
    pub(crate) fn new(policy: &Policy, executor: Option<Arc<Executor>>) -> Result<Self, Error> {
        let executor = executor.unwrap_or_else(|| {
            let workers = Workers::new(policy.passwords.hashing_permits);
            Arc::new(move |job| workers.run(job))
        });
        let cost = policy.passwords.cost;
        let nobody = Password::new(uuid::Uuid::new_v4().to_string())?;
        Ok(Self {
            permits: Arc::new(Semaphore::new(policy.passwords.hashing_permits)),
            waiting: Arc::default(),
            queue: policy.passwords.hashing_queue,
            deadline: policy.passwords.hashing_deadline,
            cost,
            executor,
            dummy: PasswordHash::create(&nobody, cost)?,
        })
    }

    /// Returns whether `password` matches the hash. Without a hash, it takes as long to return `false`.
    pub(crate) async fn verify(
        &self,
        password: Password,
        hash: Option<PasswordHash>,
    ) -> Result<bool, Error> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy.clone());
        let fits = self.run(move || hash.verify(&password)).await?;
        Ok(fits && known)
    }

    pub(crate) async fn create(&self, password: Password) -> Result<PasswordHash, Error> {
        let cost = self.cost;
        self.run(move || PasswordHash::create(&password, cost)).await?
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let overloaded = || {
            Error::new(ErrorKind::Overloaded, "too many logins at once")
                .with_retry_after(Duration::from_secs(1))
        };
        let begun = Instant::now();
        let places = self.queue.saturating_add(self.permits.available_permits());
        let slot = QueueSlot::take(&self.waiting, places).ok_or_else(overloaded)?;
        let permit = tokio::time::timeout(self.deadline, self.permits.clone().acquire_owned());
        let permit = permit.await.map_err(|_| overloaded())?.map_err(|_| overloaded())?;
        drop(slot);
        telemetry::hashing_waited(begun.elapsed());
        // The permit moves into the job: a caller that disconnects frees no permit while its hash is still being
        // computed.
        let (sender, receiver) = oneshot::channel();
        (self.executor)(Box::new(move || {
            let permit = permit;
            let begun = Instant::now();
            let done = work();
            let took = begun.elapsed();
            // Released before the caller gets the result, so that its next password finds a permit.
            drop(permit);
            let _ = sender.send((done, took));
        }));
        let (done, took) = receiver.await.map_err(|error| {
            Error::new(ErrorKind::Internal, "password hashing failed").with_source(error)
        })?;
        telemetry::hashed(took);
        Ok(done)
    }
}

/// A slot in the queue, released on drop.
struct QueueSlot(Arc<AtomicUsize>);

impl QueueSlot {
    fn take(waiting: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let slot = Self(Arc::clone(waiting));
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        telemetry::hashing_waiting(before + 1);
        (before < limit).then_some(slot)
    }
}

impl Drop for QueueSlot {
    fn drop(&mut self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        telemetry::hashing_waiting(before.saturating_sub(1));
    }
}

impl fmt::Debug for HashingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashingPool").field("cost", &self.cost).finish_non_exhaustive()
    }
}
