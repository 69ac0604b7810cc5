//! What is logged, for those who look at it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

/// With a single subscriber about, tracing asks that of whichever thread comes by an event first
/// whether anybody wants it, and goes by the answer from then on. In a test of another thread nobody
/// does. With two of them it asks both.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

/// All that is logged on a thread, from [`listen`](Self::listen) until its guard is dropped, spans'
/// beginnings and ends included.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn listen(&self) -> DefaultGuard {
        LazyLock::force(&SECOND);
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(FmtSpan::FULL)
            .with_ansi(false)
            .with_writer(self.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The errors of this crate, one a line.
    pub fn errors(&self) -> Vec<String> {
        let text = self.text();
        text.lines().filter(|line| line.contains("ERROR countersign")).map(str::to_owned).collect()
    }

    /// The events of the audit log, each as its fields.
    pub fn audit(&self) -> Vec<BTreeMap<String, String>> {
        let text = self.text();
        let events = text.lines().filter_map(|line| line.split("countersign::audit: ").nth(1));
        events.map(fields).collect()
    }

    /// The event of an operation, which has to be the only one.
    #[track_caller]
    pub fn only(&self, operation: &str) -> BTreeMap<String, String> {
        let mut events = self.audit();
        events.retain(|event| event["operation"] == operation);
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }
}

/// `name="value"` or `name=value`, one after the other; no value here has a blank.
fn fields(event: &str) -> BTreeMap<String, String> {
    let pairs = event.split_whitespace().filter_map(|word| word.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
