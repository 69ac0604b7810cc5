//! The rules of the source tree.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules, each of which may name itself and those before it. First what checks tokens, which
/// is always compiled; from `service/model` on, the token service.
const ORDER: &[&str] = &[
    "error",
    "custom_claims",
    "clock",
    "jitter",
    "json",
    "sync",
    "telemetry",
    "jose",
    "token",
    "audit",
    "rejection",
    "validate",
    "guard",
    "service/model",
    "service/single_flight",
    "service/backoff",
    "service/store",
    "service/error",
    "service/telemetry",
    "service/detached",
    "service/epoch_lock",
    "service/request_context",
    "service/actor",
    "service/audit",
    "service/policy",
    "service/shared_clock",
    "service/stores",
    "service/hashing",
    "service/throttle",
    "service/revocations",
    "service/keys",
    "service/one_time_password_sender",
    "service/customer_directory",
    "service/phantom_token_cache",
    "service/last_heard",
    "service/recent_events",
    "service/unpublished",
    "service/validators",
    "service/token_service",
    "service/writer",
    "service/permission",
    "service/names",
    "service/take_session",
    "service/revoke",
    "service/principals",
    "service/list_entities",
    "service/issue",
    "service/password",
    "service/custom_claims",
    "service/secret",
    "service/login",
    "service/session",
    "service/session/end",
    "service/one_time_password",
    "service/session/new",
    "service/session/start",
    "service/confirm_one_time_password",
    "service/change_password",
    "service/exchange",
    "service/phantom_token",
    "service/ended",
    "service/rotate_keys",
    "service/housekeeping",
    "service/builder",
    "service",
    "service/trusted_issuers",
    "service/http/cookie",
    "service/http/request_origin",
    "service/http/return_path",
    "service/http/token_response",
    "service/http/rejection",
    "service/http/log_out",
    "service/http/exchange",
    "service/http/issue",
    "service/http/same_origin",
    "service/http/layers",
    "service/http/forward_auth",
    "service/http/routes",
    "service/http",
    "service/public",
    "testing",
    "lib",
];

/// The place in [`ORDER`] of the module that a path belongs to: `service/session/end/x` to that of
/// `service/session/end`.
fn place(path: &str) -> usize {
    let mut path = path;
    loop {
        if let Some(place) = ORDER.iter().position(|module| *module == path) {
            return place;
        }
        path = path.rsplit_once('/').unwrap_or_else(|| panic!("{path} has no place in ORDER")).0;
    }
}

fn module_of(file: &str) -> String {
    file.trim_end_matches(".rs").trim_end_matches("/mod").to_owned()
}

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

/// The folder of the crate.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn source_files() -> Vec<(String, String)> {
    let root = root().join("src");
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
fn no_module_names_one_that_comes_after_it() {
    for (name, text) in source_files() {
        let own = place(&module_of(&name));
        for line in code(&text) {
            let line = line.replace("(in crate::service", "(");
            for (at, _) in line.match_indices("crate::") {
                let rest = &line[at + "crate::".len()..];
                let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_' && c != ':');
                let path = rest[..end.unwrap_or(rest.len())].trim_end_matches(':');
                // The package in models/ brings these.
                if !path.is_empty() && path != "stand_ins" {
                    let path = path.replace("::", "/");
                    assert!(place(&path) <= own, "{name} names {path}: {line}");
                }
            }
        }
    }
}

/// The methods of the service, those included that write, and the file of each.
fn service_methods() -> Vec<(String, String)> {
    let mut methods = Vec::new();
    for (name, text) in source_files() {
        let mut is_inside = false;
        for line in text.lines() {
            let opens = ["impl TokenService {", "impl Writer {"].contains(&line);
            is_inside = if is_inside { line != "}" } else { opens };
            let is_item = line.starts_with("    ") && !line.starts_with("     ");
            if let Some((_, signature)) = line.split_once("fn ").filter(|_| is_inside && is_item) {
                let end = signature.find(['(', '<']).unwrap_or(signature.len());
                methods.push((signature[..end].to_owned(), name.clone()));
            }
        }
    }
    methods
}

#[test]
fn no_use_case_calls_one_that_comes_after_it() {
    let methods = service_methods();
    assert!(methods.len() > 60, "the methods are read: {}", methods.len());
    for (name, text) in source_files() {
        let own = place(&module_of(&name));
        let is_use_case = own > place("service/token_service");
        for (method, home) in &methods {
            for receiver in ["self", "tokens", "writer"] {
                let call = format!("{receiver}.{method}(");
                let calls = is_use_case && code(&text).any(|line| line.contains(&call));
                assert!(
                    !calls || place(&module_of(home)) <= own,
                    "{name} calls {method} of {home}"
                );
            }
        }
    }
}

