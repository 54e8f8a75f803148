//! A database that cannot store every text.

use crate::support::postgres::Database;
use crate::support::process::run;

#[test]
fn a_database_of_another_encoding_is_refused_before_anything_is_made() {
    let Some(database) = Database::create("encodings") else { return };
    let latin = format!("{}_latin", database.name());
    database.execute(&format!("create database \"{latin}\" encoding 'LATIN1' locale 'C' template template0"));
    let url = database.url().replace(database.name(), &latin);
    for command in ["init", "serve"] {
        let (out, stderr, code) = run(&[command, "--database-url", &url]);
        assert_eq!((out.as_str(), code), ("", Some(1)), "{command}: {stderr}");
        assert!(stderr.contains("has the encoding LATIN1: create it with the encoding UTF8"), "{command}: {stderr}");
    }
    database.execute(&format!("drop database \"{latin}\""));
}
