//! The nodes as processes: each with an address that it keeps, a line of its own to the engine, and a clock of
//! its own.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Request;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::Problem;
use crate::engine::Engine;
use crate::node::{LISTEN, STORE};
use crate::proxy::Proxy;
use crate::support::programs::free_address;
use crate::support::try_send;

/// Until a node listens, whatever the engine does meanwhile, on a machine that is busy. Whether it serves in time once all
/// is well is looked at in the end.
const START: Duration = Duration::from_secs(300);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Nothing listens there.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
/// Longer than any fault lasts.
const SILENT: Duration = Duration::from_secs(3_600);

pub struct Node {
    pub index: usize,
    pub address: SocketAddr,
    pub line: Proxy,
    engine: Arc<dyn Engine>,
    folder: PathBuf,
    preload: PathBuf,
    child: Mutex<Option<Child>>,
    pub turns: Turns,
}

/// Faults of one node and one kind come one after the other.
#[derive(Default)]
pub struct Turns {
    pub process: tokio::sync::Mutex<()>,
    pub clock: tokio::sync::Mutex<()>,
    pub line: tokio::sync::Mutex<()>,
}

impl Node {
    pub async fn start(
        index: usize,
        engine: &Arc<dyn Engine>,
        folder: &Path,
    ) -> Result<Self, Problem> {
        let node = Self {
            index,
            address: free_address(),
            line: Proxy::to(engine.primary()).await,
            engine: Arc::clone(engine),
            folder: folder.to_owned(),
            preload: find_libfaketime()?,
            child: Mutex::new(None),
            turns: Turns::default(),
        };
        node.step_clock(0)?;
        node.restart().await?;
        Ok(node)
    }

    /// As by `kill -9`. Returns once it is gone.
    pub async fn kill(&self) -> Result<(), Problem> {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut child) = child {
            child.kill().await?;
        }
        Ok(())
    }

    /// Returns once it listens.
    pub async fn restart(&self) -> Result<(), Problem> {
        self.kill().await?;
        let log = OpenOptions::new().create(true).append(true).open(self.log_file())?;
        let child = Command::new(std::env::current_exe()?)
            .arg("node")
            .env(LISTEN, self.address.to_string())
            .env(STORE, self.engine.location(self.line.address))
            .env("LD_PRELOAD", &self.preload)
            .env("FAKETIME_TIMESTAMP_FILE", self.clock_file())
            .env("FAKETIME_NO_CACHE", "1")
            // Deadlines are not of the clock that is set.
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_DISABLE_SHM", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        let end = Instant::now() + START;
        while !self.listens().await {
            if Instant::now() >= end {
                let log = self.log_file();
                let problem = format!("node {} does not start: {}", self.index, log.display());
                return Err(problem.into());
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    async fn listens(&self) -> bool {
        let request = Request::get("/.well-known/jwks.json").body("");
        let Ok(request) = request else { return false };
        timeout(Duration::from_secs(1), try_send(self.address, request))
            .await
            .is_ok_and(|a| a.is_ok())
    }

    /// Has the node's clock go on from another time, from its next look at it.
    pub fn step_clock(&self, seconds: i64) -> Result<(), Problem> {
        // In one step, since the node reads it all the time.
        let new = self.folder.join(format!("clock-{}.new", self.index));
        fs::write(&new, format!("{seconds:+}"))?;
        fs::rename(new, self.clock_file())?;
        Ok(())
    }

    /// Cuts the node off: nothing that it connects to is there.
    pub fn cut_off(&self) {
        self.line.turn_to(NOWHERE);
        self.line.cut();
    }

    /// From now on nothing comes through, and nothing ends.
    pub fn silence(&self) {
        self.line.delay(SILENT);
    }

    /// Who connects gets to a server from now on, and everything comes through.
    pub fn lead_to(&self, server: SocketAddr) {
        self.line.turn_to(server);
        self.line.delay(Duration::ZERO);
    }

    pub fn log_file(&self) -> PathBuf {
        self.folder.join(format!("node-{}.log", self.index))
    }

    fn clock_file(&self) -> PathBuf {
        self.folder.join(format!("clock-{}", self.index))
    }

    /// How many operations its audit log says were done, by name.
    pub fn audited(&self) -> Result<BTreeMap<String, usize>, Problem> {
        let mut counts = BTreeMap::new();
        for line in fs::read_to_string(self.log_file())?.lines() {
            let Some((_, event)) = line.split_once("countersign::audit: ") else { continue };
            if !event.contains("outcome=\"accepted\"") {
                continue;
            }
            let operation =
                event.split_once("operation=\"").and_then(|(_, rest)| rest.split_once('"'));
            if let Some((operation, _)) = operation {
                *counts.entry(operation.to_owned()).or_default() += 1;
            }
        }
        Ok(counts)
    }
}

/// What moves the clock of a process: of Debian's package `faketime`.
fn find_libfaketime() -> Result<PathBuf, Problem> {
    let libraries = fs::read_dir("/usr/lib")?.flatten().map(|folder| folder.path());
    let mut found = libraries.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    found
        .find(|path| File::open(path).is_ok())
        .ok_or_else(|| "no libfaketime; run: scripts/test --install-only".into())
}
