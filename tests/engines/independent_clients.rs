//! What others wrote to verify tokens with, against a running server: PyJWT and jose.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::clock::{Clock as _, SystemClock};
use countersign::testing::FaultyStore;
use countersign::{Algorithm, ManagedKeys, SealingKey, Timestamp, TokenService};
use serde_json::{Value, json};

use crate::support::durable::File;
use crate::support::programs::{Folder, TokenServer, example, free_address};
use crate::support::{AUDIENCE, ISSUER, TestClock, kid_of};

const HOUR: Duration = Duration::from_secs(3_600);
const SEALING_KEY: [u8; 32] = [7; 32];

#[derive(Clone, Copy, Debug)]
enum Library {
    PyJwt,
    Jose,
}

const LIBRARIES: [Library; 2] = [Library::PyJwt, Library::Jose];

/// A resource server in another language, which runs until its input ends.
struct Client {
    child: Child,
    tokens: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Client {
    #[track_caller]
    fn start(library: Library, server: &TokenServer, algorithm: Algorithm) -> Self {
        let folder = std::env::var("COUNTERSIGN_TEST_CLIENTS").unwrap_or_else(|_| {
            panic!(
                "COUNTERSIGN_TEST_CLIENTS has to be set: run scripts/test, or \
                 export COUNTERSIGN_TEST_CLIENTS=$(scripts/clients)"
            )
        });
        let mut command = match library {
            Library::PyJwt => {
                let mut command = Command::new("python3");
                command.env("PYTHONPATH", Path::new(&folder).join("python"));
                command.args(["-c", include_str!("../clients/pyjwt_client.py")]);
                command
            }
            Library::Jose => {
                let mut command = Command::new("node");
                // What is imported is looked for from here.
                command.current_dir(&folder).args(["--input-type=module", "--eval"]);
                command.args([include_str!("../clients/jose_client.mjs"), "--"]);
                command
            }
        };
        command.args([&format!("{}/.well-known/jwks.json", server.url()), ISSUER, AUDIENCE]);
        command.arg(algorithm.as_str()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (tokens, answers) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, tokens, answers: BufReader::new(answers) }
    }

    /// What it says of a token: its claims, or why it rejects it.
    #[track_caller]
    fn verify(&mut self, token: &str) -> Result<Value, String> {
        writeln!(self.tokens.as_mut().unwrap(), "{token}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["claims"].clone()),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.tokens.take());
        let _ = self.child.wait();
    }
}

fn command(folder: &Folder) -> Command {
    let mut command = example("token_server");
    let users = json!({"users": [
        {"username": "ops", "password": "x", "customClaims": {"tier": "gold"},
         "acl": [{"scope": {"entityId": ["aa-1"]}, "permissions": ["ReadEntitySecret"]}]}]});
    command
        .env("COUNTERSIGN_SEED", folder.write("seed.json", &users.to_string()))
        .env("COUNTERSIGN_ISSUER", ISSUER)
        .env("COUNTERSIGN_AUDIENCE", AUDIENCE);
    command
}

async fn log_in(server: &TokenServer) -> String {
    let form = "application/x-www-form-urlencoded";
    let login = server.post("/user/token/generate", form, "username=ops&password=x").await;
    login.expect(200).json()["accessToken"].as_str().unwrap().to_owned()
}

/// The same token with another signature.
fn tampered(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{signed}.{first}{}", &signature[1..])
}

/// A private key of an algorithm in PEM, which openssl makes.
fn private_key(folder: &Folder, options: &[&str]) -> PathBuf {
    let output = Command::new("openssl").arg("genpkey").args(options).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder.write("key.pem", std::str::from_utf8(&output.stdout).unwrap())
}

async fn both_libraries_verify(algorithm: Algorithm, options: &[&str]) {
    let folder = Folder::new("clients");
    let mut command = command(&folder);
    command.env("COUNTERSIGN_SIGNING_KEY", private_key(&folder, options));
    let server = TokenServer::start(command);
    let token = log_in(&server).await;
    for library in LIBRARIES {
        let mut client = Client::start(library, &server, algorithm);
        let claims = client.verify(&token).unwrap();
        assert_eq!(claims["sub"], "ops", "{library:?}");
        assert_eq!(claims["customClaims"]["tier"], "gold", "{library:?}");
        assert_eq!(claims["acl"][0]["permissions"][0], "ReadEntitySecret", "{library:?}");
        client.verify(&tampered(&token)).unwrap_err();
    }
}

#[tokio::test]
async fn pyjwt_and_jose_verify_tokens_that_are_signed_with_an_rsa_key() {
    let options = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    both_libraries_verify(Algorithm::RS256, &options).await;
}

#[tokio::test]
async fn pyjwt_and_jose_verify_tokens_that_are_signed_with_a_p_256_key() {
    let options = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    both_libraries_verify(Algorithm::ES256, &options).await;
}

/// Someone at the keys that a server keeps in a file, whose clock is as they please.
async fn keeper(file: &File, now: Timestamp) -> TokenService {
    // The file's time is what this clock says, or no keys would be changed by it.
    let store = FaultyStore::new(file.node().await).clock(TestClock::at(now));
    let keys = ManagedKeys::new(Algorithm::EdDSA).store(store);
    let builder = TokenService::builder().issuer(ISSUER).audience(AUDIENCE).keys(keys);
    builder
        .clock(TestClock::at(now))
        .sealing_key(SealingKey::from_bytes(SEALING_KEY))
        .build()
        .unwrap()
}

#[tokio::test]
async fn pyjwt_and_jose_follow_the_keys_through_a_rotation() {
    let (folder, file, address) = (Folder::new("clients"), File::new(), free_address());
    let start = || {
        let mut command = command(&folder);
        command
            .env("COUNTERSIGN_STORE", format!("sqlite:{}", file.path().display()))
            .env("COUNTERSIGN_SEALING_KEY", STANDARD.encode(SEALING_KEY));
        TokenServer::start_on(address, command)
    };
    // The first key is made long before now, so that its time to be rotated away can have come.
    keeper(&file, SystemClock.now() - HOUR * 2).await.catch_up().await.unwrap();
    let server = start();
    let first = log_in(&server).await;
    let mut clients = LIBRARIES.map(|library| Client::start(library, &server, Algorithm::EdDSA));
    for client in &mut clients {
        assert_eq!(client.verify(&first).unwrap()["sub"], "ops");
    }

    // Rotated in the past, by as much as everybody gets to see the next key: it signs by now.
    let signs_from = keeper(&file, SystemClock.now() - HOUR).await.rotate_keys().await.unwrap();
    assert!(signs_from < SystemClock.now(), "{signs_from}");
    drop(server);
    let server = start();
    let second = log_in(&server).await;
    assert_ne!(kid_of(&first), kid_of(&second));
    for client in &mut clients {
        client.verify(&tampered(&second)).unwrap_err();
        assert_eq!(client.verify(&second).unwrap()["sub"], "ops", "the new key is fetched");
        assert_eq!(client.verify(&first).unwrap()["sub"], "ops", "the old one still verifies");
    }

    // The old one is ended, as one that leaked.
    keeper(&file, SystemClock.now()).await.retire_key(&kid_of(&first)).await.unwrap();
    drop(server);
    let server = start();
    for library in LIBRARIES {
        let mut client = Client::start(library, &server, Algorithm::EdDSA);
        assert_eq!(client.verify(&second).unwrap()["sub"], "ops", "{library:?}");
        let rejection = client.verify(&first).unwrap_err();
        assert!(
            rejection.contains("Unable to find") || rejection.contains("ERR_JWKS"),
            "{rejection}"
        );
    }
}
