//! The primary of a service, as sentinels name it.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, RedisResult, TlsMode,
};
use tokio::sync::{Mutex, OnceCell};

use crate::service::store::redis::connection::{CONNECTION_TIMEOUT, tcp_settings};

/// The sentinels that are asked.
#[derive(Clone)]
pub(super) struct Sentinels {
    client: Arc<Mutex<SentinelClient>>,
    database: i64,
}

impl Sentinels {
    /// The host of `service` is the service's name; the rest says how its primary is connected to.
    pub(super) fn new(urls: Vec<ConnectionInfo>, service: &ConnectionInfo) -> RedisResult<Self> {
        let node = SentinelNodeConnectionInfo::default().set_tcp_settings(tcp_settings());
        let (name, node) = match service.addr() {
            ConnectionAddr::Tcp(name, _) => (name, node),
            ConnectionAddr::TcpTls { host, .. } => (host, node.set_tls_mode(TlsMode::Secure)),
            _ => return Err((ErrorKind::InvalidClientConfig, "no name of a service").into()),
        };
        let name = name.clone();
        let settings = service.redis_settings().clone();
        let database = settings.db();
        let node = node.set_redis_connection_info(settings);
        let client = SentinelClient::build(urls, name, Some(node), SentinelServerType::Master)?;
        Ok(Self { client: Arc::new(Mutex::new(client)), database })
    }
}

/// A connection to the one that is the primary when it is first used. It is replaced where that is one no more.
#[derive(Clone)]
pub(super) struct Primary {
    sentinels: Sentinels,
    response_timeout: Duration,
    connection: Arc<OnceCell<MultiplexedConnection>>,
}

impl Primary {
    pub(super) fn new(sentinels: Sentinels, response_timeout: Duration) -> Self {
        Self { sentinels, response_timeout, connection: Arc::default() }
    }

    pub(super) async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        let connecting = self.connection.get_or_try_init(|| async {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECTION_TIMEOUT))
                .set_response_timeout(Some(self.response_timeout));
            self.sentinels.client.lock().await.get_async_connection_with_config(&config).await
        });
        connecting.await.cloned()
    }

    pub(super) fn database(&self) -> i64 {
        self.sentinels.database
    }
}
