//! The layout, read from the source: imports point down only and in no circle, every file is used, and lines are short.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::optional;

/// Each layer and the layers below it that it may use.
const LAYERS: &[(&str, &[&str])] = &[
    ("ledger", &[]),
    ("store", &["ledger"]),
    ("telemetry", &[]),
    ("access", &["ledger"]),
    ("engine", &["store", "ledger", "telemetry"]),
    ("api", &["access", "engine", "ledger", "telemetry"]),
    ("config.rs", &["api", "engine", "store", "ledger", "telemetry"]),
    ("config", &["access", "ledger"]),
    ("server.rs", &["config", "access", "api", "engine", "store", "ledger"]),
    ("server", &["config", "telemetry", "access", "api", "engine", "store", "ledger"]),
    ("cli", &["config", "server", "telemetry", "access", "api", "engine", "store", "ledger"]),
];

/// What must not be named in a layer.
const BANNED: &[(&str, &[&str])] = &[
    // The rules are pure.
    ("ledger", &["async ", "sqlx", "rusqlite", "serde", "tokio", "SystemTime", "Instant"]),
    // The store knows no protocol, the engine no SQL, the API no store.
    ("store", &["axum", "tonic", "hyper"]),
    ("access", &["axum", "tonic", "hyper"]),
    ("engine", &["sqlx", "rusqlite", "axum", "tonic", "hyper"]),
    ("api", &["sqlx", "rusqlite"]),
];

/// The most characters that a line may have.
const WIDTH: usize = 120;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let children = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let files: Vec<PathBuf> = children.flat_map(|child| sources(&child.unwrap().path())).collect();
    files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The lines of a file that are neither comments nor its unit tests.
fn code(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).map(ToOwned::to_owned).collect()
}

/// The lines of code in a layer's files.
fn code_of(layer: &str) -> Vec<(PathBuf, String)> {
    let files = sources(&root().join("src").join(layer)).into_iter();
    files.flat_map(|path| code(&path).into_iter().map(move |line| (path.clone(), line))).collect()
}

