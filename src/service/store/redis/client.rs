//! How the server is called: again, where that is safe, over a connection that is replaced where it
//! does not mend itself, and with replicas waited for.
//!
//! Everything that goes through here may be carried out twice: the answer to the first may get
//! lost.

use std::fmt;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::{
    Arg, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ServerErrorKind,
};

use crate::service::store::StoreError;
use crate::service::store::redis::connection::{Connection, RESPONSE_TIMEOUT, Servers};
use crate::service::store::retry::{Retried, retry};

/// How many replicas have to have a write before it is answered, and how long that may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledgement {
    pub(super) replicas: u32,
    pub(super) timeout: Duration,
}

/// A script, sent by its digest where the server has it.
pub(super) struct Script {
    source: &'static str,
    digest: String,
}

impl Script {
    pub(super) fn new(source: &'static str) -> Self {
        Self { source, digest: redis::Script::new(source).get_hash().to_owned() }
    }

    fn by_digest(&self, keys: &[&str], arguments: &[String]) -> Cmd {
        evaluation("EVALSHA", &self.digest, keys, arguments)
    }

    fn by_source(&self, keys: &[&str], arguments: &[String]) -> Cmd {
        evaluation("EVAL", self.source, keys, arguments)
    }
}

fn evaluation(verb: &str, script: &str, keys: &[&str], arguments: &[String]) -> Cmd {
    let mut command = redis::cmd(verb);
    command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
    command
}

pub(super) struct RedisClient {
    servers: Servers,
    read: Script,
    connection: SharedConnection,
    /// For writes that wait for replicas: whatever is sent over the same connection waits with
    /// them.
    waiting_connection: Option<(SharedConnection, Acknowledgement)>,
}

/// A connection that is replaced where it does not mend itself.
struct SharedConnection(Mutex<CurrentConnection>);

/// The connection that is used now, and how many there were before it.
#[derive(Clone)]
struct CurrentConnection {
    generation: u64,
    connection: Connection,
}

impl RedisClient {
    pub(super) fn new(
        servers: Servers,
        acknowledgement: Option<Acknowledgement>,
    ) -> RedisResult<Self> {
        let connection = SharedConnection::new(&servers)?;
        let waiting = |acknowledgement| {
            SharedConnection::new(&servers).map(|connection| (connection, acknowledgement))
        };
        let waiting_connection = acknowledgement.map(waiting).transpose()?;
        let read = Script::new(include_str!("scripts/read.lua"));
        Ok(Self { servers, read, connection, waiting_connection })
    }

    pub(super) fn servers(&self) -> &Servers {
        &self.servers
    }

    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        let calling = self.connection.call(&self.servers, |mut connection| async move {
            command.query_async(&mut connection).await
        });
        Ok(calling.await?.value)
    }

    /// Reads by a command of one key, of a primary alone.
    pub(super) async fn read<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        let words = command.args_iter().filter_map(|word| match word {
            Arg::Simple(word) => Some(String::from_utf8_lossy(word).into_owned()),
            _ => None,
        });
        let mut words = words.collect::<Vec<_>>();
        if words.len() < 2 {
            return Err(StoreError::corrupt("a command without a key"));
        }
        let key = words.remove(1);
        self.run(&self.read, &[&key], &words).await
    }

    /// Has writes that wait for replicas go over a new connection: the present one may lead to a server that has
    /// been replaced.
    pub(super) fn renew_waiting_connection(&self) -> Result<(), StoreError> {
        let Some((connection, _)) = &self.waiting_connection else { return Ok(()) };
        let generation = connection.current().generation;
        connection.replace(generation, &self.servers).map_err(StoreError::unavailable)
    }

    /// Makes calls at the same time.
    pub(super) async fn query_all(&self, commands: &[Cmd]) -> Result<(), StoreError> {
        try_join_all(commands.iter().map(|command| self.query::<()>(command))).await.map(drop)
    }

    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        arguments: &[String],
    ) -> Result<T, StoreError> {
        Ok(self.evaluate(&self.connection, script, keys, arguments, None).await?.value)
    }

    /// Runs a script, and waits for as many replicas as are asked for. Tells whether it was run
    /// more than once.
    pub(super) async fn run_and_wait<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[&str],
        arguments: &[String],
    ) -> Result<Retried<T>, StoreError> {
        match &self.waiting_connection {
            Some((connection, acknowledgement)) => {
                self.evaluate(connection, script, keys, arguments, Some(*acknowledgement)).await
            }
            None => self.evaluate(&self.connection, script, keys, arguments, None).await,
        }
    }

    async fn evaluate<T: FromRedisValue>(
        &self,
        connection: &SharedConnection,
        script: &Script,
        keys: &[&str],
        arguments: &[String],
        acknowledgement: Option<Acknowledgement>,
    ) -> Result<Retried<T>, StoreError> {
        let running = connection.call(&self.servers, |mut connection| async move {
            let known = script.by_digest(keys, arguments);
            match send(&mut connection, known, acknowledgement).await {
                Err(error) if is_unknown_script(&error) => {
                    let whole = script.by_source(keys, arguments);
                    send(&mut connection, whole, acknowledgement).await
                }
                answer => answer,
            }
        });
        let Retried { value: (answer, is_acknowledged), is_repeated } = running.await?;
        if is_acknowledged {
            return Ok(Retried { value: answer, is_repeated });
        }
        Err(StoreError::unavailable("too few replicas acknowledged a write in time"))
    }
}

