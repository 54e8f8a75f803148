//! The settings: flags, environment variables, and what is refused.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use crate::support::process::{Process, database_url, run, wallet};

#[test]
fn help_explains_every_setting() {
    for args in [&["--help"][..], &["serve", "--help"]] {
        let (help, _, code) = run(args);
        assert_eq!(code, Some(0));
        let settings = [
            "HTTP_ADDR",
            "GRPC_ADDR",
            "METRICS_ADDR",
            "DATABASE_URL",
            "CURRENCY",
            "LOCK_TIMEOUT_MS",
            "TLS_CERT",
            "LOG",
        ];
        for setting in settings {
            assert!(help.contains(&format!("WALLET_{setting}")), "{setting} in {help}");
        }
    }
    let (help, ..) = run(&["--help"]);
    for command in [
        "serve",
        "healthcheck",
        "init",
        "verify",
        "backup",
        "restore",
        "export",
        "reconcile",
        "relay",
        "openapi",
        "completions",
    ] {
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
    let export = ["format", "from", "to", "user", "kind", "out", "json", "database-url"];
    assert_eq!(flags("export"), export);
    assert_eq!(flags("reconcile"), ["from", "to", "json", "limit", "database-url"]);
    assert_eq!(flags("healthcheck"), ["http-addr", "tls-ca", "database-url"]);
    assert_eq!(flags("init"), ["database-url", "currency", "shards"]);
    assert_eq!(flags("openapi"), ["currency"]);
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
        (&["--allowed-hosts", "wallet.example.com,wallet:5000"], "'wallet:5000' for '--allowed-hosts"),
        (&["--allowed-hosts", "a,,b"], "needs the name of a host without a port"),
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
        (&["verifyy"], "'verify'"),
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
        program.args(command).current_dir(dir.path()).env("WALLET_CURRNCY", "USD-secret");
        let output = program.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(64), 1), "{stderr}");
        assert!(stderr.contains("WALLET_CURRNCY (did you mean WALLET_CURRENCY?)"), "{stderr}");
        assert!(!stderr.contains("secret"), "{stderr}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
    let output = wallet().arg("--help").env("WALLET_CURRNCY", "USD").output().unwrap();
    assert!(output.status.success(), "help is given all the same");
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = wallet();
    let settings = ["CURRENCY", "LOCK_TIMEOUT_MS", "STALL_TIMEOUT_MS", "COMMAND_TIMEOUT_MS", "QUEUE_CAPACITY"];
    let more = [
        "BATCH_SIZE_MAX",
        "CONNECTIONS_MAX",
        "SPIN",
        "LOG",
        "LOG_FORMAT",
        "HTTP_ADDR",
        "GRPC_ADDR",
        "METRICS_ADDR",
        "ALLOWED_HOSTS",
        "UNKNOWN",
    ];
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
    for url in ["mysql://x", "sqlite::memory:", "sqlite://", "postgres://localhost", "postgres://a,,b/wallet"] {
        let (_, stderr, code) = run(&["verify", "--database-url", url]);
        assert_eq!(code, Some(64), "{url}: {stderr}");
        assert_eq!(stderr.trim().lines().count(), 1, "{stderr}");
    }
}
