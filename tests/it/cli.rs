//! The command line: what each command does, what refuses to start, and how it stops.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use crate::support::http::HttpClient;
use crate::support::process::{self, Process, database_url, run, wallet};

#[test]
fn an_address_that_is_taken_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let url = database_url(&dir.path().join("wallet.db"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for flags in
        [["--http-addr", &addr, "--grpc-addr", "127.0.0.1:0"], ["--grpc-addr", &addr, "--http-addr", "127.0.0.1:0"]]
    {
        let args: Vec<&str> = flags.into_iter().chain(["--database-url", &url]).collect();
        let (_, stderr, code) = run(&args);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains(&addr) && stderr.contains("in use"), "{stderr}");
    }
    assert!(!dir.path().join("wallet.db").exists(), "nothing was touched");
}

#[test]
fn a_second_serve_on_the_same_file_is_refused_and_the_first_serves_on() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let first = Process::start(&database);
    let link = dir.path().join("another-name.db");
    std::os::unix::fs::symlink(&database, &link).unwrap();
    for path in [&database, &link] {
        let url = database_url(path);
        let args = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--database-url", &url];
        let (_, stderr, code) = run(&args);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains("served by another process"), "{stderr}");
    }
    let (answer, stderr, code) = run(&["healthcheck", "--http-addr", &first.http.to_string()]);
    assert_eq!(
        (code, answer.trim()),
        (Some(0), r#"{"success":true,"message":"System is up and running"}"#),
        "{stderr}"
    );
}

#[test]
fn healthcheck_fails_when_nobody_serves() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (_, stderr, code) = run(&["healthcheck", "--http-addr", &free]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains(&free), "{stderr}");
}

#[test]
fn a_file_that_is_no_wallets_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    fs::write(&path, "Not a database, but precious. ".repeat(100)).unwrap();
    let before = fs::read(&path).unwrap();
    let url = database_url(&path);
    let args = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--database-url", &url];
    let (_, stderr, code) = run(&args);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("notes.txt"), "{stderr}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn verify_tells_a_correct_ledger_from_an_altered_one() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let url = database_url(&database);
    let (_, stderr, code) = run(&["verify", "--database-url", &url]);
    assert_eq!(code, Some(1), "there is no such file: {stderr}");
    assert!(!database.exists(), "verify makes none");
    let (_, stderr, code) = run(&["verify", "--database-url", &database_url(dir.path())]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("is a folder, not a database file"), "{stderr}");

    let (status, _) = Process::start(&database).terminate();
    assert!(status.success());
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection
        .execute_batch(
            "insert into user values (1, x'00112233445566778899aabbccddeeff', 0);
             insert into wallet values (1, 5, 1, 1, 0);",
        )
        .unwrap();
    drop(connection);
    let (_, stderr, code) = run(&["verify", "--database-url", &url]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("user 1: the wallet has no entries"), "{stderr}");
    let (report, _, code) = run(&["verify", "--json", "--database-url", &url]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!((code, &report["success"]), (Some(2), &false.into()));
    assert!(report["error"].as_str().unwrap().contains("user 1: the wallet has no entries"), "{report}");
}

#[test]
fn sigterm_ends_it_in_order_even_with_idle_connections() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(&dir.path().join("wallet.db"));
    let _idle = std::net::TcpStream::connect(process.http).unwrap();
    let _idle_too = std::net::TcpStream::connect(process.grpc).unwrap();
    let (status, took) = process.terminate();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn after_sigterm_everything_is_in_the_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let process = Process::start(&database);
    // One that reads, so that both kinds of connection have been at the database.
    assert_eq!(HttpClient::new(process.http).get("/api/v1/users/1").await.status, 404);
    assert!(process.terminate().0.success());
    assert!(database.exists());
    for name in ["wallet.db-wal", "wallet.db-shm"] {
        assert!(!dir.path().join(name).exists(), "{name}");
    }
}

#[test]
fn a_database_has_one_name() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let process = Process::start(&database);
    let hard_link = dir.path().join("hard.db");
    fs::hard_link(&database, &hard_link).unwrap();
    for path in [&hard_link, &database] {
        let url = database_url(path);
        let args = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--database-url", &url];
        let (_, stderr, code) = run(&args);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains("more than one name"), "{stderr}");
    }
    drop(process);
}

