//! The rules of the source tree.

use std::fs;
use std::path::{Path, PathBuf};

/// Each module, and those that it may import.
const LAYERS: [(&str, &[&str]); 10] = [
    ("error", &[]),
    ("clock", &["error"]),
    ("json", &[]),
    ("domain", &["error", "clock", "json", "domain"]),
    ("jose", &["error", "clock", "json", "jose"]),
    ("store", &["error", "clock", "domain", "store"]),
    ("telemetry", &[]),
    ("service", &["error", "clock", "json", "domain", "jose", "store", "telemetry", "service"]),
    ("http", &["error", "clock", "json", "domain", "service", "http"]),
    ("testing", &["error", "clock", "domain", "jose", "service", "testing"]),
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
