//! Reconciling: what agrees, each way in which a file and the ledger may differ, and what cannot be read.

use std::fs;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::ledger_file::{charges, every_kind, ledger, on};
use crate::support::process::{database_url, run, wallet};
use crate::support::seed::Seeded;

/// A ledger of every kind of entry, and a folder for files.
async fn every() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let database = ledger(&dir, &every_kind()).await;
    (dir, database)
}

/// Compares a file of this text.
fn reconcile(database: &Path, text: &str, args: &[&str]) -> (String, String, Option<i32>) {
    let file = database.with_file_name("provider.txt");
    fs::write(&file, text).unwrap();
    on(database, &[&["reconcile", file.to_str().unwrap()], args].concat())
}

/// The lines of an answer in JSON: the differences, and the summary.
fn answers((stdout, stderr, code): (String, String, Option<i32>)) -> (Vec<Value>, Value, Option<i32>) {
    let mut lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let summary = lines.pop().unwrap_or_else(|| panic!("no summary: {stderr}"));
    (lines, summary, code)
}

const HEADER: &str = "UserId,Kind,EventId,Amount";
/// What games caused in the ledger of [`every_kind`].
const GAMES: &str = "1,charge,7,1.50\n1,win,7,10.00\n1,rollback,7,1.50\n1,win_rollback,7,10.00\n2,rollback,8,0.00\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_export_agrees_in_any_order() {
    let (_dir, database) = every().await;
    let mut seeded = Seeded::new(7);
    for format in ["csv", "ndjson"] {
        let (export, ..) = on(&database, &["export", "--format", format]);
        let mut lines: Vec<&str> = export.lines().collect();
        let first = usize::from(format == "csv");
        for _ in 0..5 {
            for at in first..lines.len() {
                let other = seeded.of(i64::try_from(first).unwrap()..i64::try_from(lines.len()).unwrap());
                lines.swap(at, usize::try_from(other).unwrap());
            }
            let (stdout, stderr, code) = reconcile(&database, &lines.join("\n"), &[]);
            assert_eq!((stderr.as_str(), code), ("", Some(0)), "{stdout}");
            let (differences, summary, code) = answers(reconcile(&database, &lines.join("\r\n"), &["--json"]));
            assert_eq!((differences, &summary["success"], code), (vec![], &true.into(), Some(0)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_game_provider_need_not_know_what_the_operator_did() {
    let (_dir, database) = every().await;
    let text = format!("{HEADER}\n{GAMES}");
    let (stdout, stderr, code) = reconcile(&database, &text, &[]);
    assert_eq!((stderr.as_str(), code), ("", Some(0)), "{stdout}");
    let (checkpoint, expected) = (
        stdout.lines().next_back().unwrap().to_owned(),
        [
            "kind            in file             amount  in ledger             amount",
            "charge                1               1.50          1               1.50",
            "win                   1              10.00          1              10.00",
            "rollback              2               1.50          2               1.50",
            "win_rollback          1              10.00          1              10.00",
            "currency: EUR",
        ],
    );
    assert!(on(&database, &["verify"]).0.contains(&checkpoint) && checkpoint.starts_with("checkpoint: 9:"), "{stdout}");
    assert_eq!(stdout, format!("{}\n{checkpoint}\n", expected.join("\n")));
    // A kind that the file names is compared, and then the file must have all of it.
    let (differences, summary, code) = answers(reconcile(&database, &format!("{text}1,open,0,100.00"), &["--json"]));
    assert_eq!((differences.len(), code), (1, Some(2)));
    assert_eq!((&differences[0]["Difference"], &differences[0]["EntryId"]), (&"missing_in_file".into(), &2.into()));
    let kinds: Vec<&Value> = summary["Kinds"].as_array().unwrap().iter().map(|kind| &kind["Kind"]).collect();
    assert_eq!(kinds, ["open", "charge", "win", "rollback", "win_rollback"]);
}

/// Each difference once.
const DIFFERENT: &str = "1,charge,7,1.51\n1,win,7,10.00\n1,win,7,10.00\n3,charge,1,2.00\n3,charge,1,2.00\n\
                         1,rollback,7,1.50\n1,win_rollback,7,10\n";

#[tokio::test(flavor = "multi_thread")]
async fn each_difference_is_told_in_a_table() {
    let (_dir, database) = every().await;
    let (stdout, stderr, code) = reconcile(&database, &format!("{HEADER}\n{DIFFERENT}"), &[]);
    assert_eq!(code, Some(2));
    assert_eq!(
        stderr,
        "error: the file and the ledger do not agree: 1 missing in the ledger, 1 missing in the file, \
         1 another amount, 2 twice in the file\n"
    );
    let columns =
        |line: &str| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join("|");
    let told: Vec<String> = stdout.lines().take_while(|line| !line.is_empty()).map(columns).collect();
    assert_eq!(
        told,
        [
            "difference|line|user|kind|event|in file|in ledger|entry|time",
            "another amount|2|1|charge|7|1.51|1.50|3|2026-01-01T02:00:00.000000Z",
            "twice in the file|4|1|win|7|10.00|10.00|4|2026-01-01T03:00:00.000000Z",
            "missing in the ledger|5|3|charge|1|2.00|-|-|-",
            "twice in the file|6|3|charge|1|2.00|-|-|-",
            "missing in the file|-|2|rollback|8|-|0.00|7|2026-01-01T06:00:00.000000Z",
        ]
    );
    let totals: Vec<&str> = stdout.lines().skip_while(|line| !line.starts_with("kind")).take(3).collect();
    assert_eq!(totals[1], "charge                3               5.51          1               1.50");
    assert_eq!(totals[2], "win                   2              20.00          1              10.00");

    let (stdout, _, code) = reconcile(&database, &format!("{HEADER}\n{DIFFERENT}"), &["--limit", "2"]);
    let told: Vec<&str> = stdout.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!((told.len(), told[3], code), (4, "and 3 more; --limit shows more of them, --json all", Some(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_difference_is_told_as_json() {
    let (_dir, database) = every().await;
    let (stdout, stderr, code) = reconcile(&database, &format!("{HEADER}\n{DIFFERENT}"), &["--json"]);
    assert!(stdout.contains(r#""FileAmount":1.51,"LedgerAmount":1.50,"#), "money is no float: {stdout}");
    let (differences, summary, code) = answers((stdout, stderr, code));
    let names: Vec<&Value> = differences.iter().map(|difference| &difference["Difference"]).collect();
    assert_eq!(names, ["amount", "duplicate", "missing_in_ledger", "duplicate", "missing_in_file"]);
    assert_eq!(
        differences[0],
        json!({
            "Difference": "amount", "Line": 2, "UserId": 1, "Kind": "charge", "EventId": 7, "FileAmount": 1.51,
            "LedgerAmount": 1.5, "EntryId": 3, "CreatedAt": "2026-01-01T02:00:00.000000Z",
        })
    );
    assert_eq!(
        differences[4],
        json!({
            "Difference": "missing_in_file", "Line": null, "UserId": 2, "Kind": "rollback", "EventId": 8,
            "FileAmount": null, "LedgerAmount": 0.0, "EntryId": 7, "CreatedAt": "2026-01-01T06:00:00.000000Z",
        })
    );
    let counts = json!({
        "missing_in_ledger": 1, "missing_in_file": 1, "amount": 1, "outside_span": 0, "duplicate": 2
    });
    assert_eq!((&summary["Differences"], &summary["success"], code), (&counts, &false.into(), Some(2)));
    let charge = json!({
        "Kind": "charge", "File": {"Count": 3, "Amount": 5.51}, "Ledger": {"Count": 1, "Amount": 1.5}
    });
    assert_eq!(summary["Kinds"][0], charge);
    assert!(summary["Checkpoint"].as_str().unwrap().starts_with("9:"), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_span_of_the_ledger_is_compared() {
    let (_dir, database) = every().await;
    // The win and the rollback of the charge.
    let span = ["--json", "--from", "2026-01-01T03:00:00Z", "--to", "2026-01-01T05:00:00Z"];
    let inside = format!("{HEADER}\n1,win,7,10\n1,rollback,7,1.5\n");
    let (differences, summary, code) = answers(reconcile(&database, &inside, &span));
    assert_eq!((differences, code), (vec![], Some(0)));
    assert_eq!(summary["From"], "2026-01-01T03:00:00.000000Z");
    let (differences, summary, code) = answers(reconcile(&database, &format!("{inside}1,charge,7,9.99"), &span));
    assert_eq!((differences.len(), code), (1, Some(2)));
    let (what, time) = (&differences[0]["Difference"], &differences[0]["CreatedAt"]);
    assert_eq!((what, time), (&"outside_span".into(), &"2026-01-01T02:00:00.000000Z".into()));
    assert_eq!(summary["Kinds"][0]["Ledger"]["Count"], 0, "totals are of the span");
    let (stdout, stderr, code) = reconcile(&database, &inside, &["--from", "2026-01-02", "--to", "2026-01-01"]);
    assert_eq!((stdout.as_str(), code), ("", Some(64)), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_tells_no_difference() {
    let (_dir, database) = every().await;
    for (line, named) in [
        ("1,charge", "line 8: it has 2 fields, and the first line has 4"),
        ("1,charge,7,1.505", "line 8: Amount has more than 2 decimals"),
        ("1,charge,7,-1.50", "line 8: Amount is negative"),
        ("1,charge,7,1.50 EUR", "line 8: Amount "),
        ("1,bet,7,1.50", "line 8: Kind \"bet\" is none of open, charge, win,"),
        ("1,charge,7.5,1.50", "line 8: EventId must be a whole number from 0 to 9223372036854775807"),
        ("-1,charge,7,1.50", "line 8: UserId must be a whole number"),
        (",charge,7,1.50", "line 8: UserId is missing"),
    ] {
        // What came before it differs, and is not told.
        let text = format!("{HEADER}\n3,charge,1,2.00\n{GAMES}{line}\n");
        let (stdout, stderr, code) = reconcile(&database, &text, &[]);
        assert_eq!((stdout.as_str(), stderr.lines().count(), code), ("", 1, Some(1)), "{line}: {stderr}");
        assert!(stderr.contains("provider.txt: ") && stderr.contains(named), "{line}: {stderr}");
        let (stdout, _, code) = reconcile(&database, &text, &["--json"]);
        let answer: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!((&answer["success"], stdout.lines().count(), code), (&false.into(), 1, Some(1)));
        assert!(answer["error"].as_str().unwrap().contains(named), "{answer}");
    }
    for (text, named) in [
        ("", "line 1: no column is called UserId"),
        ("UserId,Kind,EventId\n1,charge,7", "line 1: no column is called Amount"),
        ("userId,Kind,EventId,Amount\n", "line 1: userId must be spelled UserId"),
        ("{\"UserId\":1}\n", "line 1: Kind is missing"),
    ] {
        let (stdout, stderr, code) = reconcile(&database, text, &[]);
        assert_eq!((stdout.as_str(), code), ("", Some(1)), "{text}");
        assert!(stderr.contains(named), "{text}: {stderr}");
    }
    let (_, stderr, code) = on(&database, &["reconcile", "missing.csv"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("cannot read missing.csv: No such file"), "{stderr}");
    assert_eq!(run(&["reconcile"]).2, Some(64));
    assert_eq!(on(&database.with_file_name("no.db"), &["reconcile", "x"]).2, Some(1));
}

/// Starts a comparison with what is written to its standard input. Its table is longer than a pipe holds.
fn start(database: &Path) -> std::process::Child {
    let mut command: Command = wallet();
    command.args(["reconcile", "-", "--limit", "1000", "--database-url", &database_url(database)]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_lines_need_little_memory() {
    const LINES: i64 = 1_000_000;
    const ENTRIES: i64 = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let database = charges(&dir, ENTRIES).await;
    let mut child = start(&database);
    let mut file = BufWriter::with_capacity(1 << 16, child.stdin.take().unwrap());
    let mut bytes = 0;
    writeln!(file, "{HEADER},Comment").unwrap();
    // From the last to the first. The ledger has few of them, and of those each with another amount.
    for number in (0..LINES).rev() {
        let line = format!("1,charge,{number},0.02,what the provider says of it besides: {number:0120}\n");
        bytes += line.len();
        file.write_all(line.as_bytes()).unwrap();
    }
    file.into_inner().unwrap();
    // It begins to print when everything is compared, and then waits for its reader.
    let mut stdout = child.stdout.take().unwrap();
    let mut start = vec![0; 1];
    stdout.read_exact(&mut start).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB");
    let peak = peak.parse::<usize>().unwrap() * 1024;
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    println!("{LINES} lines of {bytes} bytes, compared in {} KiB", peak / 1024);
    assert!(peak < bytes / 3, "{peak} of {bytes} bytes");
    let stderr = String::from_utf8(output.stderr).unwrap();
    let counts = format!("{} missing in the ledger, {ENTRIES} another amount\n", LINES - ENTRIES);
    assert_eq!((stderr.rsplit_once(": ").unwrap().1, output.status.code()), (counts.as_str(), Some(2)));
    assert!(rest.contains(&format!("\nand {} more;", LINES - 1_000)), "{rest}");
}
