//! Engines behind TLS: they are reached, and their certificates are checked.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::servers::{EngineServer, token_server_over};
use crate::support::programs::{Folder, TokenServer, free_address};

/// Has openssl make a CA and a certificate of 127.0.0.1 in a folder.
fn make_certificates(folder: &Path) {
    let lines = "
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
            -keyout ca.key -out ca.pem -subj /CN=test-ca
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
            -keyout server.key -out server.csr -subj /CN=127.0.0.1
        printf 'subjectAltName=IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' >server.ext
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
            -extfile server.ext -out server.pem";
    let made = Command::new("bash").args(["-euc", lines]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_server_reaches_redis_by_tls_and_checks_its_certificate() {
    let folder = Folder::new("tls");
    make_certificates(folder.path());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let port = free_address().port().to_string();
    let _server = EngineServer::redis_with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &file("server.pem"),
        "--tls-key-file",
        &file("server.key"),
        "--tls-auth-clients",
        "no",
    ]);
    let command = || token_server_over(&format!("rediss://127.0.0.1:{port}"));
    let mut trusting = command();
    trusting.env("SSL_CERT_FILE", file("ca.pem"));
    let node = TokenServer::start(trusting);
    let keys = node.get("/.well-known/jwks.json", "").await.expect(200).json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1, "they are in the store");

    let rejected = command().env("COUNTERSIGN_LISTEN", "127.0.0.1:0").output().unwrap();
    let text = String::from_utf8_lossy(&rejected.stderr);
    assert_eq!(rejected.status.code(), Some(2), "{text}");
    assert!(text.contains("COUNTERSIGN_STORE") && text.contains("certificate"), "{text}");
}

/// Has a Postgres server use the certificate of a folder. Its files are written by the server itself, as its user.
async fn turn_tls_on(server: &EngineServer, folder: &Path) {
    for name in ["server.pem", "server.key"] {
        let text = STANDARD.encode(std::fs::read(folder.join(name)).unwrap());
        let write = format!("COPY (SELECT '{text}') TO PROGRAM 'umask 077; base64 -d >{name}'");
        server.sql(&write).await;
    }
    for (name, value) in
        [("ssl_cert_file", "server.pem"), ("ssl_key_file", "server.key"), ("ssl", "on")]
    {
        server.sql(&format!("ALTER SYSTEM SET {name} = '{value}'")).await;
    }
    server.stop();
    server.start();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_server_reaches_postgres_by_tls_and_checks_its_certificate() {
    let folder = Folder::new("tls");
    make_certificates(folder.path());
    let server = EngineServer::postgres();
    turn_tls_on(&server, folder.path()).await;
    let url = format!("{}?sslmode=verify-full", server.url());
    let authority = folder.path().join("ca.pem");
    let trusting = format!("{url}&sslrootcert={}", authority.display());
    let node = TokenServer::start(token_server_over(&trusting));
    let keys = node.get("/.well-known/jwks.json", "").await.expect(200).json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1, "they are in the store");

    let mut command = token_server_over(&url);
    let rejected = command.env("COUNTERSIGN_LISTEN", "127.0.0.1:0").output().unwrap();
    let text = String::from_utf8_lossy(&rejected.stderr);
    assert_eq!(rejected.status.code(), Some(2), "{text}");
    assert!(text.contains("COUNTERSIGN_STORE") && text.contains("certificate"), "{text}");
}
