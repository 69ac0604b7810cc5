//! The examples, run as a newcomer runs them.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use http::Request;
use serde_json::{Value, json};

use crate::support::{Answer, send};

/// The program of an example, which `cargo test` builds beside the tests.
#[track_caller]
fn example(name: &str) -> Command {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples");
    path.push(name);
    assert!(path.exists(), "build the examples first: cargo build --all-features --examples");
    let mut command = Command::new(path);
    command.env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A folder for the files of one test, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("countersign-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A `token_server` on a port of its own, ended with the test.
struct TokenServer {
    child: Child,
    address: SocketAddr,
}

impl TokenServer {
    #[track_caller]
    fn start(mut command: Command) -> Self {
        let child = command.env("COUNTERSIGN_LISTEN", "127.0.0.1:0").spawn().unwrap();
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let mut log = BufReader::new(server.child.stderr.take().unwrap());
        let mut seen = String::new();
        while log.read_line(&mut seen).unwrap() > 0 {
            let line = seen.lines().last().unwrap_or_default();
            if let Some(rest) = line.split("address=").nth(1) {
                server.address = rest.split_whitespace().next().unwrap().parse().unwrap();
                // What it logs from here on is read, so that it never waits for a full pipe.
                std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
                return server;
            }
        }
        panic!("token_server did not start: {seen}");
    }

    async fn post(&self, path: &str, content_type: &str, body: impl Into<String>) -> Answer {
        let request = Request::post(path).header("content-type", content_type);
        send(self.address, request.body(body.into()).unwrap()).await
    }

    async fn get(&self, path: &str, bearer: &str) -> Answer {
        let request = Request::get(path).header("authorization", format!("Bearer {bearer}"));
        send(self.address, request.body("").unwrap()).await
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn seed() -> Value {
    json!({
        "users": [{"username": "ops@example.com", "password": "pass-word", "acl": [
            {"scope": {"entityId": ["aa-1"]}, "permissions": ["ReadEntitySecret"]}]}],
        "entities": [{"id": "aa-1", "secret": "a-known-secret"}, {"id": "aa-2", "disabled": true}],
        "customers": [{"username": "jane@example.com", "password": "pass-word", "customerId": "cus_1"}],
        "sessions": [
            {"token": "known-1", "customerId": "cus_1", "expiresInSeconds": 3600,
             "acl": [{"scope": {}, "permissions": ["GetOrders"]}]},
            {"token": "known-2", "customerId": "cus_2", "otpRequired": true, "organizationId": "org_1"},
        ],
    })
}

#[test]
fn the_quickstart_walks_through_every_route() {
    let output = example("quickstart").arg("--walk").output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("answers were as documented"), "{out}");
}

#[test]
fn a_code_that_was_mailed_completes_the_exchange() {
    let output = example("email_code").output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    for line in ["To: jane@example.com", "Subject: Your code", "Jane has the token jwt_"] {
        assert!(out.contains(line), "{out}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_server_serves_what_its_seed_says() {
    let folder = Folder::new("seed");
    let mut command = example("token_server");
    command
        .env("COUNTERSIGN_SEED", folder.write("seed.json", &seed().to_string()))
        .env("COUNTERSIGN_OUTBOX", folder.0.join("outbox.jsonl"));
    let server = TokenServer::start(command);
    let form = "application/x-www-form-urlencoded";

    let body = "username=ops%40example.com&password=pass-word";
    let login = server.post("/user/token/generate", form, body).await.expect(200).json();
    let token = login["accessToken"].as_str().unwrap().to_owned();
    let claims = server.get("/protected", &token).await.expect(200).json();
    assert_eq!(claims["sub"], "ops@example.com");
    server.get("/open", &token).await.expect(200);
    server.get("/protected", "forged").await.expect(401);

    let body = "id=aa-1&secret=a-known-secret";
    server.post("/entity/token/generate", form, body).await.expect(200);
    let body = "id=aa-2&secret=x";
    server.post("/entity/token/generate", form, body).await.expect(401);

    let claims = server.get("/session", "known-1").await.expect(200).json();
    assert_eq!(claims["sub"], "cus_1");
    let exchange = "/authentication-tokens/known-1/exchange";
    server.post(exchange, "application/json", "{}").await.expect(201);
    server.get("/session", "known-1").await.expect(401);

    let outbox = std::fs::read_to_string(folder.0.join("outbox.jsonl")).unwrap();
    let line: Value = serde_json::from_str(outbox.lines().next().unwrap()).unwrap();
    assert_eq!(line["to"], "cus_2");
    assert!(line["sid"].is_string() && line["expiresAt"].is_string());
    let body = json!({"oneTimePassword": line["oneTimePassword"]}).to_string();
    let exchange = "/organizations/org_1/authentication-tokens/known-2/exchange";
    server.post(exchange, "application/json", body).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_server_signs_with_the_key_that_it_is_given() {
    let folder = Folder::new("key");
    let jwk = json!({"kty": "oct", "k": "A".repeat(43)}).to_string();
    let mut command = example("token_server");
    command
        .env("COUNTERSIGN_SIGNING_KEY", folder.write("key.json", &jwk))
        .env("COUNTERSIGN_ISSUER", "https://auth.example.com")
        .env("COUNTERSIGN_AUDIENCE", "https://api.example.com")
        .env(
            "COUNTERSIGN_SEED",
            folder.write(
                "seed.json",
                &json!({"users": [
            {"username": "ops", "password": "x"}]})
                .to_string(),
            ),
        );
    let server = TokenServer::start(command);
    let form = "application/x-www-form-urlencoded";
    let login = server.post("/user/token/generate", form, "username=ops&password=x").await;
    let token = login.expect(200).json()["accessToken"].as_str().unwrap().to_owned();
    let claims = server.get("/protected", &token).await.expect(200).json();
    assert_eq!(claims["iss"], "https://auth.example.com");
    assert_eq!(claims["aud"], "https://api.example.com");
    let jwks = server.get("/.well-known/jwks.json", &token).await.expect(200).json();
    assert_eq!(jwks, json!({"keys": []}), "a shared secret is not published");
}

#[test]
fn a_wrong_setting_is_one_line_and_exit_code_2() {
    let folder = Folder::new("settings");
    let unknown_key = folder.write("unknown.json", r#"{"users": [], "admins": []}"#);
    let no_key = folder.write("key.pem", "nothing");
    let unknown_key = unknown_key.to_str().unwrap();
    for (name, value, mentions) in [
        ("COUNTERSIGN_LISTEN", "somewhere", "COUNTERSIGN_LISTEN"),
        ("COUNTERSIGN_STORE", "paper:", "COUNTERSIGN_STORE"),
        ("COUNTERSIGN_SIGNING_KEY", "/nowhere", "COUNTERSIGN_SIGNING_KEY"),
        ("COUNTERSIGN_SIGNING_KEY", no_key.to_str().unwrap(), "COUNTERSIGN_SIGNING_KEY"),
        ("COUNTERSIGN_SEALING_KEY", "c2hvcnQ=", "COUNTERSIGN_SEALING_KEY"),
        ("COUNTERSIGN_SEED", unknown_key, "admins"),
        ("COUNTERSIGN_ISSUER", " ", "COUNTERSIGN_ISSUER"),
    ] {
        let mut command = example("token_server");
        if name != "COUNTERSIGN_LISTEN" {
            command.env("COUNTERSIGN_LISTEN", "127.0.0.1:0");
        }
        let output = command.env("RUST_LOG", "off").env(name, value).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(mentions), "{text}");
    }
}
