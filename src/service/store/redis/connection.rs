//! One server, or a cluster: the same commands to either.

use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::io::tcp::TcpSettings;
use redis::{
    Client, Cmd, ConnectionInfo, FromRedisValue, IntoConnectionInfo as _, Pipeline, RedisFuture,
    RedisResult, Value,
};

use crate::error::Error;

const CONNECTION_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a command is waited for. Less than the service's deadline.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait before connecting again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// How often a cluster's command is made again. Each script knows its own repetition.
const CLUSTER_RETRIES: u32 = 6;

/// Where the data is.
#[derive(Clone)]
pub(super) enum Servers {
    Single(Client),
    Cluster(Box<ClusterClient>),
}

impl Servers {
    pub(super) fn single(url: &str) -> Result<Self, Error> {
        Client::open(server(url)?).map(Self::Single).map_err(|_| invalid())
    }

    pub(super) fn cluster(urls: &[String]) -> Result<Self, Error> {
        let servers = urls.iter().map(|url| server(url)).collect::<Result<Vec<_>, _>>()?;
        if servers.is_empty() {
            return Err(invalid());
        }
        let millis = |pause: Duration| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        ClusterClient::builder(servers)
            .tcp_settings(tcp_settings())
            .retries(CLUSTER_RETRIES)
            .min_retry_wait(millis(FIRST_PAUSE))
            .max_retry_wait(millis(LONGEST_PAUSE))
            .build()
            .map(|client| Self::Cluster(Box::new(client)))
            .map_err(|_| invalid())
    }

    /// A connection that is shared by all callers, and is made when it is first used. It finds most
    /// of its losses out by itself; see [`RedisClient`](super::client::RedisClient) for the others.
    pub(super) fn connect(&self, response_timeout: Duration) -> RedisResult<Connection> {
        match self {
            Self::Single(client) => {
                let config = ConnectionManagerConfig::new()
                    .set_connection_timeout(Some(CONNECTION_TIMEOUT))
                    .set_response_timeout(Some(response_timeout))
                    .set_min_delay(FIRST_PAUSE)
                    .set_max_delay(LONGEST_PAUSE);
                ConnectionManager::new_lazy_with_config(client.clone(), config)
                    .map(Connection::Single)
            }
            Self::Cluster(client) => {
                let config = ClusterConfig::new()
                    .set_connection_timeout(CONNECTION_TIMEOUT)
                    .set_response_timeout(response_timeout);
                let connection = client.get_pending_async_connection_with_config(config);
                Ok(Connection::Cluster(connection))
            }
        }
    }

    pub(super) fn are_a_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

fn server(url: &str) -> Result<ConnectionInfo, Error> {
    let info = url.into_connection_info().map_err(|_| invalid())?;
    Ok(info.set_tcp_settings(tcp_settings()))
}

/// A call waits for its answer, so it is sent at once.
fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

/// The URL is not quoted: it may hold a password.
fn invalid() -> Error {
    Error::configuration("not a URL of a Redis server")
}

#[derive(Clone)]
pub(super) enum Connection {
    Single(ConnectionManager),
    Cluster(ClusterConnection),
}

impl Connection {
    /// Sends a command that names no key to the server that has a slot.
    pub(super) async fn query_at<T: FromRedisValue>(
        &mut self,
        slot: Option<u16>,
        command: &Cmd,
    ) -> RedisResult<T> {
        match (self, slot) {
            (Self::Cluster(connection), Some(slot)) => {
                let server =
                    SingleNodeRoutingInfo::SpecificNode(Route::new(slot, SlotAddr::Master));
                let routing = RoutingInfo::SingleNode(server);
                Ok(T::from_redis_value(connection.route_command(command.clone(), routing).await?)?)
            }
            (connection, _) => command.query_async(connection).await,
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}
