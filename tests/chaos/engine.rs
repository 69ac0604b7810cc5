//! An engine with a standby that follows it asynchronously, as faults see it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio::process::Command;

use crate::Problem;
use crate::proxy::Proxy;
use crate::support::programs::free_address;

/// How long a standby may take to have what its primary has, on a machine that is busy.
pub const STANDBY_FOLLOWS: Duration = Duration::from_secs(300);
pub const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Longer than any fault lasts.
const SILENT: Duration = Duration::from_secs(3_600);

#[async_trait]
pub trait Engine: Send + Sync {
    /// What nodes get as the location of their store, at the address of a line to it.
    fn location(&self, line: SocketAddr) -> String;
    fn primary(&self) -> SocketAddr;
    fn standby(&self) -> SocketAddr;
    /// Makes what the nodes need where it is missing: to be called after a restore, too.
    async fn migrate(&self) -> Result<(), Problem>;
    /// Waits until the standby has everything that was written before this call.
    async fn await_standby(&self) -> Result<(), Problem>;
    /// From now on nothing arrives at the standby.
    fn stop_replication(&self);
    fn resume_replication(&self);
    async fn kill_primary(&self) -> Result<(), Problem>;
    async fn start_primary(&self) -> Result<(), Problem>;
    /// Makes the standby the primary, once that was killed. It has no standby then.
    async fn promote(&self) -> Result<(), Problem>;
    async fn take_snapshot(&self) -> Result<(), Problem>;
    /// Makes the snapshot the primary, once that was killed. It has no standby then.
    async fn restore_snapshot(&self) -> Result<(), Problem>;
    async fn start_standby(&self) -> Result<(), Problem>;
    /// Keeps a transaction open that has written something.
    async fn hold_transaction(&self, lasts: Duration) -> Result<(), Problem>;
    /// Keeps everybody from the sessions.
    async fn lock_sessions(&self, lasts: Duration) -> Result<(), Problem>;
}

/// A server of one of the kinds that `scripts/servers` knows.
#[derive(Clone, Debug)]
pub struct Server {
    kind: &'static str,
    pub folder: PathBuf,
    pub address: SocketAddr,
}

impl Server {
    /// One that is still to be started, in a folder that is there with it.
    pub fn new(kind: &'static str, number: usize) -> Result<Self, Problem> {
        let all = std::env::var("COUNTERSIGN_TEST_FOLDER")
            .map_err(|_| "COUNTERSIGN_TEST_FOLDER has to be set: run scripts/chaos")?;
        let name = format!("chaos-{kind}-{}-{number}", std::process::id());
        Ok(Self { kind, folder: PathBuf::from(all).join(name), address: free_address() })
    }

    pub fn port(&self) -> String {
        self.address.port().to_string()
    }

    pub async fn start(&self, options: &[&str]) -> Result<(), Problem> {
        let port = self.port();
        let mut arguments = vec![port.as_str()];
        arguments.extend(options);
        self.script("start", &arguments).await
    }

    /// As a crash would. Returns when it is gone.
    pub async fn kill(&self) -> Result<(), Problem> {
        self.script("stop", &[]).await
    }

    /// Ends it, and removes what it has written.
    pub async fn remove(&self) -> Result<(), Problem> {
        self.kill().await?;
        tokio::fs::remove_dir_all(&self.folder).await.ok();
        Ok(())
    }

    pub async fn script(&self, verb: &str, arguments: &[&str]) -> Result<(), Problem> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/servers");
        let mut command = Command::new(script);
        command.args([self.kind, verb]).arg(&self.folder).args(arguments);
        let status = command.stdin(std::process::Stdio::null()).status().await?;
        if !status.success() {
            return Err(format!("scripts/servers {} {verb} failed: {status}", self.kind).into());
        }
        Ok(())
    }
}

/// The line by which a standby follows its primary.
pub struct Replication(Proxy);

impl Replication {
    pub async fn new(primary: SocketAddr) -> Self {
        Self(Proxy::to(primary).await)
    }

    pub fn port(&self) -> String {
        self.0.address.port().to_string()
    }

    /// Leads those who follow the present primary to another one.
    pub fn turn_to(&self, primary: SocketAddr) {
        self.0.cut();
        self.0.turn_to(primary);
        self.resume();
    }

    pub fn stop(&self) {
        self.0.delay(SILENT);
    }

    /// What was held up is dropped: a standby asks for it again.
    pub fn resume(&self) {
        self.0.cut();
        self.0.delay(Duration::ZERO);
    }
}
