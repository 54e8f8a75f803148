//! The command line: help, bad settings, what refuses to start, and how it stops.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use crate::support::optional;
use crate::support::process::{Process, database_url, run, wallet};

#[test]
fn help_explains_every_setting() {
    for args in [&["--help"][..], &["serve", "--help"]] {
        let (help, _, code) = run(args);
        assert_eq!(code, Some(0));
        let settings =
            ["HTTP_ADDR", "GRPC_ADDR", "DATABASE_URL", "CURRENCY", "LOCK_TIMEOUT_MS", "QUEUE_CAPACITY", "LOG"];
        for setting in settings {
            assert!(help.contains(&format!("WALLET_{setting}")), "{setting} in {help}");
        }
    }
    let (help, ..) = run(&["--help"]);
    for command in ["serve", "healthcheck", "verify", "backup", "restore", "openapi", "completions"] {
        assert!(help.contains(command), "{command} in {help}");
    }
}

/// The flags that a command's help lists, without `--help`.
fn flags(command: &str) -> Vec<String> {
    let (help, _, code) = run(&[command, "--help"]);
    assert_eq!(code, Some(0), "{command}");
    let words = help.lines().filter_map(|line| line.trim_start().strip_prefix("--")?.split([' ', ',']).next());
    words.map(ToOwned::to_owned).filter(|flag| flag != "help").collect()
}

#[test]
fn each_command_has_its_own_settings() {
    assert_eq!(flags("verify"), ["checkpoint", "json", "database-url"]);
    assert_eq!(flags("backup"), ["database-url"]);
    assert_eq!(flags("restore"), ["database-url"]);
    assert_eq!(flags("healthcheck"), ["http-addr", "database-url"]);
    assert_eq!(flags("openapi"), [""; 0]);
    assert_eq!(flags("completions"), [""; 0]);
    let (_, stderr, code) = run(&["verify", "--http-addr", "127.0.0.1:1"]);
    assert_eq!((code, stderr.as_str()), (Some(64), "error: unexpected argument '--http-addr' found\n"));
    let (_, stderr, code) = run(&["--database-url", "sqlite://x.db", "verify"]);
    assert_eq!(code, Some(64));
    assert!(stderr.contains("flags stand after the command"), "{stderr}");
}

#[test]
fn a_setting_of_serve_is_nothing_to_another_command() {
    let output = wallet().arg("openapi").env("WALLET_HTTP_ADDR", "nowhere").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = wallet().arg("serve").env("WALLET_HTTP_ADDR", "nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn a_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let (script, stderr, code) = run(&["completions", shell]);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(script.contains("healthcheck") && script.contains("checkpoint"), "{script}");
    }
}

#[test]
fn bad_settings_are_one_clear_line_and_code_64() {
    for (args, named) in [
        (&["--http-addr", "nowhere"][..], "--http-addr"),
        (&["--http-addr", "localhost:70000"], "0 to 65535"),
        (&["--grpc-addr", "::1:50051"], "[::1]:5000"),
        (&["--currency", "XAU"], "ISO 4217"),
        (&["--queue-capacity", "0"], "--queue-capacity <N>': 0 is not in 1..=1048576"),
        (&["--log", "=nonsense="], "--log"),
        (&["--log", "loud"], "error, warn, info, debug, trace, off"),
        (&["--log", ""], "--log"),
        (&["--log-format", "jso"], "[possible values: auto, text, json]; tip: a similar value exists: 'json'"),
        (&["--command-timeout-ms", "0"], "at least 1 ms"),
        (&["--stall-timeout-ms", "0"], "at least 1 ms"),
        (&["--lock-timeout-ms", "0s"], "at least 1 ms"),
        (&["--command-timeout-ms", "18446744073709551615"], "at most a day"),
        (&["--command-timeout-ms", "5 parsecs"], "5s, 500ms"),
        (&["--htp-addr", "127.0.0.1:0"], "'--http-addr'"),
        (&["sing"], "sing"),
        (&["verfy"], "'verify'"),
        (&["backup"], "<FILE>"),
    ] {
        let (_, stderr, code) = run(args);
        assert_eq!((code, stderr.lines().count()), (Some(64), 1), "{args:?}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(named), "{args:?}: {stderr}");
    }
}

#[test]
fn a_value_that_is_no_text_is_refused() {
    let value = OsStr::from_bytes(b"info\xff");
    for mut command in [wallet(), wallet()] {
        command.env("WALLET_LOG", value);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(64));
        assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
    }
}

