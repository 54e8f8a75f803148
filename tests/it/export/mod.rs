//! Exports: what they hold, which entries are in them, and what a failure leaves behind.

mod files;
mod revenue;
mod served;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::value::RawValue;

use crate::support::app::App;
use crate::support::ledger_file::{every_kind, ledger, on};
use crate::support::process::database_url;

const FIELDS: &str = "EntryId,UserId,Sequence,Kind,EventId,Amount,BalanceAfter,RoundId,Note,Caller,CreatedAt";

/// The lines of an export, which must succeed.
fn export(database: &Path, args: &[&str]) -> Vec<String> {
    let (stdout, stderr, code) = on(database, &[&["export"], args].concat());
    assert_eq!(code, Some(0), "{stderr}");
    stdout.lines().map(ToOwned::to_owned).collect()
}

/// The numbers of the entries that an export of NDJSON has.
fn numbers(database: &Path, args: &[&str]) -> Vec<i64> {
    let lines = export(database, &[&["--format", "ndjson"], args].concat());
    let number = |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap()["EntryId"].as_i64().unwrap();
    lines.iter().map(number).collect()
}

/// The value of a field as a CSV has it.
fn cell(value: &RawValue) -> String {
    match value.get() {
        "null" => String::new(),
        text if text.starts_with('"') => serde_json::from_str(text).unwrap(),
        number => number.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_exported_as_rest_answers_it() {
    let dir = tempfile::tempdir().unwrap();
    let database = ledger(&dir, &every_kind()).await;
    let lines = export(&database, &["--format", "ndjson"]);
    assert_eq!(lines.len(), 9);
    for kind in ["open", "charge", "win", "rollback", "win_rollback", "deposit", "withdrawal"] {
        assert!(lines.iter().any(|line| line.contains(&format!(r#""Kind":"{kind}""#))), "{kind}");
    }
    let app = App::spawn_with(|settings| settings.database.url = database_url(&database).parse().unwrap()).await;
    let mut answered = 0;
    for user in [1, 2] {
        let reply = app.get(&format!("/api/v1/users/{user}/entries")).await;
        // Newest first, and separated by commas: to the byte what the export has.
        let of_user = lines.iter().rev().filter(|line| line.contains(&format!(r#""UserId":{user},"#)));
        let expected = of_user.map(String::as_str).collect::<Vec<_>>();
        answered += expected.len();
        assert!(reply.text().contains(&format!("[{}]", expected.join(","))), "{}", reply.text());
    }
    assert_eq!(answered, lines.len());

    let csv = export(&database, &["--format", "csv"]).join("\n");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>().join(","), FIELDS);
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
    assert_eq!(rows.len(), lines.len());
    for (row, line) in rows.iter().zip(&lines) {
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(line).unwrap();
        let expected: Vec<String> = FIELDS.split(',').map(|name| cell(fields[name])).collect();
        assert_eq!(row.iter().collect::<Vec<_>>(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_the_entries_that_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let database = ledger(&dir, &every_kind()).await;
    for (args, expected) in [
        (&[][..], &[1, 2, 3, 4, 5, 6, 7, 8, 9][..]),
        (&["--from", "2026-01-01T02:00:00Z"], &[3, 4, 5, 6, 7, 8, 9]),
        (&["--from", "2026-01-01T02:00:00.000001Z"], &[4, 5, 6, 7, 8, 9]),
        (&["--to", "2026-01-01T02:00:00Z"], &[1, 2]),
        (&["--to", "2026-01-01T02:00:00.000001Z"], &[1, 2, 3]),
        (&["--from", "2026-01-01T03:00:00+01:00", "--to", "2026-01-01T04:00:00Z"], &[3, 4]),
        (&["--from", "2026-01-01", "--to", "2026-01-02"], &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (&["--from", "2026-01-02"], &[]),
        (&["--to", "2026-01-01"], &[]),
        (&["--from", "2026-01-01T02:00:00Z", "--to", "2026-01-01T02:00:00Z"], &[]),
        (&["--user", "2"], &[2, 7, 8]),
        (&["--user", "3"], &[]),
        (&["--kind", "charge,win"], &[3, 4]),
        (&["--kind", "open", "--kind", "withdrawal,rollback"], &[1, 2, 5, 7, 9]),
        (&["--kind", "freeze"], &[]),
        (&["--kind", "rollback", "--user", "2"], &[7]),
        (&["--kind", "open", "--from", "2026-01-01T01:00:00Z"], &[2]),
    ] {
        assert_eq!(numbers(&database, args), expected, "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_nothing_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let database = ledger(&dir, &[]).await;
    let (csv, stderr, code) = on(&database, &["export", "--format", "csv"]);
    assert_eq!((csv, code), (format!("{FIELDS}\n"), Some(0)), "{stderr}");
    assert!(stderr.starts_with("exported 0 entries\ncheckpoint: 0:"), "{stderr}");
    assert_eq!(export(&database, &["--format", "ndjson"]), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_ends_with_the_checkpoint_that_it_corresponds_to() {
    let dir = tempfile::tempdir().unwrap();
    let database = ledger(&dir, &every_kind()).await;
    let (verified, ..) = on(&database, &["verify"]);
    let checkpoint = verified.lines().find(|line| line.starts_with("checkpoint: ")).expect("a checkpoint");
    let (_, stderr, code) = on(&database, &["export", "--format", "csv"]);
    assert_eq!((stderr.as_str(), code), (&*format!("exported 9 entries\n{checkpoint}\n"), Some(0)));
    let (_, stderr, code) = on(&database, &["export", "--format", "csv", "--json", "--from", "2026-01-01T08:00:00Z"]);
    let report: serde_json::Value = serde_json::from_str(&stderr).unwrap();
    let expected = serde_json::json!({
        "success": true, "Entries": 1, "From": "2026-01-01T08:00:00.000000Z", "To": null, "Currency": "EUR",
        "Checkpoint": checkpoint.strip_prefix("checkpoint: ").unwrap(),
    });
    assert_eq!((report, code), (expected, Some(0)));
    // `verify` takes both forms as they are printed.
    for kept in [checkpoint, &stderr] {
        assert_eq!(on(&database, &["verify", "--checkpoint", kept]).2, Some(0), "{kept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_line_that_cannot_be_followed_exports_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let database = ledger(&dir, &every_kind()).await;
    for (args, named) in [
        (&[][..], "--format"),
        (&["--format", "xml"], "[possible values: csv, ndjson]"),
        (&["--format", "csv", "--kind", "bet"], "needs one of open, charge, win"),
        (&["--format", "csv", "--user=-1"], "needs a whole number from 0 to"),
        (&["--format", "csv", "--user", "1.0"], "needs a whole number from 0 to"),
        (&["--format", "csv", "--from", "yesterday"], "needs an RFC 3339 time"),
        (&["--format", "csv", "--from", "2026-01-02", "--to", "2026-01-01"], "--to must not be before --from"),
    ] {
        let (stdout, stderr, code) = on(&database, &[&["export"], args].concat());
        assert_eq!((stdout.as_str(), stderr.lines().count(), code), ("", 1, Some(64)), "{args:?}: {stderr}");
        assert!(stderr.contains(named), "{args:?}: {stderr}");
    }
}
