use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, thread};

use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};

/// A job for a thread that may block.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The priority in percent of the scale: nice 17 on Linux. It gets all of an idle core, and a fiftieth of a
/// contended one.
const PRIORITY: u8 = 3;

/// Threads with a lower priority than the host's. A hash keeps a core busy for tens of milliseconds: at the same
/// priority, every request would wait its turn.
pub(super) struct Workers {
    count: usize,
    /// Created with the first job.
    jobs: Mutex<Option<Sender<Job>>>,
}

impl Workers {
    pub(super) fn new(count: usize) -> Self {
        Self { count, jobs: Mutex::default() }
    }

    /// Submits a job to the first free thread. If no thread can be started, the job is dropped.
    pub(super) fn run(&self, job: Job) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let started = match &*jobs {
            Some(sender) => Ok(sender.clone()),
            None => start(self.count).inspect(|sender| *jobs = Some(sender.clone())),
        };
        drop(jobs);
        match started {
            Ok(sender) => drop(sender.send(job)),
            Err(error) => {
                tracing::error!(%error, "password hashing: no thread can be started, the login fails; raise the limit of threads");
            }
        }
    }
}

/// The threads end once the sender is dropped.
fn start(count: usize) -> io::Result<Sender<Job>> {
    let (sender, receiver) = mpsc::channel();
    let receiver = Arc::new(Mutex::new(receiver));
    for _ in 0..count {
        let receiver = Arc::clone(&receiver);
        thread::Builder::new()
            .name("countersign-hashing".to_owned())
            .spawn(move || work(&receiver))?;
    }
    Ok(sender)
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    let lowered = ThreadPriorityValue::try_from(PRIORITY)
        .map(ThreadPriority::Crossplatform)
        .is_ok_and(|priority| set_current_thread_priority(priority).is_ok());
    if !lowered {
        tracing::debug!(
            "password hashing: the priority of its threads cannot be lowered, hashes compete with requests"
        );
    }
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // The caller of a job that panics gets an error, and the thread continues with the next job.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}
