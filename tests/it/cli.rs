//! The command line: help, bad settings, what refuses to start, and how it stops.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::support::process::{Process, database_url, run};

#[test]
fn help_explains_every_setting() {
    let (help, _, code) = run(&["--help"]);
    assert_eq!(code, Some(0));
    for setting in ["HTTP_ADDR", "GRPC_ADDR", "DATABASE_URL", "CURRENCY", "LOCK_TIMEOUT_MS", "QUEUE_CAPACITY", "LOG"] {
        assert!(help.contains(&format!("WALLET_{setting}")), "{setting} in {help}");
    }
    for command in ["serve", "healthcheck", "verify", "backup", "restore", "openapi"] {
        assert!(help.contains(command), "{command} in {help}");
    }
}

#[test]
fn bad_settings_are_one_clear_line_and_code_64() {
    for (args, named) in [
        (&["--http-addr", "nowhere"][..], "--http-addr"),
        (&["--currency", "XAU"], "ISO 4217"),
        (&["--queue-capacity", "0"], "--queue-capacity"),
        (&["--log", "=nonsense="], "--log"),
        (&["sing"], "sing"),
        (&["backup"], "<FILE>"),
    ] {
        let (_, stderr, code) = run(args);
        assert_eq!(code, Some(64), "{args:?}: {stderr}");
        assert!(stderr.lines().next().unwrap_or_default().contains(named), "{args:?}: {stderr}");
    }
}

#[test]
fn a_database_url_that_cannot_hold_money_is_refused() {
    for url in ["mysql://x", "sqlite::memory:", "sqlite://", "postgres://localhost/wallet"] {
        let (_, stderr, code) = run(&["verify", "--database-url", url]);
        assert_eq!(code, Some(64), "{url}: {stderr}");
        assert_eq!(stderr.trim().lines().count(), 1, "{stderr}");
    }
}

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
             insert into wallet values (1, 5, 1, 1);",
        )
        .unwrap();
    drop(connection);
    let (_, stderr, code) = run(&["verify", "--database-url", &url]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("user 1: the wallet has no entries"), "{stderr}");
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

#[test]
fn after_sigterm_everything_is_in_the_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let process = Process::start(&database);
    // One that reads, so that both kinds of connection have been at the database.
    assert!(exchange(process.http, "GET /api/v1/users/1", "").starts_with("HTTP/1.1 404 "));
    assert!(process.terminate().0.success());
    assert!(database.exists());
    for name in ["wallet.db-wal", "wallet.db-shm"] {
        assert!(!dir.path().join(name).exists(), "{name}");
    }
}

/// What a service answers to a request.
fn exchange(addr: SocketAddr, request: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    let head = "host: a\r\nconnection: close\r\nx-request-id: round-7\r\ncontent-type: application/json";
    write!(stream, "{request} HTTP/1.1\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_log_has_each_request_by_its_id_and_no_money() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(&dir.path().join("wallet.db"));
    for (path, body, status) in [
        ("users", r#"{"UserId":1,"AccountBalance":77.31}"#, 201),
        ("charge", r#"{"UserId":1,"EventId":1,"Amount":88.42}"#, 400),
        ("charge", r#"{"UserId":1,"EventId":1,"Amount":66.53}"#, 200),
    ] {
        let answer = exchange(process.http, &format!("POST /api/v1/{path}"), body);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    let log = process.terminate_and_log();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let of_requests = lines.iter().filter(|line| line["span"]["request_id"] == "round-7");
    let statuses: Vec<_> = of_requests.map(|line| line["status"].as_u64().unwrap_or_default()).collect();
    assert_eq!(statuses, [201, 400, 200]);
    for line in &lines {
        assert_eq!(line["level"], "INFO", "what is refused is no error: {line}");
    }
    for amount in ["77.31", "7731", "88.42", "8842", "66.53", "6653", "10.78", "1078"] {
        assert!(!log.contains(amount), "{amount} in {log}");
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
    let printed = report.trim_end().rsplit_once("checkpoint: ").expect("a checkpoint").1;
    assert!(printed.starts_with("0:"), "{report}");
    assert_eq!(verify(printed).2, Some(0), "what verify prints is what it takes");
    let zeros = "0".repeat(64);
    let (_, stderr, code) = verify(&format!("0:{zeros}"));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("the checkpoint has 0000"), "{stderr}");
    let (_, stderr, code) = verify(&format!("7:{zeros}"));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("the ledger ends at commit 0; the checkpoint is of commit 7"), "{stderr}");
    assert_eq!(verify("7").2, Some(64));
}

#[test]
fn openapi_is_printed() {
    let (description, _, code) = run(&["openapi"]);
    assert_eq!(code, Some(0));
    let description: serde_json::Value = serde_json::from_str(&description).unwrap();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
}
