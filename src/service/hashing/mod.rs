//! Password hashing off the executor's threads, as much of it at once as the machine can bear.

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

/// What runs the work; see
/// [`hashing_executor`](crate::builder::TokenServiceBuilder::hashing_executor).
pub(crate) type Executor = dyn Fn(Job) + Send + Sync;

/// Hashes at most so many passwords at once, lets at most so many more wait, and only so long.
#[derive(Clone)]
pub(crate) struct HashingPool {
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    queue: usize,
    deadline: Duration,
    cost: PasswordCost,
    executor: Arc<Executor>,
    /// Verified where there is no hash, so that an unknown name costs the same as a known one.
    dummy: PasswordHash,
}

impl HashingPool {
    /// A pool with threads of its own, unless there is another executor.
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

    /// Returns whether `password` has that hash; where there is no hash, it takes as long to say
    /// no.
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
        // The permit goes with the work: a caller who hangs up does not make room while its hash
        // is still being computed.
        let (sender, receiver) = oneshot::channel();
        (self.executor)(Box::new(move || {
            let permit = permit;
            let begun = Instant::now();
            let done = work();
            let took = begun.elapsed();
            // Before the caller gets the result, so that its next password finds a permit.
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

/// A slot in the queue, given back on drop.
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
