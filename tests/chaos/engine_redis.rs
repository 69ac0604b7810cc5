//! Redis with a replica.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use countersign::store::RedisStore;
use tokio::time::{sleep, timeout};

use crate::Problem;
use crate::engine::{Engine, LOOK_AGAIN, Replication, STANDBY_FOLLOWS, Server};

/// A copy of files that are rewritten meanwhile would be none.
const OPTIONS: [&str; 2] = ["--auto-aof-rewrite-percentage", "0"];

pub struct Redis {
    servers: Mutex<Servers>,
    replication: Replication,
}

struct Servers {
    primary: Server,
    standby: Server,
    snapshot: Option<Server>,
    count: usize,
}

impl Servers {
    fn next(&mut self) -> Result<Server, Problem> {
        self.count += 1;
        Server::new("redis", self.count)
    }
}

impl Redis {
    pub async fn start() -> Result<Self, Problem> {
        let (primary, standby) = (Server::new("redis", 0)?, Server::new("redis", 1)?);
        primary.start(&OPTIONS).await?;
        let replication = Replication::new(primary.address).await;
        let servers = Mutex::new(Servers { primary, standby, snapshot: None, count: 1 });
        let engine = Self { servers, replication };
        engine.migrate().await?;
        engine.start_standby().await?;
        Ok(engine)
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pause(&self, lasts: Duration, mode: &str) -> Result<(), Problem> {
        let mut pause = redis::cmd("CLIENT");
        pause.arg("PAUSE").arg(lasts.as_millis() as u64).arg(mode);
        let () = command(self.primary(), &pause).await?;
        sleep(lasts).await;
        Ok(())
    }
}

async fn command<T: redis::FromRedisValue>(
    server: SocketAddr,
    command: &redis::Cmd,
) -> Result<T, Problem> {
    let client = redis::Client::open(format!("redis://{server}"))?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    Ok(command.query_async(&mut connection).await?)
}

async fn replication(server: SocketAddr) -> Result<String, Problem> {
    let mut info = redis::cmd("INFO");
    info.arg("replication");
    command(server, &info).await
}

/// How many bytes a server has of what is replicated.
fn offset(state: &str, name: &str) -> Option<u64> {
    state
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|offset| offset.trim().parse().ok())
}

#[async_trait]
impl Engine for Redis {
    fn location(&self, line: SocketAddr) -> String {
        format!("redis://{line}")
    }

    fn primary(&self) -> SocketAddr {
        self.servers().primary.address
    }

    fn standby(&self) -> SocketAddr {
        self.servers().standby.address
    }

    async fn migrate(&self) -> Result<(), Problem> {
        let store = RedisStore::connect(&self.location(self.primary()))?;
        Ok(store.migrate().await?)
    }

    async fn await_standby(&self) -> Result<(), Problem> {
        let (primary, standby) = (self.primary(), self.standby());
        let written = offset(&replication(primary).await?, "master_repl_offset:");
        let following = async {
            loop {
                let state = replication(standby).await?;
                let is_linked = state.contains("master_link_status:up");
                if is_linked && offset(&state, "slave_repl_offset:") >= written {
                    return Ok(());
                }
                sleep(LOOK_AGAIN).await;
            }
        };
        timeout(STANDBY_FOLLOWS, following).await?
    }

    fn stop_replication(&self) {
        self.replication.stop();
    }

    fn resume_replication(&self) {
        self.replication.resume();
    }

    async fn kill_primary(&self) -> Result<(), Problem> {
        let primary = self.servers().primary.clone();
        primary.kill().await
    }

    async fn start_primary(&self) -> Result<(), Problem> {
        let primary = self.servers().primary.clone();
        primary.start(&OPTIONS).await
    }

    async fn promote(&self) -> Result<(), Problem> {
        let (old, new) = {
            let servers = self.servers();
            (servers.primary.clone(), servers.standby.clone())
        };
        let mut promote = redis::cmd("REPLICAOF");
        promote.arg("NO").arg("ONE");
        let () = command(new.address, &promote).await?;
        self.servers().primary = new;
        old.remove().await
    }

    async fn take_snapshot(&self) -> Result<(), Problem> {
        let (snapshot, primary) = {
            let mut servers = self.servers();
            (servers.next()?, servers.primary.clone())
        };
        let files = "appendonlydir";
        copy_folder(&primary.folder.join(files), &snapshot.folder.join(files)).await?;
        self.servers().snapshot = Some(snapshot);
        Ok(())
    }

    async fn restore_snapshot(&self) -> Result<(), Problem> {
        let (primary, standby, snapshot) = {
            let mut servers = self.servers();
            let snapshot = servers.snapshot.take().ok_or("no snapshot was taken")?;
            (servers.primary.clone(), servers.standby.clone(), snapshot)
        };
        snapshot.start(&OPTIONS).await?;
        self.servers().primary = snapshot;
        primary.remove().await?;
        standby.remove().await
    }

    async fn start_standby(&self) -> Result<(), Problem> {
        let (standby, primary) = {
            let mut servers = self.servers();
            (servers.next()?, servers.primary.address)
        };
        self.replication.turn_to(primary);
        let port = self.replication.port();
        let mut options = OPTIONS.to_vec();
        options.extend(["--replicaof", "127.0.0.1", &port]);
        standby.start(&options).await?;
        self.servers().standby = standby;
        self.await_standby().await
    }

    /// Nothing is answered, as where a script runs that takes long.
    async fn hold_transaction(&self, lasts: Duration) -> Result<(), Problem> {
        self.pause(lasts, "ALL").await
    }

    /// Nothing is written.
    async fn lock_sessions(&self, lasts: Duration) -> Result<(), Problem> {
        self.pause(lasts, "WRITE").await
    }
}

async fn copy_folder(from: &Path, to: &Path) -> Result<(), Problem> {
    tokio::fs::create_dir_all(to).await?;
    let mut files = tokio::fs::read_dir(from).await?;
    while let Some(file) = files.next_entry().await? {
        tokio::fs::copy(file.path(), to.join(file.file_name())).await?;
    }
    Ok(())
}
