//! How the server is called: again, where that is safe, and with replicas waited for.
//!
//! Everything that goes through here may be carried out twice: the answer to the first may get lost.

use std::time::Duration;

use redis::{
    Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Script, ServerErrorKind,
};

use crate::store::StoreError;
use crate::store::redis::connection::Connection;
use crate::store::retry::retry;

/// How many replicas have to have a write before it is answered, and how long that may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledgement {
    pub(super) replicas: u32,
    pub(super) timeout: Duration,
}

#[derive(Clone)]
pub(super) struct Calls {
    connection: Connection,
    acknowledgement: Option<Acknowledgement>,
}

impl Calls {
    pub(super) fn new(connection: Connection, acknowledgement: Option<Acknowledgement>) -> Self {
        Self { connection, acknowledgement }
    }

    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        let calling =
            retry(
                is_lost,
                || async move { command.query_async(&mut self.connection.clone()).await },
            );
        Ok(calling.await?.value)
    }

    /// The same, and waits for as many replicas as are asked for.
    pub(super) async fn query_and_wait<T: FromRedisValue>(
        &self,
        command: &Cmd,
    ) -> Result<T, StoreError> {
        let Some(acknowledgement) = self.acknowledgement else { return self.query(command).await };
        let calling = retry(is_lost, || self.acknowledged(command, acknowledgement));
        acknowledgement.check(calling.await?.value)
    }

    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        key: &str,
        arguments: &[String],
    ) -> Result<T, StoreError> {
        let calling = retry(is_lost, || async move {
            let mut connection = self.connection.clone();
            script.key(key).arg(arguments).invoke_async(&mut connection).await
        });
        Ok(calling.await?.value)
    }

    /// The same, and waits for as many replicas as are asked for.
    pub(super) async fn run_and_wait<T: FromRedisValue>(
        &self,
        script: &Script,
        key: &str,
        arguments: &[String],
    ) -> Result<T, StoreError> {
        let Some(acknowledgement) = self.acknowledgement else {
            return self.run(script, key, arguments).await;
        };
        let mut command = redis::cmd("EVALSHA");
        command.arg(script.get_hash()).arg(1).arg(key).arg(arguments);
        let command = &command;
        let calling = retry(is_lost, || async move {
            match self.acknowledged(command, acknowledgement).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    script.load_async(&mut self.connection.clone()).await?;
                    self.acknowledged(command, acknowledgement).await
                }
                answer => answer,
            }
        });
        acknowledgement.check(calling.await?.value)
    }

    /// The answer, and how many replicas have it. In one pipeline: `WAIT` is about what its own
    /// connection wrote.
    async fn acknowledged<T: FromRedisValue>(
        &self,
        command: &Cmd,
        acknowledgement: Acknowledgement,
    ) -> RedisResult<(T, u32)> {
        let timeout = u64::try_from(acknowledgement.timeout.as_millis()).unwrap_or(u64::MAX);
        let mut pipeline = Pipeline::new();
        pipeline.add_command(command.clone());
        pipeline.cmd("WAIT").arg(acknowledgement.replicas).arg(timeout);
        pipeline.query_async(&mut self.connection.clone()).await
    }
}

impl Acknowledgement {
    fn check<T>(self, (answer, replicas): (T, u32)) -> Result<T, StoreError> {
        if replicas >= self.replicas {
            return Ok(answer);
        }
        Err(StoreError::unavailable("too few replicas acknowledged a write in time"))
    }
}

/// Whether the connection is gone, or the server is not itself for a moment: it is worth asking
/// again.
fn is_lost(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::TryAgain
        ),
        ErrorKind::ClusterConnectionNotFound => true,
        _ => error.is_connection_dropped(),
    }
}
