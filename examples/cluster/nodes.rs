//! The nodes: processes over one store, and the keys that they share.

use std::env;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign::Secret;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::{People, Problem, Settings};

/// How long a node may take to start, with the making of its tables.
const START: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    pub(crate) nodes: [Node; 3],
    // After the nodes: fields are dropped in this order.
    _folder: Folder,
}

impl Cluster {
    pub(crate) async fn start(settings: &Settings, people: &People) -> Result<Self, Problem> {
        let folder = Folder::make()?;
        let signing_key = folder.write("signing-key.pem", &ed25519_key()?)?;
        let seed = folder.write("seed.json", &people.seed().to_string())?;
        let sealing_key = STANDARD.encode(random_bytes()?);
        let command = || {
            let mut command = Command::new(&settings.token_server);
            for (name, _) in env::vars_os() {
                if name.to_string_lossy().starts_with("COUNTERSIGN_") {
                    command.env_remove(name);
                }
            }
            command
                .env("COUNTERSIGN_LISTEN", "127.0.0.1:0")
                .env("COUNTERSIGN_ISSUER", "https://auth.example.com")
                .env("COUNTERSIGN_AUDIENCE", "https://api.example.com")
                .env("COUNTERSIGN_STORE", &settings.store)
                .env("COUNTERSIGN_SIGNING_KEY", &signing_key)
                .env("COUNTERSIGN_SEALING_KEY", &sealing_key)
                // That it serves, and what is wrong with it.
                .env("RUST_LOG", "warn,token_server=info");
            command
        };
        // The others find in the store whom the first one registered.
        let mut first = command();
        first.env("COUNTERSIGN_SEED", &seed);
        let nodes = [
            Node::start(1, first).await?,
            Node::start(2, command()).await?,
            Node::start(3, command()).await?,
        ];
        let [one, two, three] = nodes.each_ref().map(|node| node.address);
        println!("Three nodes over {}: {one}, {two}, {three}", settings.engine());
        Ok(Self { nodes, _folder: folder })
    }

    /// Ends all nodes, and waits until they have ended.
    pub(crate) async fn stop(self) -> Result<(), Problem> {
        for mut node in self.nodes {
            node.child.kill().await?;
        }
        Ok(())
    }
}

/// A process, killed where this value is dropped.
pub(crate) struct Node {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Node {
    async fn start(number: usize, mut command: Command) -> Result<Self, Problem> {
        command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut log = BufReader::new(child.stderr.take().ok_or("a node has no log")?).lines();
        let mut seen = String::new();
        let serving = async {
            while let Some(line) = log.next_line().await? {
                if let Some((_, rest)) = line.split_once("address=") {
                    return Ok(rest.split_whitespace().next().unwrap_or_default().parse()?);
                }
                seen = line;
            }
            Err::<_, Problem>(format!("node {number} did not start: {seen}").into())
        };
        let late = |_| format!("node {number} did not start in {START:?}");
        let address = timeout(START, serving).await.map_err(late)??;
        // Read on, so that it never waits for a full pipe.
        tokio::spawn(async move {
            while let Ok(Some(line)) = log.next_line().await {
                eprintln!("node {number}: {line}");
            }
        });
        Ok(Self { child, address })
    }
}

/// A folder for keys, its owner's alone, removed with this value.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, Problem> {
        let name = format!("countersign-cluster-{}", URL_SAFE_NO_PAD.encode(random_bytes()?));
        let path = env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, Problem> {
        let path = self.0.join(name);
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn random_bytes() -> Result<Vec<u8>, Problem> {
    Ok(URL_SAFE_NO_PAD.decode(Secret::generate()?.expose())?)
}

/// A new key, in the form in which `openssl genpkey -algorithm ed25519` writes one (RFC 8410).
fn ed25519_key() -> Result<String, Problem> {
    let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    der.extend(random_bytes()?);
    let text = STANDARD.encode(der);
    Ok(format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"))
}
