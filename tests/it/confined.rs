//! The service with what `deploy/` leaves it: no root, no capability, and a root file system that can only be read.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::optional;
use crate::support::process::{Process, database_url, without_settings};

/// Makes everything read-only but the folder `$1` and a new file system at `$2`. Becomes user 10001 without any right.
const CONFINE: &str = r#"
set -e
data=$1
tmp=$2
shift 2
mount --bind "$data" "$data"
mount -t tmpfs -o mode=1777 tmpfs "$tmp"
findmnt --list --noheadings --output TARGET | while read -r mount; do
    case $mount in
        "$data" | "$tmp" | /proc | /proc/* | /dev | /dev/* | /sys | /sys/*) ;;
        *) mount -o remount,ro,bind "$mount" ;;
    esac
done
exec setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all "$@"
"#;

/// A program in the confinement of a container, with no settings of this environment.
fn confined(data: &Path, program: &str) -> Command {
    let tmp = data.with_file_name("tmp");
    let mut command = without_settings("unshare");
    command.args(["--mount", "sh", "-c", CONFINE, "sh"]).args([data, &tmp]).arg(program).env("TMPDIR", tmp);
    command
}

fn output(command: &mut Command) -> (String, bool) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (String::from_utf8([stdout, stderr].concat()).unwrap(), status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_needs_no_right_and_writes_to_its_folder_alone() {
    let test = "the service as a container has it";
    if optional::programs(test, ["unshare", "setpriv", "mount", "findmnt"]).is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for folder in [&data, &dir.path().join("tmp")] {
        fs::create_dir(folder).unwrap();
    }
    for folder in [dir.path(), &data] {
        std::os::unix::fs::chown(folder, Some(10_001), Some(10_001)).unwrap();
    }
    let (tried, can_be) = output(confined(&data, "true").arg("x"));
    if !can_be {
        optional::skip(test, &format!("needs to confine it: {tried}"));
        return;
    }
    // It is confined: what its user owns can be written in the folder alone.
    assert!(output(confined(&data, "touch").args([data.join("inside"), dir.path().join("tmp/inside")])).1);
    let (refused, is_written) = output(confined(&data, "touch").arg(dir.path().join("outside")));
    assert!(!is_written && refused.contains("Read-only file system"), "{refused}");
    let (status, _) = output(confined(&data, "grep").args(["-E", "^(Cap[PEBA]|NoNewPrivs|Uid)", "/proc/self/status"]));
    let rights = status.lines().filter(|line| line.starts_with("Cap"));
    assert!(rights.clone().count() == 4 && rights.clone().all(|line| line.ends_with("\t0000000000000000")), "{status}");
    assert!(status.contains("NoNewPrivs:\t1") && status.contains("Uid:\t10001\t10001\t10001\t10001"), "{status}");

    let database = data.join("wallet.db");
    let program = env!("CARGO_BIN_EXE_wallet");
    let url = ["--database-url", &database_url(&database)];
    let process = Process::start_with(confined(&data, program), &database, &[]);
    let client = process.client().await;
    client.create_wallet(1, 100).await;
    assert_eq!(client.http.get("/readyz").await.status, 200);
    for args in [
        &["healthcheck"][..],
        &["verify"],
        &["backup", data.join("monday.db").to_str().unwrap()],
        &["export", "--format", "csv"],
    ] {
        let (answer, is_done) = output(confined(&data, program).args(args).args(url));
        assert!(is_done, "{args:?}: {answer}");
    }
    let log = process.terminate_and_log();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}
