//! A SQLite file on a disk that is full.

use std::fs;
use std::io::Write as _;
use std::process::Command;

use crate::support::programs::{Folder, TokenServer, example, seed};

/// Takes all the room that there is.
fn fill(path: &str) {
    let mut ballast = fs::File::create(path).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        while ballast.write_all(&vec![7; size]).is_ok() {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_a_write_is_a_503_that_uses_nothing_up_and_is_done_once_there_is_room() {
    let folder = Folder::new("full-disk");
    let seed = folder.write("seed.json", &seed().to_string());
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    // A small file system that this process alone sees, so that mounting it needs no right.
    let program = example("token_server");
    let mount = "mount -t tmpfs -o size=4m none \"$1\" && exec \"$0\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", mount]);
    command.arg(program.get_program()).arg(&disk);
    command.env_clear().env("PATH", std::env::var("PATH").unwrap());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command.env("COUNTERSIGN_STORE", format!("sqlite:{}", disk.join("tokens.sqlite").display()));
    command.env("COUNTERSIGN_SEALING_KEY", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=");
    command.env("COUNTERSIGN_SEED", seed);
    command.env("COUNTERSIGN_OUTBOX", folder.path().join("outbox.jsonl"));
    let server = TokenServer::start(command);

    let login = "id=aa-1&secret=a-known-secret";
    let form = "application/x-www-form-urlencoded";
    let token = server.post("/entity/token/generate", form, login).await.expect(200).json();
    let token = token["accessToken"].as_str().unwrap();
    let ballast = format!("/proc/{}/root{}/ballast", server.process_id(), disk.display());
    fill(&ballast);
    let exchange = async || {
        server.post("/authentication-tokens/known-1/exchange", "application/json", "{}").await
    };
    for _ in 0..3 {
        let answer = exchange().await.expect(503);
        assert!(!answer.header("retry-after").is_empty());
    }
    server.get("/protected", token).await.expect(200);
    assert!(server.log().contains("disk is full"), "{}", server.log());
    fs::remove_file(&ballast).unwrap();
    exchange().await.expect(201);
    exchange().await.expect(404);
}