#[test]
fn a_feature_is_a_folder_and_no_condition_within_a_function() {
    let mut of_service = 0;
    for (name, text) in source_files() {
        let file = name.rsplit('/').next().unwrap();
        assert!(!file.starts_with("no_"), "{name} stands in for a module that is not compiled");
        for line in code(&text) {
            let conditions = line.matches("feature = \"service\"").count();
            assert!(conditions == 0 || name == "lib.rs", "{name}: {line}");
            of_service += conditions;
            assert!(!line.contains("allow(dead_code"), "{name}: {line}");
            let indentation = line.len() - line.trim_start().len();
            let is_condition = line.trim_start().starts_with("#[cfg(") && indentation >= 8;
            assert!(!is_condition && !line.contains("cfg!("), "{name}: {line}");
        }
    }
    assert!(of_service <= 5, "{of_service} conditions on the feature `service`");
}

#[test]
fn the_service_names_no_store_of_its_own() {
    for (name, text) in source_files() {
        if !name.starts_with("service/") || name.starts_with("service/store/") {
            continue;
        }
        for store in ["MemoryStore", "SqliteStore", "PostgresStore", "RedisStore", "Cached"] {
            assert!(!code(&text).any(|line| line.contains(store)), "{name} names {store}");
        }
    }
}

/// What [`WritingStores`](crate) and the task that they ask for are made by, and where. The compiler holds
/// the rest: no store is written without them, and `Stores` shows nobody the stores within.
const DOOR: [(&str, &[&str]); 3] = [
    ("run_to_completion(", &["service/detached.rs", "service/writer.rs"]),
    ("WritingStores::new(", &["service/writer.rs"]),
    ("Writer::new(", &["service/writer.rs"]),
];

/// The files of the service that may name the traits of stores.
const REACH_STORES: [&str; 5] = [
    "service/builder.rs",
    "service/stores.rs",
    "service/keys/managed.rs",
    "service/keys/manager.rs",
    "service/housekeeping/store_checks.rs",
];

#[test]
fn what_writes_runs_to_its_end_by_one_door() {
    let is_of_stores = |name: &str| name.starts_with("service/store/");
    for (name, text) in source_files() {
        if !name.starts_with("service/") || is_of_stores(&name) {
            continue;
        }
        for (call, homes) in DOOR {
            let calls = code(&text).filter(|line| line.contains(call)).count();
            assert!(calls == 0 || homes.contains(&&*name), "{name}: {call}");
            assert!(calls <= 1, "{name}: {call} in one place");
        }
        let spawns = code(&text).any(|line| line.contains("spawn("));
        let may_spawn = ["service/detached.rs", "service/hashing/workers.rs"].contains(&&*name)
            || name.starts_with("service/housekeeping/");
        assert!(!spawns || may_spawn, "{name} spawns");
        let stores = ["EntityStore", "SessionStore", "KeyStore", "EntityCache", "dyn Store"];
        for line in code(&text) {
            let names = stores.iter().any(|store| line.contains(store));
            assert!(!names || REACH_STORES.contains(&&*name), "{name}: {line}");
            let writes = ["insert", "replace", "write_sealing_check"].iter();
            let mut calls = writes.map(|verb| format!("store.{verb}("));
            let is_call = calls.any(|call| line.contains(&call));
            assert!(!is_call || name == "service/stores.rs", "{name} writes: {line}");
        }
    }
}

#[test]
fn the_system_time_is_read_in_one_file() {
    for (name, text) in source_files() {
        let reads = code(&text).any(|line| line.contains("SystemTime::now"));
        assert!(!reads || name == "clock/mod.rs", "{name} reads the system's clock");
    }
}

#[test]
fn use_cases_name_no_http_and_http_names_no_store() {
    for (name, text) in source_files() {
        let is_http = name.starts_with("guard/") || name.starts_with("service/http/");
        let is_store = name.starts_with("service/store/") || name.starts_with("service/model/");
        let forbidden: &[&str] = if is_http {
            &["EntityStore", "SessionStore", "MemoryStore"]
        } else if is_store || name.starts_with("jose/") || name.starts_with("token/") {
            &["http::", "axum", "StatusCode", "tower"]
        } else if name.starts_with("service/") {
            &["axum", "StatusCode", "HeaderMap"]
        } else {
            &[]
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
    let root = root();
    let tables = [root.join("ARCHITECTURE.md"), root.join("tests/it/attacks/mod.rs")]
        .map(fs::read_to_string);
    let sources: Vec<_> = [sources(&root.join("tests")), sources(&root.join("src"))]
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