impl SharedConnection {
    fn new(servers: &Servers) -> RedisResult<Self> {
        let connection = servers.connect(RESPONSE_TIMEOUT)?;
        Ok(Self(Mutex::new(CurrentConnection { generation: 0, connection })))
    }

    async fn call<T, F>(
        &self,
        servers: &Servers,
        call: impl Fn(Connection) -> F,
    ) -> Result<Retried<T>, StoreError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        // A script is undone by nobody.
        retry(
            Failure::is_lost,
            |_| false,
            || async {
                let CurrentConnection { generation, connection } = self.current().clone();
                let answer = call(connection).await.map_err(Failure);
                if answer.as_ref().is_err_and(Failure::needs_a_new_connection) {
                    self.replace(generation, servers).map_err(Failure)?;
                }
                answer
            },
        )
        .await
    }

    fn current(&self) -> MutexGuard<'_, CurrentConnection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces a connection, unless somebody has done so.
    fn replace(&self, generation: u64, servers: &Servers) -> RedisResult<()> {
        let mut current = self.current();
        if current.generation == generation {
            let connection = servers.connect(RESPONSE_TIMEOUT)?;
            *current = CurrentConnection { generation: generation + 1, connection };
        }
        Ok(())
    }
}

/// The answer, and whether as many replicas have what was written as are asked for. In one
/// pipeline: `WAIT` is about what its own connection wrote.
async fn send<T: FromRedisValue>(
    connection: &mut Connection,
    command: Cmd,
    acknowledgement: Option<Acknowledgement>,
) -> RedisResult<(T, bool)> {
    let Some(Acknowledgement { replicas, timeout }) = acknowledgement else {
        return command.query_async(connection).await.map(|answer| (answer, true));
    };
    let timeout = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    let mut pipeline = Pipeline::new();
    pipeline.add_command(command).cmd("WAIT").arg(replicas).arg(timeout);
    let (answer, acknowledged): (T, u32) = pipeline.query_async(connection).await?;
    Ok((answer, acknowledged >= replicas))
}

/// Returns whether the server has not seen a script yet, as after its restart.
fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Why a call failed. An answer that is not understood is not quoted: it may be a record.
struct Failure(RedisError);

impl Failure {
    /// Returns whether the connection is gone, or the server is not itself for a moment: it is
    /// worth asking again.
    fn is_lost(&self) -> bool {
        match self.0.kind() {
            ErrorKind::Server(kind) => matches!(
                kind,
                ServerErrorKind::BusyLoading
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ReadOnly
                    | ServerErrorKind::TryAgain
            ),
            ErrorKind::ClusterConnectionNotFound => true,
            _ => self.0.is_connection_dropped(),
        }
    }

    /// Returns whether the connection would go on failing by itself: it is to a server that has
    /// vanished without a word, to one that is the primary no more, or was refused when it was
    /// opened, which the driver does not try again; or the runtime that drove it has ended.
    fn needs_a_new_connection(&self) -> bool {
        match self.0.kind() {
            ErrorKind::Server(kind) => {
                matches!(kind, ServerErrorKind::MasterDown | ServerErrorKind::ReadOnly)
            }
            // What came is an answer.
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType | ErrorKind::Extension => false,
            _ => true,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind() {
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
                f.write_str("the server's answer is not understood")
            }
            _ => self.0.fmt(f),
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failure {}
