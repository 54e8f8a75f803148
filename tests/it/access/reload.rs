//! The tokens file is read again: when it changes, and at `SIGHUP`. One that is broken changes nothing.

use std::fs;
use std::path::Path;
use std::time::Duration;

use wallet::access::Scope;

use super::{Tokens, bearer};
use crate::support::http::HttpClient;
use crate::support::process::{Process, wallet};

fn serve(tokens: &Tokens, database: &Path) -> Process {
    let path = tokens.path();
    Process::start_with(wallet(), database, &["--tokens-file", path.to_str().expect("a path")])
}

/// Asks until the answer for this token has this status.
async fn until(process: &Process, token: &str, status: u16) {
    let (client, token) = (HttpClient::new(process.http), bearer(token));
    loop {
        let reply = client.request("GET", "/api/v1/users/1", &[("authorization", &token)], "").await;
        // A token that is not taken uses up attempts.
        if reply.status == status || status == 401 && reply.status == 429 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn tokens_are_made_rotated_and_revoked_while_the_service_runs() {
    let tokens = Tokens::new();
    let old = tokens.add("engine-a", Scope::Engine);
    let process = serve(&tokens, &tokens.folder().join("wallet.db"));
    until(&process, &old, 404).await;
    let new = tokens.add("engine-a", Scope::Engine);
    until(&process, &new, 404).await;
    until(&process, &old, 404).await;
    tokens.revoke("engine-a");
    process.signal("HUP");
    until(&process, &new, 401).await;
    until(&process, &old, 401).await;
    let log = process.terminate_and_log();
    assert!(log.matches("the tokens file was read").count() >= 3, "{log}");
}

#[tokio::test]
async fn a_broken_file_leaves_the_old_in_force_loudly() {
    let tokens = Tokens::new();
    let token = tokens.add("engine-a", Scope::Engine);
    let process = serve(&tokens, &tokens.folder().join("wallet.db"));
    for broken in ["[[token]\n", "[[token]]\nname = \"a\"\n", "\u{0}", "", "# nothing\n"] {
        fs::write(tokens.path(), broken).unwrap();
        process.signal("HUP");
        until(&process, &token, 404).await;
    }
    fs::remove_file(tokens.path()).unwrap();
    process.signal("HUP");
    until(&process, &token, 404).await;
    let log = process.terminate_and_log();
    let line = log.lines().find(|line| line.contains("that of before is in force")).expect(&log);
    assert!(line.contains("\"ERROR\"") && line.contains("tokens.toml"), "{line}");
}

#[test]
fn a_service_does_not_start_on_a_file_that_it_cannot_use() {
    let dir = tempfile::tempdir().unwrap();
    let (path, database) = (dir.path().join("tokens.toml"), dir.path().join("wallet.db"));
    let start = || {
        let url = format!("sqlite://{}", database.display());
        let path = path.to_str().unwrap();
        let args = ["serve", "--tokens-file", path, "--database-url", &url, "--http-addr", "127.0.0.1:0"];
        crate::support::process::run(&args)
    };
    let (_, err, code) = start();
    assert!(code == Some(1) && err.contains("cannot read the tokens file") && err.contains("tokens.toml"), "{err}");
    fs::write(&path, "[[token]]\nname = 7").unwrap();
    let (_, err, code) = start();
    let last = err.lines().last().unwrap_or_default();
    assert!(code == Some(1) && last.starts_with("error: the tokens file ") && last.contains("line 2: "), "{err}");
    assert!(!database.exists(), "nothing was made");
}
