//! Asks nodes, and writes each request down with what came of it.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::Problem;
use crate::checker::history::{Answer, Call, Given, Request};
use crate::injector::Injector;
use crate::support::{self, try_send};

/// Longer than a node takes to say that it cannot answer.
const PATIENCE: Duration = Duration::from_secs(12);

pub struct Recorder {
    pub injector: Arc<Injector>,
    numbers: AtomicUsize,
    written: Mutex<Written>,
}

struct Written {
    file: BufWriter<File>,
    requests: Vec<Request>,
}

/// Who asks which node for what.
pub struct Asking {
    pub client: usize,
    pub node: usize,
    pub call: Call,
    /// How long the answer is waited for, where the client hangs up.
    pub hangs_up: Option<Duration>,
}

impl Recorder {
    pub fn new(injector: Arc<Injector>, history: &Path) -> Result<Self, Problem> {
        let file = BufWriter::new(File::create(history)?);
        let written = Mutex::new(Written { file, requests: Vec::new() });
        Ok(Self { injector, numbers: AtomicUsize::new(0), written })
    }

    /// A number that nothing else in this run has.
    pub fn number(&self) -> usize {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the body where the node has done what was asked for. `read` says what of it is to be
    /// remembered.
    pub async fn ask(
        &self,
        asking: Asking,
        request: http::Request<String>,
        read: impl FnOnce(&Value) -> Given,
    ) -> Option<Value> {
        let Asking { client, node, call, hangs_up } = asking;
        let start = Instant::now();
        let sending = try_send(self.injector.nodes[node].address, request);
        let outcome = timeout(hangs_up.unwrap_or(PATIENCE), sending).await;
        let end = Instant::now();
        let (answer, body) = match outcome {
            Ok(Ok(response)) => judge(&response, read),
            Ok(Err(lost)) => (Answer::Unknown(format!("{lost:?}")), None),
            Err(_) if hangs_up.is_some() => (Answer::Unknown("hung up".to_owned()), None),
            Err(_) => (Answer::Unknown("timed out".to_owned()), None),
        };
        let began = self.injector.began;
        let [start, end] = [start, end].map(|at| at - began);
        self.write(Request { id: 0, client, node, call, start, end, answer });
        body
    }

    fn write(&self, request: Request) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let request = Request { id: written.requests.len(), ..request };
        // The checker has it all the same.
        let _ = writeln!(written.file, "{}", request.to_json());
        written.requests.push(request);
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).requests.clone()
    }

    /// Ends the file with the faults.
    pub fn finish(&self) -> Result<(), Problem> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        for fault in self.injector.happened() {
            writeln!(written.file, "{}", fault.to_json())?;
        }
        Ok(written.file.flush()?)
    }
}

fn judge(
    response: &support::Answer,
    read: impl FnOnce(&Value) -> Given,
) -> (Answer, Option<Value>) {
    match response.status().as_u16() {
        status @ 200..=299 => match serde_json::from_slice(response.body()) {
            Ok(body) => (Answer::Yes(read(&body)), Some(body)),
            Err(_) if response.body().is_empty() => {
                (Answer::Yes(Given::default()), Some(Value::Null))
            }
            Err(_) => (Answer::Unknown(format!("{status} without JSON")), None),
        },
        // Too many at once, or nobody knows.
        status @ (429 | 500..) => (Answer::Unknown(status.to_string()), None),
        status => (Answer::No(status), None),
    }
}
