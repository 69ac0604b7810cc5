//! Password hashing off the executor's threads, as much of it at once as the machine can bear.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::domain::password::{Password, PasswordCost, PasswordHash};
use crate::error::{Error, ErrorKind};
use crate::service::policy::Policy;
use crate::telemetry;

/// Hashes at most so many passwords at once, lets at most so many more wait, and only so long.
#[derive(Clone)]
pub(crate) struct HashingPool {
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    queue: usize,
    deadline: Duration,
    cost: PasswordCost,
    /// Verified where there is no hash, so that an unknown name costs the same as a known one.
    dummy: PasswordHash,
}

impl HashingPool {
    pub(crate) fn new(policy: &Policy) -> Result<Self, Error> {
        let cost = policy.password_cost;
        let nobody = Password::new(uuid::Uuid::new_v4().to_string())?;
        Ok(Self {
            permits: Arc::new(Semaphore::new(policy.hashing_permits)),
            waiting: Arc::default(),
            queue: policy.hashing_queue,
            deadline: policy.hashing_deadline,
            cost,
            dummy: PasswordHash::create(&nobody, cost)?,
        })
    }

    /// Whether `password` has that hash; where there is no hash, it takes as long to say no.
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
        let place = Place::take(&self.waiting, self.queue + self.permits.available_permits())
            .ok_or_else(overloaded)?;
        let permit = tokio::time::timeout(self.deadline, self.permits.clone().acquire_owned());
        let permit = permit.await.map_err(|_| overloaded())?.map_err(|_| overloaded())?;
        drop(place);
        telemetry::hashing_waited(begun.elapsed());
        // The permit goes with the work: a caller who hangs up does not make room while its hash
        // is still being computed.
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            telemetry::hashing(work)
        });
        work.await.map_err(|error| {
            Error::new(ErrorKind::Internal, "password hashing failed").with_source(error)
        })
    }
}

/// A place in the queue, given back on drop.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(waiting: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let place = Self(Arc::clone(waiting));
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        telemetry::hashing_waiting(before + 1);
        (before < limit).then_some(place)
    }
}

impl Drop for Place {
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
