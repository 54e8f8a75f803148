//! The floor plan, read from the source: imports point down only.

use std::fs;
use std::path::{Path, PathBuf};

/// Each room and the rooms below it that it may use.
const PLAN: &[(&str, &[&str])] = &[
    ("ledger", &[]),
    ("store", &["ledger"]),
    ("engine", &["store", "ledger"]),
    ("api", &["engine", "ledger"]),
    ("config.rs", &["api", "engine", "store", "ledger"]),
    ("telemetry.rs", &["config"]),
    ("cli", &["store", "ledger"]),
    ("server.rs", &["config", "api", "engine", "store", "ledger"]),
    ("server", &["config", "api", "engine", "store", "ledger"]),
];

/// What must not be named in a room, and why.
const BANNED: &[(&str, &[&str])] = &[
    // The rules are pure.
    ("ledger", &["async ", "sqlx", "rusqlite", "serde", "tokio", "SystemTime", "Instant"]),
    // The store knows no wire, the engine no SQL, the doors no store.
    ("store", &["axum", "tonic", "hyper"]),
    ("engine", &["sqlx", "rusqlite", "axum", "tonic", "hyper"]),
    ("api", &["sqlx", "rusqlite"]),
];

fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let children = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    children.flat_map(|child| sources(&child.unwrap().path())).collect()
}

/// The lines of a room's files that are neither comments nor tests.
fn code_of(room: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room);
    let mut lines = Vec::new();
    for path in sources(&root) {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.extend(code.map(|line| (path.clone(), line.to_owned())));
    }
    lines
}

#[test]
fn imports_point_down_only() {
    for (room, below) in PLAN {
        let name = room.trim_end_matches(".rs");
        for (path, line) in code_of(room) {
            for (_, used) in line.match_indices("crate::").map(|(at, _)| line.split_at(at + "crate::".len())) {
                // `crate::{a, b}` would hide rooms from this test.
                let used = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                let allowed = used == name || below.contains(&used);
                assert!(allowed, "{}: `{room}` must not use `{used}`: {line}", path.display());
            }
        }
    }
}

#[test]
fn what_a_room_must_not_know_is_not_named_in_it() {
    for (room, banned) in BANNED {
        for (path, line) in code_of(room) {
            for word in *banned {
                assert!(!line.contains(word), "{}: `{room}` must not name `{word}`: {line}", path.display());
            }
        }
    }
}

#[test]
fn the_clock_is_read_in_one_place() {
    for (path, line) in ["ledger", "store", "engine", "api"].into_iter().flat_map(code_of) {
        let reads = line.contains("SystemTime::now") || line.contains("Utc::now");
        assert!(!reads || path.ends_with("engine/clock.rs"), "{}: {line}", path.display());
    }
}
