//! The rules of the source tree.

use std::fs;
use std::path::{Path, PathBuf};

/// Each module, and those that it may import.
const LAYERS: [(&str, &[&str]); 12] = [
    ("error", &[]),
    ("backoff", &[]),
    ("clock", &["error"]),
    ("json", &[]),
    ("sync", &[]),
    ("domain", &["error", "clock", "json", "sync", "domain"]),
    ("jose", &["error", "backoff", "clock", "json", "sync", "jose"]),
    ("store", &["error", "clock", "sync", "domain", "store"]),
    ("telemetry", &[]),
    (
        "service",
        &[
            "error",
            "backoff",
            "clock",
            "json",
            "sync",
            "domain",
            "jose",
            "store",
            "telemetry",
            "service",
        ],
    ),
    ("http", &["error", "clock", "json", "domain", "service", "http"]),
    ("testing", &["error", "clock", "domain", "jose", "store", "service", "testing"]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn source_files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    sources(&root).into_iter().map(read).collect()
}

/// What a file does outside of comments and of its own tests.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let end = text.find("#[cfg(test)]").unwrap_or(text.len());
    text[..end].lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn no_module_imports_from_one_to_its_right() {
    for (name, text) in source_files() {
        let module = name.split(['/', '.']).next().unwrap();
        let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == module) else {
            assert_eq!(module, "lib", "{name} belongs to no layer");
            continue;
        };
        for line in code(&text) {
            for (at, _) in line.match_indices("crate::") {
                let rest = &line[at + "crate::".len()..];
                let end = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
                let imported = &rest[..end];
                let is_layer = LAYERS.iter().any(|(layer, _)| *layer == imported);
                assert!(
                    !is_layer || allowed.contains(&imported),
                    "{name} imports {imported}: {line}"
                );
            }
        }
    }
}

#[test]
fn the_system_time_is_read_in_one_file() {
    for (name, text) in source_files() {
        let reads = code(&text).any(|line| line.contains("SystemTime::now"));
        assert!(!reads || name == "clock.rs", "{name} reads the system's clock");
    }
}

#[test]
fn the_service_names_no_http_and_the_edge_no_store() {
    for (name, text) in source_files() {
        let forbidden: &[&str] = match name.split('/').next().unwrap() {
            "service" => &["http::", "axum", "StatusCode", "HeaderMap"],
            "domain" | "jose" | "store" => &["http::", "axum", "StatusCode", "tower"],
            "http" => &["EntityStore", "SessionStore", "MemoryStore"],
            _ => &[],
        };
        for word in forbidden {
            assert!(!code(&text).any(|line| line.contains(word)), "{name} names {word}");
        }
    }
}

/// Names of tests in backticks, as the tables of ARCHITECTURE.md and of the attacks have them.
fn tests_named_in(text: &str) -> Vec<Vec<&str>> {
    let quoted = text.lines().filter(|line| line.contains("| ")).flat_map(|line| {
        // Every second piece stands between backticks.
        line.split('`').skip(1).step_by(2)
    });
    let is_test = |name: &&str| {
        let last = name.rsplit("::").next().unwrap_or_default();
        name.contains("::") && last.matches('_').count() > 2
    };
    quoted.filter(is_test).map(|name| name.split("::").collect()).collect()
}

/// `a/b.rs`, `a/b/mod.rs` and `a/b/tests.rs` are `a::b`.
fn modules_of(path: &str) -> Vec<&str> {
    let modules = path.trim_end_matches(".rs").trim_end_matches("/mod").trim_end_matches("/tests");
    modules.split('/').collect()
}

#[test]
fn every_test_that_a_table_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tables = [root.join("ARCHITECTURE.md"), root.join("tests/it/attacks/mod.rs")]
        .map(fs::read_to_string);
    let sources: Vec<_> = [sources(&root.join("tests/it")), sources(&root.join("src"))]
        .concat()
        .into_iter()
        .map(|path| (path.to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    for table in tables {
        let table = table.unwrap();
        let names = tests_named_in(&table);
        assert!(names.len() > 20, "the table is read");
        for name in names {
            let (last, modules) = name.split_last().unwrap();
            // `tests` may be a module within its file, or a file.
            let modules = modules.strip_suffix(&["tests"]).unwrap_or(modules);
            let is_there = sources.iter().any(|(path, text)| {
                modules_of(path).ends_with(modules) && text.contains(&format!("fn {last}("))
            });
            assert!(is_there, "there is no test {}", name.join("::"));
        }
    }
}
