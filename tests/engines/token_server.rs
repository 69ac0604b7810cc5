//! The example `token_server` as a server that is operated: slow clients, its end, its health, its metrics.

use std::net::SocketAddr;
use std::process::Command;

use http::{Request, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::servers::{EngineServer, token_server_over};
use crate::support::durable::MINUTE;
use crate::support::programs::{Folder, TokenServer, example};
use crate::support::send;

const HALF_A_HEAD: &[u8] = b"GET /open HTTP/1.1\r\nHost: auth.example.com\r\nX-Slow: ";

async fn status_of(address: SocketAddr, path: &str) -> StatusCode {
    send(address, Request::get(path).body("").unwrap()).await.status()
}

/// A connection over which a request was answered, and on which half of the next one is pending.
async fn with_half_a_head(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: auth.example.com\r\n\r\n").await.unwrap();
    stream.write_all(HALF_A_HEAD).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_told_to_end_does_not_wait_for_the_other_half_of_a_request() {
    let mut command = example("token_server");
    command.env("COUNTERSIGN_HEAD_TIMEOUT", "3600").env("COUNTERSIGN_SHUTDOWN_TIMEOUT", "1");
    let mut server = TokenServer::start(command);
    let pending = with_half_a_head(server.address()).await;
    server.terminate();
    let ended = tokio::time::timeout(MINUTE, server.wait_for_end()).await;
    assert!(ended.expect("within a minute").success());
    drop(pending);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_waits_for_its_store_ends_when_it_is_told_to() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = format!("redis://{}", silent.local_addr().unwrap());
    let mut server = tokio::process::Command::from(token_server_over(&store)).spawn().unwrap();
    let _connection = silent.accept().await.unwrap();
    let pid = server.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    let ended = tokio::time::timeout(MINUTE, server.wait()).await;
    assert!(ended.expect("within a minute").unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_slow_clients_than_there_are_descriptors_keep_nobody_out_for_long() {
    let program = example("token_server");
    let mut command = Command::new("bash");
    command.env_clear().args(["-c", "ulimit -n 100; exec \"$0\""]).arg(program.get_program());
    command.stderr(std::process::Stdio::piped()).env("COUNTERSIGN_HEAD_TIMEOUT", "1");
    let server = TokenServer::start(command);
    keep_busy_and_get_served(server.address(), 110).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_slow_clients_than_there_may_be_connections_keep_nobody_out_for_long() {
    let mut command = example("token_server");
    command.env("COUNTERSIGN_HEAD_TIMEOUT", "1").env("COUNTERSIGN_MAX_CONNECTIONS", "4");
    let server = TokenServer::start(command);
    keep_busy_and_get_served(server.address(), 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_its_responses_keeps_nobody_out_for_long() {
    let mut command = example("token_server");
    command.env("COUNTERSIGN_REQUEST_TIMEOUT", "1").env("COUNTERSIGN_MAX_CONNECTIONS", "1");
    let server = TokenServer::start(command);
    let mut pending = TcpStream::connect(server.address()).await.unwrap();
    let requests = "GET /.well-known/jwks.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1_000);
    // Until neither side can write, or the server has closed the connection.
    let sending = async { while pending.write_all(requests.as_bytes()).await.is_ok() {} };
    let served = async { tokio::join!(status_of(server.address(), "/open"), sending) };
    let (status, ()) = tokio::time::timeout(MINUTE, served).await.expect("within a minute");
    assert_eq!(status, 200);
}

async fn keep_busy_and_get_served(address: SocketAddr, clients: usize) {
    let mut pending = Vec::new();
    for _ in 0..clients {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(HALF_A_HEAD).await.unwrap();
        pending.push(stream);
    }
    let served = tokio::time::timeout(MINUTE, status_of(address, "/open")).await;
    assert_eq!(served.expect("within a minute"), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_ready_while_it_hears_of_revocations_and_lives_all_the_same() {
    let engine = EngineServer::redis();
    let mut command = example("token_server");
    command
        .env("COUNTERSIGN_STORE", engine.url())
        .env("COUNTERSIGN_SEALING_KEY", "A".repeat(43) + "=")
        .env("COUNTERSIGN_MAX_REVOCATION_STALENESS", "2");
    let server = TokenServer::start(command);
    let until_ready_is = async |status: u16| {
        let waiting = async {
            while status_of(server.address(), "/readyz").await != status {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(MINUTE, waiting).await.expect("within a minute");
        assert_eq!(status_of(server.address(), "/healthz").await, 200);
    };
    until_ready_is(200).await;
    engine.stop();
    until_ready_is(503).await;
    engine.start();
    until_ready_is(200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_served_on_an_address_of_their_own() {
    let mut command = example("token_server");
    command.env("COUNTERSIGN_METRICS_LISTEN", "127.0.0.1:0");
    let server = TokenServer::start(command);
    let log = server.log();
    let at = log.split(" at=").nth(1).unwrap().split_whitespace().next().unwrap();
    let address = at.parse().unwrap();
    let request = Request::get("/metrics").body("").unwrap();
    let text = send(address, request).await.expect(200).text();
    for line in ["# TYPE countersign_store_call_seconds histogram", "countersign_revocations_held"]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert_eq!(status_of(server.address(), "/metrics").await, 404);
    assert_eq!(status_of(address, "/open").await, 404);
}

#[test]
fn a_store_that_cannot_be_opened_is_named_with_its_cause_and_no_secret() {
    let folder = Folder::new("stores");
    let not_a_file = format!("sqlite:{}", folder.path().display());
    for (store, cause) in [
        ("redis://app:canary@127.0.0.1:1", "refused"),
        ("rediss://app:canary@127.0.0.1:1", "refused"),
        ("redis-cluster://app:canary@127.0.0.1:1", "COUNTERSIGN_STORE"),
        ("redis-sentinel://app:canary@service?127.0.0.1:1", "refused"),
        ("redis-sentinel://app:canary@service", "must name its sentinels"),
        ("redis://app:canary@", "not a URL of a Redis server"),
        ("unix:///nowhere/redis.sock?pass=canary", "No such file"),
        ("postgres://app:canary@127.0.0.1:1/tokens", "refused"),
        ("postgres://app:canary@127.0.0.1:port/tokens", "COUNTERSIGN_STORE"),
        (&not_a_file, "Is a directory"),
        ("paper:", "must be memory:"),
    ] {
        for name in ["COUNTERSIGN_STORE", "COUNTERSIGN_SESSION_STORE"] {
            let mut command = example("token_server");
            command.env("COUNTERSIGN_LISTEN", "127.0.0.1:0").env("RUST_LOG", "off");
            let output = command.env(name, store).output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{store}: {text}");
            assert!(text.contains(&cause.replace("COUNTERSIGN_STORE", name)), "{store}: {text}");
            assert!(text.contains(name) && !text.contains("canary"), "{store}: {text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }
    let lasting = format!("sqlite:{}", folder.path().join("a.db").display());
    let output = example("token_server").env("COUNTERSIGN_STORE", lasting).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("COUNTERSIGN_SEALING_KEY is missing"), "{text}");
}
