//! Single bytes of the file, altered where no SQL comes.

use std::fs;
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};
use wallet::store::{StoreError, sqlite};

use super::{ledger, verify};

/// The header of the file, which says what kind of file it is.
const HEADER: usize = 100;
/// How many bytes are altered, each in a copy of its own.
const BYTES: usize = 600;

/// Everything that the ledger keeps in a file.
fn contents(path: &Path) -> Vec<Vec<Value>> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    // sqlx's own table is not the ledger's.
    let schema = "(select name, sql, type from sqlite_schema where substr(tbl_name, 1, 1) <> '_')";
    let tables =
        ["setting", "user", "wallet", "entry", "caller", "entry_note", "ledger_commit", "history_index", schema];
    let rows = |table: &&str| {
        let mut select = connection.prepare(&format!("select * from {table} order by 1, 2")).unwrap();
        let columns = select.column_count();
        let row = |row: &rusqlite::Row<'_>| (0..columns).map(|at| row.get(at)).collect::<Result<Vec<Value>, _>>();
        select.query_map([], row).unwrap().collect::<Result<Vec<_>, _>>().unwrap()
    };
    tables.iter().flat_map(rows).collect()
}

#[tokio::test]
async fn a_byte_that_was_altered_is_found_unless_nothing_is_kept_there() {
    let (dir, database) = ledger().await;
    let (whole, before) = (fs::read(&database).unwrap(), contents(&database));
    let report = sqlite::audit(&database, None).unwrap().unwrap();
    let copy = dir.path().join("copy.db");
    let (mut wrong, mut unreadable, mut unused) = (0, 0, 0);
    for number in 0..BYTES {
        // The header byte by byte, the rest in steps that meet every place of a page.
        let place = if number < HEADER { number } else { (number * 7_919) % whole.len() };
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (number % 8);
        fs::write(&copy, &bytes).unwrap();
        match sqlite::audit(&copy, None) {
            Ok(Ok(found)) => {
                assert_eq!(found, report, "byte {place}");
                assert!(contents(&copy) == before, "byte {place}: the ledger is another, and it was not noticed");
                unused += 1;
            }
            Ok(Err(_)) | Err(StoreError::Corrupt { .. }) => wrong += 1,
            Err(error) => {
                let why = error.to_string();
                assert!(place < HEADER || why.contains("newer version"), "byte {place}: {error:?}");
                unreadable += 1;
            }
        }
    }
    println!(
        "{BYTES} bytes of {} altered: {wrong} found, {unreadable} make it no wallet's database, {unused} unused",
        whole.len()
    );
    assert!(wrong > BYTES / 4, "much of the file is in use");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_told_from_one_that_is_wrong() {
    let (dir, database) = ledger().await;
    let copy = dir.path().join("copy.db");
    let whole = fs::read(&database).unwrap();
    let with = |bytes: &[u8]| {
        fs::write(&copy, bytes).unwrap();
        verify(&copy)
    };
    for (what, bytes, expected) in [
        ("another kind of file", &b"Not a database. ".repeat(100)[..], 1),
        ("an empty file", b"", 1),
        ("the first page alone", &whole[..1_024], 2),
        ("without the last page", &whole[..whole.len() - 1_024], 2),
    ] {
        let (report, code) = with(bytes);
        assert_eq!((code, &report["success"]), (Some(expected), &false.into()), "{what}: {report}");
        assert_eq!(report.get("Finding").is_some(), expected == 2, "{what}: {report}");
    }
    let newer = "insert into _sqlx_migrations values (99, 'later', '2030-01-01', true, x'00', 1)";
    let (report, code) = verify(&super::altered(&database, newer));
    assert_eq!(code, Some(1), "{report}");
    assert!(report["error"].as_str().unwrap().contains("newer version"), "{report}");
    let other = dir.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("create table song (title text)").unwrap();
    let (report, code) = verify(&other);
    assert_eq!(code, Some(1), "{report}");
    assert!(report["error"].as_str().unwrap().contains("is not a wallet's database"), "{report}");
    assert_eq!(verify(&dir.path().join("missing.db")).1, Some(1));
    assert_eq!(verify(dir.path()).1, Some(1));
}
