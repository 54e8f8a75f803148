//! Clients that this project did not write: Python's `grpcio`, with code made from the proto here, and `grpcurl`.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::optional;
use crate::support::process::Process;

/// The modules that the Python session imports, by the packages that bring them.
const PYTHON_MODULES: &str = "import grpc, grpc_tools, grpc_health, grpc_reflection, grpc_status";

/// The service, with a database of its own.
fn service() -> (Process, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Process::start(&dir.path().join("wallet.db")), dir)
}

/// What a command printed, and its exit code.
fn run(command: &mut Command) -> (String, Option<i32>) {
    let Output { status, stdout, stderr } = command.output().expect("the program starts");
    (String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned(), status.code())
}

#[test]
fn a_python_engine_plays_a_session() {
    let test = "the Python client";
    let Some([python]) = optional::programs(test, ["python3"]) else { return };
    if run(Command::new(&python).args(["-c", PYTHON_MODULES])).1 != Some(0) {
        optional::skip(test, "needs grpcio-tools, grpcio-health-checking, grpcio-reflection and grpcio-status");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let stubs = tempfile::tempdir().unwrap();
    let mut protoc = Command::new(&python);
    protoc.args(["-m", "grpc_tools.protoc", "--proto_path=proto", "wallet.proto"]).current_dir(root);
    for kind in ["--python_out", "--grpc_python_out"] {
        protoc.arg(format!("{kind}={}", stubs.path().display()));
    }
    let (printed, code) = run(&mut protoc);
    assert_eq!(code, Some(0), "{printed}");

    let (process, _dir) = service();
    let mut session = Command::new(&python);
    session.arg(root.join("tests/clients/python/session.py")).arg(process.grpc.to_string());
    session.env("PYTHONPATH", stubs.path()).env("PYTHONDONTWRITEBYTECODE", "1");
    let (printed, code) = run(&mut session);
    assert_eq!(code, Some(0), "{printed}");
}

#[test]
fn grpcurl_needs_no_files_and_sees_why_it_is_refused() {
    let Some([grpcurl]) = optional::programs("grpcurl", ["grpcurl"]) else { return };
    let (process, _dir) = service();
    let addr = process.grpc.to_string();
    let plain = |args: &[&str]| run(Command::new(&grpcurl).arg("-plaintext").args(args));
    let call = |method: &str, json: &str| plain(&["-emit-defaults", "-d", json, &addr, method]);

    let (services, code) = plain(&[&addr, "list"]);
    assert_eq!(code, Some(0), "{services}");
    for service in ["grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", "wallet.v1.WalletService"] {
        assert!(services.lines().any(|line| line == service), "{service} in {services}");
    }
    let (described, code) = plain(&[&addr, "describe", "wallet.v1.WalletService.Transact"]);
    assert_eq!(code, Some(0), "{described}");
    assert!(described.contains("( stream .wallet.v1.TransactRequest )"), "{described}");
    let (healthy, code) = call("grpc.health.v1.Health/Check", r#"{"service":"wallet.v1.WalletService"}"#);
    assert!(code == Some(0) && healthy.contains("SERVING"), "{healthy}");

    let opening = r#"{"user_id":123123,"opening_balance_minor":1000}"#;
    let (created, code) = call("wallet.v1.WalletService/CreateWallet", opening);
    assert_eq!(code, Some(0), "{created}");
    let charge = r#"{"user_id":123123,"event_id":321123,"amount_minor":100}"#;
    let (charged, _) = call("wallet.v1.WalletService/Charge", charge);
    assert!(charged.contains(r#""balanceMinor": "900""#) && charged.contains(r#""replayed": false"#), "{charged}");

    // grpcurl's exit code is 64 more than the gRPC status.
    for (amount, exit, parts) in [
        (1000, 64 + 9, ["FailedPrecondition", "Account balance is too low", "BALANCE_TOO_LOW", "900"]),
        (-1, 64 + 3, ["InvalidArgument", "Amount value is negative", "NEGATIVE_AMOUNT", "wallet.v1"]),
    ] {
        let json = format!(r#"{{"user_id":123123,"event_id":1,"amount_minor":{amount}}}"#);
        let (refused, code) = call("wallet.v1.WalletService/Charge", &json);
        assert_eq!(code, Some(exit), "{refused}");
        for part in parts {
            assert!(refused.contains(part), "{part} in {refused}");
        }
    }
}
