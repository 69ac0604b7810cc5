//! PostgreSQL with a streaming standby.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use countersign::store::PgPool;
use countersign::store::PostgresStore;
use sqlx::AssertSqlSafe;
use tokio::time::{sleep, timeout};

use crate::Problem;
use crate::engine::{Engine, LOOK_AGAIN, Replication, STANDBY_FOLLOWS, Server};

pub struct Postgres {
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
        Server::new("postgres", self.count)
    }
}

impl Postgres {
    pub async fn start() -> Result<Self, Problem> {
        let (primary, standby) = (Server::new("postgres", 0)?, Server::new("postgres", 1)?);
        primary.start(&[]).await?;
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

    /// Does something in one transaction, and undoes it after a while.
    async fn block(&self, statement: &'static str, lasts: Duration) -> Result<(), Problem> {
        let pool = PgPool::connect(&self.location(self.primary())).await?;
        let mut transaction = pool.begin().await?;
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *transaction).await?;
        tokio::time::sleep(lasts).await;
        // The server may have been killed meanwhile.
        let _ = transaction.rollback().await;
        pool.close().await;
        Ok(())
    }
}

#[async_trait]
impl Engine for Postgres {
    fn location(&self, line: SocketAddr) -> String {
        format!("postgres://countersign@{line}/countersign")
    }

    fn primary(&self) -> SocketAddr {
        self.servers().primary.address
    }

    fn standby(&self) -> SocketAddr {
        self.servers().standby.address
    }

    async fn migrate(&self) -> Result<(), Problem> {
        let store = PostgresStore::connect(&self.location(self.primary()))?;
        Ok(store.migrate().await?)
    }

    async fn await_standby(&self) -> Result<(), Problem> {
        let primary = PgPool::connect(&self.location(self.primary())).await?;
        let written = sqlx::query_scalar("SELECT pg_current_wal_lsn()::text");
        let written: String = written.fetch_one(&primary).await?;
        primary.close().await;
        let standby = PgPool::connect(&self.location(self.standby())).await?;
        let has_it = "SELECT coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false)";
        let following = async {
            while !sqlx::query_scalar(has_it).bind(&written).fetch_one(&standby).await? {
                sleep(LOOK_AGAIN).await;
            }
            Ok::<_, Problem>(())
        };
        let followed = timeout(STANDBY_FOLLOWS, following).await;
        standby.close().await;
        followed?
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
        primary.start(&[]).await
    }

    async fn promote(&self) -> Result<(), Problem> {
        let (old, new) = {
            let servers = self.servers();
            (servers.primary.clone(), servers.standby.clone())
        };
        new.script("promote", &[]).await?;
        self.servers().primary = new;
        old.remove().await
    }

    async fn take_snapshot(&self) -> Result<(), Problem> {
        let (snapshot, primary) = {
            let mut servers = self.servers();
            (servers.next()?, servers.primary.port())
        };
        snapshot.script("copy", &[&primary]).await?;
        self.servers().snapshot = Some(snapshot);
        Ok(())
    }

    async fn restore_snapshot(&self) -> Result<(), Problem> {
        let (primary, standby, snapshot) = {
            let mut servers = self.servers();
            let snapshot = servers.snapshot.take().ok_or("no snapshot was taken")?;
            (servers.primary.clone(), servers.standby.clone(), snapshot)
        };
        snapshot.start(&[]).await?;
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
        standby.script("standby", &[&standby.port(), &self.replication.port()]).await?;
        self.servers().standby = standby;
        Ok(())
    }

    async fn hold_transaction(&self, lasts: Duration) -> Result<(), Problem> {
        self.block("SELECT pg_current_xact_id()", lasts).await
    }

    async fn lock_sessions(&self, lasts: Duration) -> Result<(), Problem> {
        self.block("LOCK TABLE countersign_sessions IN ACCESS EXCLUSIVE MODE", lasts).await
    }
}
