//! `wallet token new|list|revoke`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::support::process::{run, wallet};

fn token(path: &Path, args: &[&str]) -> (String, String, Option<i32>) {
    let file = ["--tokens-file", path.to_str().expect("a path")];
    run(&[&["token"], args, &file].concat())
}

fn list(path: &Path) -> Vec<Value> {
    let (out, err, code) = token(path, &["list", "--json"]);
    assert_eq!((err.as_str(), code), ("", Some(0)));
    serde_json::from_str::<Value>(&out).unwrap()["Tokens"].as_array().unwrap().clone()
}

#[test]
fn a_token_is_made_listed_and_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.toml");
    let made = ["new", "--name", "engine-a", "--scope", "engine", "--expires", "90d"];
    let (out, err, code) = token(&path, &made);
    assert_eq!((err.as_str(), code), ("", Some(0)));
    let text = out.trim_end().lines().last().unwrap();
    let digits = text.strip_prefix("wallet_").unwrap();
    assert!(digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{out}");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&path).unwrap().contains(digits), "only its hash is stored");

    let (first, _) = (list(&path), token(&path, &["new", "--name", "engine-a", "--scope", "engine"]));
    let shown = ["Name", "Scope", "Status"].map(|field| first[0][field].clone());
    assert_eq!(shown, ["engine-a", "engine", "valid"]);
    assert!(first[0]["Expires"].is_string());
    let both = list(&path);
    assert_eq!((both.len(), &both[1]["Expires"]), (2, &Value::Null), "several are valid at once");
    let (out, _, code) = token(&path, &["list"]);
    assert!(code == Some(0) && out.starts_with("NAME") && out.lines().count() == 3 && out.contains("never"), "{out}");

    let id = both[0]["Id"].as_str().unwrap();
    let (out, _, code) = token(&path, &["revoke", "engine-a", "--id", id]);
    assert_eq!((out.as_str(), code), ("revoked 1 token of engine-a\n", Some(0)));
    let (_, err, code) = token(&path, &["revoke", "engine-a", "--id", id]);
    assert!(code == Some(1) && err.contains("has no valid token with the id") && err.lines().count() == 1, "{err}");
    assert_eq!(token(&path, &["revoke", "engine-a"]).2, Some(0));
    assert_eq!(token(&path, &["revoke", "engine-a"]).2, Some(1));
    assert!(list(&path).iter().all(|token| token["Status"] == "revoked" && token["Revoked"].is_string()));
}

#[test]
fn what_cannot_be_followed_or_done_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.toml");
    for (args, code) in [
        (&["new", "--name", "a"][..], 64),
        (&["new", "--name", "a", "--scope", "root"], 64),
        (&["new", "--name", "", "--scope", "engine"], 64),
        (&["new", "--name", "a\nb", "--scope", "engine"], 64),
        (&["new", "--name", "a", "--scope", "engine", "--expires", "never"], 64),
        (&["revoke"], 64),
        (&["revoke", "a", "--id", "x"], 64),
        (&["revoke", "a"], 1),
        (&["list"], 1),
    ] {
        let (out, err, exit) = token(&path, args);
        assert_eq!((out.as_str(), exit, err.lines().count()), ("", Some(code), 1), "{args:?}: {err}");
        assert!(!path.exists(), "{args:?}");
    }
    let (_, err, code) = run(&["token", "list"]);
    assert!(code == Some(64) && err.contains("--tokens-file"), "{err}");

    assert_eq!(token(&path, &["new", "--name", "a", "--scope", "engine"]).2, Some(0));
    let before = fs::read_to_string(&path).unwrap();
    let (_, err, code) = token(&path, &["new", "--name", "a", "--scope", "auditor"]);
    assert!(code == Some(1) && err.contains("has the scope engine already"), "{err}");
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
}

#[test]
fn the_variable_names_the_file_and_comments_and_modes_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.toml");
    let text =
        "# ours\n[[certificate]]\nsubject = \"b.example\" # the second engine\nname = \"b\"\nscope = \"engine\"\n";
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let mut command = wallet();
    let made = command.env("WALLET_TOKENS_FILE", &path).args(["token", "new", "--name", "a", "--scope", "auditor"]);
    assert!(made.output().unwrap().status.success());
    let changed = fs::read_to_string(&path).unwrap();
    assert!(changed.starts_with(text) && changed.contains("[[token]]"), "{changed}");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn tokens_that_are_made_at_the_same_time_are_all_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.toml");
    let name = |number: i32| format!("engine-{number}");
    let made = |number: i32| {
        let mut command = wallet();
        command.args(["token", "new", "--name", &name(number), "--scope", "engine", "--tokens-file"]).arg(&path);
        command.stdout(std::process::Stdio::null()).spawn().unwrap()
    };
    let mut children: Vec<_> = (0..12).map(made).collect();
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    let mut names: Vec<String> = list(&path).iter().map(|token| token["Name"].as_str().unwrap().to_owned()).collect();
    names.sort_unstable();
    let mut expected: Vec<String> = (0..12).map(name).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
}