/// The identifier that `text` begins with.
fn identifier(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

#[test]
fn imports_point_down_only() {
    for (layer, below) in LAYERS {
        let name = layer.trim_end_matches(".rs");
        for (path, line) in code_of(layer) {
            for (_, used) in line.match_indices("crate::").map(|(at, _)| line.split_at(at + "crate::".len())) {
                // `crate::{a, b}` would hide layers from this test.
                let used = identifier(used);
                let allowed = used == name || below.contains(&used);
                assert!(allowed, "{}: `{layer}` must not use `{used}`: {line}", path.display());
            }
        }
    }
}

#[test]
fn what_a_layer_must_not_know_is_not_named_in_it() {
    for (layer, banned) in BANNED {
        for (path, line) in code_of(layer) {
            for word in *banned {
                assert!(!line.contains(word), "{}: `{layer}` must not name `{word}`: {line}", path.display());
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

/// Each file with one of these extensions that Git tracks, or would track.
///
/// `None`, after saying so, where there is no Git.
fn tracked(test: &str, extensions: &[&str]) -> Option<Vec<PathBuf>> {
    let [git] = optional::programs(test, ["git"])?;
    let patterns = extensions.iter().map(|extension| format!("*.{extension}"));
    let args = ["ls-files", "--cached", "--others", "--exclude-standard", "--"].map(ToOwned::to_owned);
    let listed = Command::new(git).current_dir(root()).args(args.into_iter().chain(patterns)).output();
    let listed = listed.expect("git runs");
    if !listed.status.success() {
        optional::skip(test, &format!("needs a Git repository: {}", String::from_utf8_lossy(&listed.stderr)));
        return None;
    }
    let paths = String::from_utf8(listed.stdout).expect("names are text");
    // What was deleted may be tracked still.
    Some(paths.lines().map(|path| root().join(path)).filter(|path| path.is_file()).collect())
}

#[test]
fn no_line_is_too_long() {
    let Some(paths) = tracked("the width of lines", &["rs", "proto", "md", "sql"]) else { return };
    let mut long = Vec::new();
    for path in paths {
        // What a program prints cannot be wrapped.
        let mut is_output = false;
        for (number, line) in (1..).zip(fs::read_to_string(&path).unwrap().lines()) {
            is_output ^= line.starts_with("```");
            let exempt = is_output || line.starts_with('|') || line.contains("http://") || line.contains("https://");
            let width = line.chars().count();
            if width > WIDTH && !exempt {
                long.push(format!("{}:{number}: {width}", path.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(long.is_empty(), "lines of more than {WIDTH} characters:\n{}", long.join("\n"));
}

#[test]
fn every_test_that_a_document_names_exists() {
    let tests: String =
        sources(&root().join("tests/it")).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    for file in ["docs/reliability.md", "SECURITY.md"] {
        let document = fs::read_to_string(root().join(file)).unwrap();
        let named = document.split('`').filter_map(|text| text.strip_suffix('…')?.rsplit_once("::"));
        let mut count = 0;
        for (module, name) in named {
            assert!(tests.contains(&format!("fn {name}")), "{file} names {module}::{name}…");
            count += 1;
        }
        assert!(count > 10, "{file} names {count} tests");
    }
}

/// The modules that a file declares without a body, each with the path that an attribute gives it, if one does.
fn declared(path: &Path) -> Vec<(String, Option<String>)> {
    let text = fs::read_to_string(path).unwrap();
    let mut modules = Vec::new();
    let mut attribute = None;
    for line in text.lines().map(str::trim) {
        if let Some(path) = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]")) {
            attribute = Some(path.to_owned());
            continue;
        }
        let line = line.strip_prefix("pub").map_or(line, |rest| match rest.strip_prefix('(') {
            Some(scope) => scope.split_once(')').map_or("", |(_, rest)| rest),
            None => rest,
        });
        if let Some(name) = line.trim_start().strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
            modules.push((name.to_owned(), attribute.take()));
        }
    }
    modules
}

/// Adds this file and those of all modules that it declares.
fn reach(path: &Path, reached: &mut BTreeSet<PathBuf>) {
    reached.insert(path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    let (folder, stem) = (path.parent().unwrap(), path.file_stem().unwrap());
    let is_root = ["main", "lib", "mod"].iter().any(|root| stem == *root);
    let children = if is_root { folder.to_owned() } else { folder.join(stem) };
    for (name, attribute) in declared(path) {
        let [file, in_folder] = [children.join(format!("{name}.rs")), children.join(&name).join("mod.rs")];
        let child = match attribute {
            Some(path) => folder.join(path),
            None if file.is_file() => file,
            None => in_folder,
        };
        reach(&child, reached);
    }
}

#[test]
fn every_file_belongs_to_a_module() {
    let mut reached = BTreeSet::new();
    for crate_root in
        ["src/main.rs", "src/lib.rs", "tests/it/main.rs", "benches/service/main.rs", "benches/verify/main.rs"]
    {
        reach(&root().join(crate_root), &mut reached);
    }
    let files = ["src", "tests/it", "benches"].into_iter().flat_map(|folder| sources(&root().join(folder)));
    let dead: Vec<PathBuf> = files.filter(|path| !reached.contains(&path.canonicalize().unwrap())).collect();
    assert!(dead.is_empty(), "no `mod` leads to {dead:?}");
}

/// The modules of a folder, each with its code: `x.rs`, and `x/` with all that is in it.
fn modules(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let mut modules: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for child in fs::read_dir(folder).unwrap().map(|child| child.unwrap().path()) {
        let stem = child.file_stem().unwrap().to_str().unwrap().to_owned();
        if !["main", "lib", "mod"].contains(&stem.as_str()) {
            modules.entry(stem).or_default().extend(sources(&child).iter().flat_map(|path| code(path)));
        }
    }
    modules
}

/// What code names behind a path such as `super::`: the first part of each path, in braces as well.
fn used(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        // `super::super::x` is no sibling.
        if code[..at].ends_with("super::") {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            used.insert(identifier(rest).to_owned());
            continue;
        };
        let mut depth = 0_i32;
        let mut first = true;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => first = true,
                c if first && !c.is_whitespace() => {
                    used.insert(identifier(&group[at..]).to_owned());
                    first = false;
                }
                _ => (),
            }
        }
    }
    used
}

/// A circle through `module`, if its imports lead back to it.
fn circle(imports: &BTreeMap<String, BTreeSet<String>>, module: &str, path: &mut Vec<String>) -> bool {
    let Some(next) = path.last().and_then(|last| imports.get(last)) else { return false };
    for used in next {
        if used == module {
            return true;
        }
        if !path.contains(used) {
            path.push(used.clone());
            if circle(imports, module, path) {
                return true;
            }
            path.pop();
        }
    }
    false
}

#[test]
fn modules_of_a_folder_import_each_other_in_no_circle() {
    let src = root().join("src");
    let folders: BTreeSet<PathBuf> = sources(&src).iter().map(|path| path.parent().unwrap().to_owned()).collect();
    let mut circles = Vec::new();
    for folder in folders {
        let relative = folder.strip_prefix(&src).unwrap();
        let parts: Vec<&str> = relative.iter().map(|part| part.to_str().unwrap()).collect();
        let here = ["crate"].into_iter().chain(parts).chain([""]).collect::<Vec<_>>().join("::");
        let modules = modules(&folder);
        let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, code) in &modules {
            let code = code.join("\n");
            // Behind `super`, only the module's own file has the folder's other modules.
            let files = [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")];
            let own: Vec<String> =
                files.iter().filter(|path| path.is_file()).flat_map(|path| self::code(path)).collect();
            let mut siblings = used(&own.join("\n"), "super::");
            siblings.extend(used(&code, &here));
            siblings.retain(|sibling| modules.contains_key(sibling) && sibling != name);
            imports.insert(name.clone(), siblings);
        }
        for name in imports.keys() {
            let mut path = vec![name.clone()];
            // Each circle once: at the first of its modules.
            if circle(&imports, name, &mut path) && path.iter().all(|module| module >= name) {
                circles.push(format!("src/{}: {} -> {name}", relative.display(), path.join(" -> ")));
            }
        }
    }
    assert!(circles.is_empty(), "modules that import each other in a circle:\n{}", circles.join("\n"));
}
