//! What the token server's README prints, run as it is printed.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::programs::{Folder, TokenServer, example};

const README: &str = include_str!("../../examples/token_server/README.md");
const PROGRAM: &str = concat!(
    include_str!("../../examples/token_server/main.rs"),
    include_str!("../../examples/token_server/routes.rs"),
    include_str!("../../examples/token_server/serve.rs"),
    include_str!("../../examples/token_server/settings.rs"),
    include_str!("../../examples/token_server/stores.rs")
);

/// The blocks of code in a language, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    README.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[track_caller]
fn block_with(language: &str, part: &str) -> &'static str {
    let mut with = blocks(language).into_iter().filter(|block| block.contains(part));
    let block = with.next().unwrap_or_else(|| panic!("a block with {part}"));
    assert!(with.next().is_none(), "one block with {part}");
    block
}

/// Has a shell run lines, and answers what it prints.
#[track_caller]
fn shell(folder: &Path, variables: &HashMap<String, String>, lines: &str) -> String {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", lines])
        .envs(variables)
        .current_dir(folder)
        .output()
        .expect("bash is there");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{lines}: {error} (scripts/test --install-only has curl)");
    String::from_utf8(output.stdout).unwrap()
}

/// A server with the settings and the seed that are printed.
fn token_server(folder: &Folder) -> TokenServer {
    folder.write("seed.json", block_with("json", "sessions"));
    let settings = block_with("sh", "COUNTERSIGN_LISTEN");
    let exports: String = settings
        .lines()
        .filter(|line| line.starts_with("export "))
        .map(|line| format!("{line}\n"))
        .collect();
    let names = exports.lines().map(|line| line["export ".len()..].split('=').next().unwrap());
    let mut command = example("token_server");
    command.current_dir(folder.path());
    for name in names {
        let lines = format!("{exports}printf %s \"${name}\"");
        command.env(name, shell(folder.path(), &HashMap::new(), &lines));
    }
    TokenServer::start(command)
}

/// The names that stand between `before` and `after`.
fn names(text: &'static str, before: &str, after: char) -> BTreeSet<&'static str> {
    text.split(before).skip(1).filter_map(|rest| rest.split(after).next()).collect()
}

#[test]
fn the_table_lists_the_settings_that_the_program_reads() {
    // As the first argument of what reads one.
    let mut read = names(PROGRAM, "(\"COUNTERSIGN_", '"');
    read.retain(|name| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'));
    assert!(!read.is_empty());
    assert_eq!(names(README, "\n| `COUNTERSIGN_", '`'), read);
}

#[test]
fn every_curl_line_is_answered_as_it_says() {
    let folder = Folder::new("readme");
    let server = token_server(&folder);
    let lines = block_with("sh", "server=").replace("\\\n", " ");
    let lines: Vec<_> = lines.lines().filter(|line| line.starts_with("curl ")).collect();
    // The one that sends a code again comes too soon after the first.
    let expected = [200, 200, 200, 200, 201, 404, 201, 200, 201, 429, 204, 200];
    assert_eq!(lines.len(), expected.len());

    let mut variables = HashMap::from([("server".to_owned(), server.url())]);
    for (line, expected) in lines.into_iter().zip(expected) {
        let lines = format!(
            "curl() {{ command curl -s -o answer.json -w '%{{http_code}}' \"$@\"; }}\n{line}"
        );
        let status = shell(folder.path(), &variables, &lines);
        let answer = std::fs::read(folder.path().join("answer.json")).unwrap_or_default();
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        assert_eq!(status, expected.to_string(), "{line}: {answer}");
        for (member, variable) in
            [("accessToken", "TOKEN"), ("secret", "SECRET"), ("token", "SESSION")]
        {
            // An exchange answers a `token`, too, which is a JWT and no session's.
            if let Some(text) =
                answer[member].as_str().filter(|text| member != "token" || !text.contains('.'))
            {
                variables.insert(variable.to_owned(), text.to_owned());
            }
        }
        let outbox = std::fs::read_to_string(folder.path().join("outbox.jsonl"));
        if let Some(message) = outbox.unwrap_or_default().lines().last() {
            let message: Value = serde_json::from_str(message).unwrap();
            let code = message["oneTimePassword"].as_str().unwrap().to_owned();
            variables.insert("CODE".to_owned(), code);
        }
    }
}
