//! The unit in `deploy/systemd/`: valid, confined, and it lets the service make every call that it makes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::client::Protocol;
use crate::support::command::PlainCommand;
use crate::support::process::{Process, database_url, wallet_as};
use crate::support::{optional, strace};

/// The most that the unit may be exposed by systemd's own measure, in tenths: of 100, where 0 is not at all.
const EXPOSURE_MAX: &str = "15";

fn unit() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd/wallet.service");
    fs::read_to_string(path).unwrap()
}

/// A copy of the unit that starts the program where it is here.
fn installed(unit: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wallet.service");
    let here =
        unit.replace("ExecStart=/usr/local/bin/wallet\n", concat!("ExecStart=", env!("CARGO_BIN_EXE_wallet"), "\n"));
    assert_ne!(here, unit, "the unit starts the program");
    fs::write(&path, here).unwrap();
    (dir, path)
}

/// What `systemd-analyze` prints on both its outputs, and whether it is content.
fn analyze(program: &Path, args: &[&str]) -> (String, bool) {
    let Output { status, stdout, stderr } = Command::new(program).args(args).output().unwrap();
    (String::from_utf8([stdout, stderr].concat()).unwrap(), status.success())
}

#[test]
fn the_unit_is_valid_and_confined() {
    let Some([program]) = optional::programs("the unit of systemd", ["systemd-analyze"]) else { return };
    let (_dir, file) = installed(&unit());
    let path = file.to_str().unwrap();
    assert_eq!(analyze(&program, &["verify", path]), (String::new(), true));
    let measure = |path: &str| {
        analyze(&program, &["security", "--offline=true", &format!("--threshold={EXPOSURE_MAX}"), "--no-pager", path])
    };
    let (report, is_confined) = measure(path);
    assert!(is_confined, "{report}");
    println!("{}", report.lines().last().unwrap_or_default());

    // Both tell when something is wrong.
    let typo = unit().replace("ProtectSystem=", "ProtectMoney=");
    let (_dir, file) = installed(&typo);
    assert!(analyze(&program, &["verify", file.to_str().unwrap()]).0.contains("Unknown key 'ProtectMoney'"));
    let no_filter = unit().lines().filter(|line| !line.starts_with("SystemCallFilter=")).collect::<Vec<_>>().join("\n");
    let (_dir, file) = installed(&no_filter);
    assert!(!measure(file.to_str().unwrap()).1, "without its filter of calls it is more exposed");
}

/// The calls of a set of systemd's, with those of the sets in it.
fn calls_of(program: &Path, set: &str) -> BTreeSet<String> {
    let (listed, is_known) = analyze(program, &["syscall-filter", "--no-pager", set]);
    assert!(is_known, "{set}: {listed}");
    let names = listed.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let calls =
        names.flat_map(
            |name| {
                if name.starts_with('@') { calls_of(program, name) } else { BTreeSet::from([name.to_owned()]) }
            },
        );
    calls.collect()
}

/// The calls that the unit allows: each line adds sets, or takes some away.
fn allowed(program: &Path) -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for sets in unit().lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (is_denied, sets) = sets.strip_prefix('~').map_or((false, sets), |sets| (true, sets));
        for call in sets.split_whitespace().flat_map(|set| calls_of(program, set)) {
            if is_denied {
                allowed.remove(&call);
            } else {
                allowed.insert(call);
            }
        }
    }
    allowed
}

/// The names of the calls that the program made, without those of whoever started it.
fn calls_made(trace: &[String]) -> BTreeSet<String> {
    let program = format!("execve(\"{}\"", env!("CARGO_BIN_EXE_wallet"));
    let started = trace.iter().position(|line| line.contains(&program)).expect("it is started");
    let calls = trace[started + 1..].iter().filter_map(|line| line.split_whitespace().nth(1)?.split_once('('));
    calls.map(|(call, _)| call.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_that_the_service_makes_is_allowed() {
    let test = "the filter of calls";
    let Some([program]) = optional::programs(test, ["systemd-analyze"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    std::os::unix::fs::chown(dir.path(), Some(10_001), None).unwrap();
    std::os::unix::fs::chown(&data, Some(10_001), None).unwrap();
    let database = data.join("wallet.db");
    // As root, SQLite would give its files the owner of the database.
    let Some(service) = wallet_as("10001") else { return };
    let runtime = tokio::runtime::Handle::current();
    let serve = |command| {
        let process = Process::start_with(command, &database, &[]);
        runtime.block_on(async {
            let client = process.client().await;
            client.create_wallet(1, 100).await;
            for (event, protocol) in [(1, Protocol::Rest), (2, Protocol::Grpc)] {
                client.send(protocol, PlainCommand::charge(1, event, 1)).await.balance();
            }
        });
        assert!(process.terminate().0.success());
    };
    let trace = tokio::task::block_in_place(|| strace::trace(test, "all", &service, serve));
    let Some(trace) = trace else { return };
    let (made, allowed) = (calls_made(&trace), allowed(&program));
    assert!(made.contains("fdatasync") && made.contains("accept4"), "the trace is of a service: {made:?}");
    assert!(!allowed.contains("ptrace") && !allowed.contains("chown"), "the filter denies something");
    let denied: Vec<&String> = made.difference(&allowed).collect();
    assert!(denied.is_empty(), "{denied:?}");
    println!("{} calls made, all of the {} that are allowed; {}", made.len(), allowed.len(), database_url(&database));
}
