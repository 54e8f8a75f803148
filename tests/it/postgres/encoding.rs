//! A database that cannot store every text.

use tokio::task::block_in_place;

use crate::support::postgres::Database;
use crate::support::process::{Process, run, wallet};

/// A database of this encoding beside another.
fn create(database: &Database, encoding: &str) -> (String, String) {
    let name = format!("{}_{encoding}", database.name());
    database.execute(&format!("create database \"{name}\" encoding '{encoding}' locale 'C' template template0"));
    (database.url().replace(database.name(), &name), name)
}

#[test]
fn a_database_of_another_encoding_is_refused_before_anything_is_made() {
    let Some(database) = Database::create("encodings") else { return };
    let (url, name) = create(&database, "LATIN1");
    for command in ["init", "serve"] {
        let (out, stderr, code) = run(&[command, "--database-url", &url]);
        assert_eq!((out.as_str(), code), ("", Some(1)), "{command}: {stderr}");
        assert!(stderr.contains("has the encoding LATIN1: create it with the encoding UTF8"), "{command}: {stderr}");
    }
    database.execute(&format!("drop database \"{name}\""));
}

/// As `initdb` makes them where no locale is set.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_every_text_as_it_is_stores_any_note() {
    let Some(database) = Database::create("no encoding") else { return };
    let (url, name) = create(&database, "SQL_ASCII");
    let process = block_in_place(|| Process::serve(wallet(), &url, &[]));
    let client = process.client().await;
    client.create_wallet(1, 0).await;
    let deposit = r#"{"UserId":1,"TransactionId":2,"Amount":1.00,"Note":"漢 é"}"#;
    let json = [("content-type", "application/json")];
    let reply = client.http.request("POST", "/api/v1/deposit", &json, deposit).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let entries = client.http.request("GET", "/api/v1/users/1/entries", &[], "").await;
    assert!(entries.text().contains(r#""Note":"漢 é""#), "{entries:?}");
    block_in_place(|| process.terminate());
    let (_, stderr, code) = run(&["verify", "--database-url", &url]);
    assert_eq!(code, Some(0), "{stderr}");
    database.execute(&format!("drop database \"{name}\""));
}
