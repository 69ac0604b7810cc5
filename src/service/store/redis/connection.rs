//! One server, the primary that sentinels name, or a cluster: the same commands to each.

use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, Pipeline, RedisError,
    RedisFuture, RedisResult, Value,
};

use crate::error::Error;
use crate::service::store::redis::sentinel::{Primary, Sentinels};
use crate::service::store::redis::tls;

pub(super) const CONNECTION_TIMEOUT: Duration = Duration::from_secs(1);
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
    Single(Box<Client>),
    /// The primary of a service that sentinels watch.
    Sentinels(Sentinels),
    Cluster(Box<ClusterClient>),
}

impl Servers {
    pub(super) fn single(url: &str) -> Result<Self, Error> {
        let client = Client::open(server(url)?).map_err(invalid)?;
        Ok(Self::Single(Box::new(client)))
    }

    pub(super) fn of_sentinels(urls: &[String], service: &str) -> Result<Self, Error> {
        let sentinels = servers(urls)?;
        Sentinels::new(sentinels, &server(service)?).map(Self::Sentinels).map_err(invalid)
    }

    pub(super) fn cluster(urls: &[String]) -> Result<Self, Error> {
        let millis = |pause: Duration| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        ClusterClient::builder(servers(urls)?)
            .tcp_settings(tcp_settings())
            .retries(CLUSTER_RETRIES)
            .min_retry_wait(millis(FIRST_PAUSE))
            .max_retry_wait(millis(LONGEST_PAUSE))
            .build()
            .map(|client| Self::Cluster(Box::new(client)))
            .map_err(invalid)
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
                ConnectionManager::new_lazy_with_config((**client).clone(), config)
                    .map(Connection::Single)
            }
            Self::Sentinels(sentinels) => {
                Ok(Connection::Primary(Primary::new(sentinels.clone(), response_timeout)))
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

fn servers(urls: &[String]) -> Result<Vec<ConnectionInfo>, Error> {
    let servers = urls.iter().map(|url| server(url)).collect::<Result<Vec<_>, _>>()?;
    if servers.is_empty() {
        return Err(Error::configuration(
            "a cluster, or its sentinels, need the URL of one server",
        ));
    }
    Ok(servers)
}

fn server(url: &str) -> Result<ConnectionInfo, Error> {
    // As the driver reads it.
    let scheme = url.trim().split(':').next().unwrap_or_default();
    if ["rediss", "valkeys"].iter().any(|tls| scheme.eq_ignore_ascii_case(tls)) {
        tls::prepare()?;
    }
    let info = url.into_connection_info().map_err(invalid)?;
    if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
        return Err(Error::configuration(
            "a Redis server's certificate is always checked: a URL must not end in #insecure",
        ));
    }
    Ok(info.set_tcp_settings(tcp_settings()))
}

/// A call waits for its answer, so it is sent at once.
pub(super) fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

/// The URL is not quoted: it may hold a password.
fn invalid(error: RedisError) -> Error {
    Error::configuration("not a URL of a Redis server").with_source(error)
}

#[derive(Clone)]
pub(super) enum Connection {
    Single(ConnectionManager),
    Primary(Primary),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(command),
            Self::Primary(primary) => {
                Box::pin(
                    async move { primary.connection().await?.req_packed_command(command).await },
                )
            }
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
            Self::Primary(primary) => Box::pin(async move {
                primary.connection().await?.req_packed_commands(pipeline, offset, count).await
            }),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(connection) => connection.get_db(),
            Self::Primary(primary) => primary.database(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_url_is_named_and_no_password_is() {
        for (url, problem) in [
            ("redis://:se-cret@cache:port", "did not parse"),
            ("http://:se-cret@cache", "did not parse"),
            ("redis://:se-cret@cache/x", "database"),
            ("redis://:se-cret@", "did not parse"),
        ] {
            let error = server(url).err().unwrap();
            let source = error.source().unwrap().to_string().to_lowercase();
            assert!(source.contains(problem), "{url}: {source}");
            assert!(!format!("{error:?}").contains("se-cret"), "{error:?}");
        }
        assert!(Servers::cluster(&[]).is_err());
    }
}