#[test]
fn a_kept_checkpoint_is_compared() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    assert!(Process::start(&database).terminate().0.success());
    let url = database_url(&database);
    let verify = |checkpoint: &str| run(&["verify", "--database-url", &url, "--checkpoint", checkpoint]);
    let (report, ..) = run(&["verify", "--database-url", &url]);
    assert!(report.starts_with("ok: the ledger is empty\ncurrency: EUR\n"), "{report}");
    let line = report.trim_end().lines().next_back().expect("a checkpoint");
    let printed = line.strip_prefix("checkpoint: ").expect("a checkpoint");
    assert!(printed.starts_with("0:"), "{report}");
    let (json, ..) = run(&["verify", "--json", "--database-url", &url]);
    let mut fields: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(fields["Seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{json}");
    fields.as_object_mut().unwrap().remove("Seconds");
    let expected = serde_json::json!({
        "success": true, "Wallets": 0, "Entries": 0, "Commits": 0, "Shards": 1, "Currency": "EUR", "Checkpoint": printed
    });
    assert_eq!(fields, expected);
    for taken in [printed, line, &json] {
        let (_, stderr, code) = verify(taken);
        assert_eq!(code, Some(0), "what verify prints is what it takes: {taken}: {stderr}");
    }
    let zeros = "0".repeat(64);
    let (_, stderr, code) = verify(&format!("0:{zeros}"));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("the checkpoint has 0000"), "{stderr}");
    let (_, stderr, code) = verify(&format!("7:{zeros}"));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("the ledger ends at commit 0; the checkpoint is of commit 7"), "{stderr}");
    assert_eq!(verify("7").2, Some(64));
}

#[test]
fn healthcheck_finds_the_service_of_its_database() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let url = database_url(&database);
    // Where nobody listens: what the file beside the database says must come first, as in the image.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let healthcheck = || {
        let mut program = wallet();
        program.args(["healthcheck", "--database-url", &url]).env("WALLET_HTTP_ADDR", &free);
        let output = program.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let not_found = |(code, stderr): (Option<i32>, String)| code == Some(1) && stderr.contains(&free);
    assert!(not_found(healthcheck()));
    let process = Process::start_with(wallet(), &database, &["--http-addr", "0.0.0.0:0"]);
    assert_eq!(healthcheck(), (Some(0), String::new()));
    let other_addr = run(&["healthcheck", "--database-url", &url, "--http-addr", &free]);
    assert_eq!(other_addr.2, Some(1), "an address that is given is the one that is asked");
    process.kill();
    assert!(dir.path().join("wallet.db-addr").exists());
    assert!(not_found(healthcheck()), "what a killed service left is not believed");
    let process = Process::start(&database);
    assert_eq!(healthcheck().0, Some(0));
    assert!(process.terminate().0.success());
    assert!(!dir.path().join("wallet.db-addr").exists());
}

#[test]
fn any_user_of_group_0_can_serve_a_folder_of_the_group() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let Some(program) = process::wallet_as("1000670000") else { return };
    // As the image has it.
    std::os::unix::fs::chown(&data, Some(10_001), Some(0)).unwrap();
    fs::set_permissions(&data, Permissions::from_mode(0o770)).unwrap();
    let process = Process::start_with(program, &data.join("wallet.db"), &[]);
    assert!(process.terminate().0.success());

    fs::set_permissions(&data, Permissions::from_mode(0o700)).unwrap();
    let url = database_url(&data.join("wallet.db"));
    let mut program = process::wallet_as("1000670000").expect("as before");
    program.args(["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--database-url", &url]);
    let output = program.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    let named = format!("user 1000670000 cannot write to the folder {}: Permission denied", data.display());
    assert!(stderr.contains(&named), "{stderr}");
}

#[test]
fn openapi_is_printed() {
    let (description, _, code) = run(&["openapi"]);
    assert_eq!(code, Some(0));
    let description: serde_json::Value = serde_json::from_str(&description).unwrap();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[test]
fn the_password_of_a_url_is_never_shown() {
    for url in [
        "postgres://u:s3cret@127.0.0.1:7118x/ledger",
        "postgres://u:s3cret@127.0.0.1/ledger?sslmode=bogus",
        "postgres://u:s3cret@127.0.0.1/ledger?sslmod=verify-full",
        "postgres://u:s3cret@127.0.0.1",
        "mysql://u:s3cret@127.0.0.1/ledger",
    ] {
        for args in [["verify", "--database-url", url, "--json"], ["migrate", "--to=sqlite://x.db", "--from", url]] {
            let (_, stderr, code) = run(&args);
            assert_eq!(code, Some(64), "{url}: {stderr}");
            assert!(stderr.contains("invalid value for '--") && !stderr.contains("s3cret"), "{url}: {stderr}");
        }
    }
}