#[test]
fn an_unknown_variable_is_refused_and_its_value_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    for command in [&["serve"][..], &[], &["verify"]] {
        let mut program = wallet();
        program.args(command).current_dir(dir.path()).env("WALLET_CURENCY", "USD-secret");
        let output = program.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(64), 1), "{stderr}");
        assert!(stderr.contains("WALLET_CURENCY (did you mean WALLET_CURRENCY?)"), "{stderr}");
        assert!(!stderr.contains("secret"), "{stderr}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
    let output = wallet().arg("--help").env("WALLET_CURENCY", "USD").output().unwrap();
    assert!(output.status.success(), "help is given all the same");
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = wallet();
    let settings = ["CURRENCY", "LOCK_TIMEOUT_MS", "STALL_TIMEOUT_MS", "COMMAND_TIMEOUT_MS", "QUEUE_CAPACITY"];
    let more = ["BATCH_SIZE_MAX", "CONNECTIONS_MAX", "SPIN", "LOG", "LOG_FORMAT", "HTTP_ADDR", "GRPC_ADDR", "UNKNOWN"];
    for name in settings.into_iter().chain(more) {
        program.env(format!("WALLET_{name}"), "");
    }
    let process = Process::start_with(program, &dir.path().join("wallet.db"), &[]);
    let serving = process.terminate_and_log();
    assert!(serving.contains(r#""currency":"EUR""#), "{serving}");
    let output = wallet().arg("verify").env("WALLET_DATABASE_URL", "").current_dir(dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_address_may_be_a_host_name() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--http-addr", "localhost:0", "--grpc-addr", "localhost:0"];
    let process = Process::start_with(wallet(), &dir.path().join("wallet.db"), &flags);
    let (_, stderr, code) = run(&["healthcheck", "--http-addr", &format!("localhost:{}", process.http.port())]);
    assert_eq!(code, Some(0), "{stderr}");
    let url = database_url(&dir.path().join("named.db"));
    let args = ["--http-addr", "no-such-host.invalid:5000", "--database-url", &url];
    let (_, stderr, code) = run(&args);
    assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("no-such-host.invalid:5000"), "{stderr}");
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
    assert!(report.contains("\ncurrency: EUR\n"), "{report}");
    let line = report.trim_end().lines().next_back().expect("a checkpoint");
    let printed = line.strip_prefix("checkpoint: ").expect("a checkpoint");
    assert!(printed.starts_with("0:"), "{report}");
    let (json, ..) = run(&["verify", "--json", "--database-url", &url]);
    let fields: serde_json::Value = serde_json::from_str(&json).unwrap();
    let expected = serde_json::json!({
        "success": true, "Wallets": 0, "Entries": 0, "Commits": 0, "Currency": "EUR", "Checkpoint": printed
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

/// The program as a user of this number and of group 0, as container platforms choose them at random.
///
/// `None`, after saying so, where this is not allowed.
fn wallet_as(user: &str) -> Option<Command> {
    let test = "the service as another user";
    let [setpriv] = optional::programs(test, ["setpriv"])?;
    let program = wallet();
    let command = || {
        let mut command = Command::new(&setpriv);
        command.args(["--reuid", user, "--regid", "0", "--clear-groups"]).arg(program.get_program());
        for (name, _) in program.get_envs() {
            command.env_remove(name);
        }
        command
    };
    let tried = command().arg("--version").output().unwrap();
    if !tried.status.success() {
        optional::skip(test, &format!("needs to run it: {}", String::from_utf8_lossy(&tried.stderr)));
        return None;
    }
    Some(command())
}

#[test]
fn any_user_of_group_0_can_serve_a_folder_of_the_group() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let Some(program) = wallet_as("1000670000") else { return };
    // As the image has it.
    std::os::unix::fs::chown(&data, Some(10_001), Some(0)).unwrap();
    fs::set_permissions(&data, Permissions::from_mode(0o770)).unwrap();
    let process = Process::start_with(program, &data.join("wallet.db"), &[]);
    assert!(process.terminate().0.success());

    fs::set_permissions(&data, Permissions::from_mode(0o700)).unwrap();
    let url = database_url(&data.join("wallet.db"));
    let mut program = wallet_as("1000670000").expect("as before");
    program.args(["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--database-url", &url]);
    let output = program.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    let named = format!("user 1000670000 cannot write to the folder {}: Permission denied", data.display());
    assert!(stderr.contains(&named), "{stderr}");
}

#[test]
fn what_is_served_is_logged_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("wallet.db");
    let log = Process::start_with(wallet(), &database, &["--currency", "KWD"]).terminate_and_log();
    let mut lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let line = lines.find(|line| line["message"] == "serving").expect("a line");
    assert_eq!(line["currency"], "KWD");
    assert_eq!(line["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(line["database"], database_url(&database));
}

#[test]
fn openapi_is_printed() {
    let (description, _, code) = run(&["openapi"]);
    assert_eq!(code, Some(0));
    let description: serde_json::Value = serde_json::from_str(&description).unwrap();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
}
