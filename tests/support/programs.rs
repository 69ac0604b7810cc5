//! The examples as processes of their own.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use http::Request;
use serde_json::{Value, json};

use crate::support::{Answer, random, send};

/// The program of an example, which `cargo test` builds beside the tests.
#[track_caller]
pub fn example(name: &str) -> Command {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples");
    path.push(name);
    assert!(path.exists(), "build the examples first: cargo test --all-features --no-run");
    let mut command = Command::new(path);
    command.env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A folder for the files of one test, removed with it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let name = format!("countersign-{name}-{}-{:x}", std::process::id(), random());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
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

/// An address that nothing listens on, for what has to be there again after it was gone. The
/// kernel gives ports of this range to nobody who does not ask for them, and no other test gets one
/// that is given here: not while its server is down, either.
pub fn free_address() -> SocketAddr {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    for _ in 0..100 {
        let port = 10_000 + (random() % 10_000) as u16;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if GIVEN.lock().unwrap().insert(port) && TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("found no free port");
}

/// A `token_server` that runs, ended with the test; or another example that logs its address.
pub struct TokenServer {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl TokenServer {
    /// On a port that the kernel chooses.
    #[track_caller]
    pub fn start(command: Command) -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), command)
    }

    /// Returns once it listens.
    #[track_caller]
    pub fn start_on(address: SocketAddr, mut command: Command) -> Self {
        let child = command.env("COUNTERSIGN_LISTEN", address.to_string()).spawn().unwrap();
        let mut server = Self { child, address, log: Arc::default() };
        let mut log = BufReader::new(server.child.stderr.take().unwrap());
        let mut seen = String::new();
        while log.read_line(&mut seen).unwrap() > 0 {
            let line = seen.lines().last().unwrap_or_default();
            if let Some(rest) = line.split("address=").nth(1) {
                server.address = rest.split_whitespace().next().unwrap().parse().unwrap();
                // What it logs from here on is read, so that it never waits for a full pipe.
                let kept = Arc::clone(&server.log);
                kept.lock().unwrap().push_str(&seen);
                std::thread::spawn(move || {
                    for line in log.lines().map_while(Result::ok) {
                        *kept.lock().unwrap() += &(line + "\n");
                    }
                });
                return server;
            }
        }
        panic!("the server did not start: {seen}");
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Asks it to end, as a supervisor does.
    pub fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    }

    /// Waits until it has ended.
    pub async fn wait_for_end(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            tokio::task::yield_now().await;
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub async fn post(&self, path: &str, content_type: &str, body: impl Into<String>) -> Answer {
        let request = Request::post(path).header("content-type", content_type);
        send(self.address, request.body(body.into()).unwrap()).await
    }

    pub async fn get(&self, path: &str, bearer: &str) -> Answer {
        let request = Request::get(path).header("authorization", format!("Bearer {bearer}"));
        send(self.address, request.body("").unwrap()).await
    }
}

/// It is killed, as by `kill -9`: nothing is finished, nothing is put in order.
impl Drop for TokenServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn seed() -> Value {
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
