use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, thread};

use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};

/// Work for a thread that may be kept busy.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// In percent, from the least to the most urgent: nice 17 on Linux. All of what nobody else wants of
/// a core, and a fiftieth of one that everybody wants.
const PRIORITY: u8 = 3;

/// Threads of our own, below the priority of the host's. A hash keeps a core busy for tens of
/// milliseconds: on threads of the same priority, every request would wait for its turn.
pub(super) struct Workers {
    count: usize,
    /// None before there is work.
    jobs: Mutex<Option<Sender<Job>>>,
}

impl Workers {
    pub(super) fn new(count: usize) -> Self {
        Self { count, jobs: Mutex::default() }
    }

    /// Hands work to whichever thread is free first. Work that no thread can be had for is dropped.
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

/// The threads end once the sender has been dropped.
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
        tracing::debug!("passwords are hashed at the priority of all other threads");
    }
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // Whoever waits for a job that panics is told so, and the thread goes on with the next.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}
