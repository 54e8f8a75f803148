//! Where the proxy cuts, seen from what the server has committed.

use std::process::Stdio;

use sqlx::{Connection as _, PgConnection};

use crate::support::cutter::kind::{BIND, EXECUTE, SYNC};
use crate::support::cutter::{Cut, Cutter, Ending, Place};
use crate::support::postgres::{Database, Installation};

/// A table on a database, behind the proxy.
pub struct Table {
    pub database: Database,
    pub cutter: Cutter,
}

impl Table {
    pub fn create(test: &str) -> Option<Self> {
        let database = Database::create(test)?;
        database.execute("create table t (n int)");
        let cutter = Cutter::start(database.addr());
        Some(Self { database, cutter })
    }

    /// A connection through the proxy that has inserted 0, so that its statement is prepared.
    pub async fn connect(&self) -> PgConnection {
        let mut connection = PgConnection::connect(&self.database.url_at(self.cutter.addr())).await.unwrap();
        insert(&mut connection, 0).await.unwrap();
        connection
    }

    /// The numbers in the table but 0, once no other connection to it is left.
    async fn numbers(&self) -> Vec<i32> {
        let mut connection = self.database.connect().await;
        let others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> \
                      pg_backend_pid() and backend_type = 'client backend'";
        while sqlx::query_scalar::<_, i64>(others).fetch_one(&mut connection).await.unwrap() > 0 {}
        numbers(&mut connection).await
    }
}

pub async fn insert(connection: &mut PgConnection, n: i32) -> sqlx::Result<()> {
    sqlx::query("insert into t values ($1)").bind(n).execute(connection).await.map(drop)
}

pub async fn numbers(connection: &mut PgConnection) -> Vec<i32> {
    sqlx::query_scalar("select n from t where n > 0 order by n").fetch_all(connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_is_where_it_was_planned() {
    let Some(table) = Table::create("cuts of connections") else { return };
    let places = [
        (Place::Before, BIND, false),
        (Place::Within, BIND, false),
        (Place::Before, EXECUTE, false),
        (Place::Within, EXECUTE, false),
        // Executed, and not committed before the end of the request.
        (Place::BeforeAnswer, EXECUTE, false),
        (Place::Before, SYNC, false),
        (Place::Within, SYNC, false),
        (Place::BeforeAnswer, SYNC, true),
        (Place::AfterAnswer, SYNC, true),
        (Place::AfterAnswer, EXECUTE, true),
    ];
    let mut expected = Vec::new();
    let cuts = places.iter().flat_map(|place| [Ending::Close, Ending::Reset].map(|ending| (place, ending)));
    for (n, ((place, letter, is_committed), ending)) in (1..).zip(cuts) {
        let mut connection = table.connect().await;
        let letter = *letter;
        let planned = table.cutter.plan(Cut::at(*place, move |kind, _| kind == letter).ending(ending));
        let error = insert(&mut connection, n).await.expect_err("the connection was cut");
        assert!(planned.is_made());
        let sqlx::Error::Io(error) = error else { panic!("{place:?}: {error}") };
        let is_reset = error.kind() == std::io::ErrorKind::ConnectionReset;
        // What the proxy has not read makes the system reset what it closes.
        assert!(is_reset || ending == Ending::Close, "{place:?}: {error:?}");
        drop(connection);
        expected.extend(is_committed.then_some(n));
        assert_eq!(table.numbers().await, expected, "{place:?}, {ending:?}, at {}", char::from(letter));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_counted_and_the_nth_is_cut() {
    let Some(table) = Table::create("counts of messages") else { return };
    let mut connection = table.connect().await;
    let before = (table.cutter.messages(), table.cutter.kinds());
    insert(&mut connection, 1).await.unwrap();
    let one = table.cutter.kinds()[before.1.len()..].to_owned();
    assert!(one.starts_with("BE") && one.ends_with('S'), "{one}");
    assert_eq!(table.cutter.messages() - before.0, one.len());

    // An insert of 4 does not match, so the third that does is 5.
    let is_other = |kind: u8, payload: &[u8]| {
        kind == BIND && !payload.windows(8).any(|length_and_value| length_and_value == [0, 0, 0, 4, 0, 0, 0, 4])
    };
    let replaced = table.cutter.plan(Cut::at(Place::Before, |_, _| true));
    let planned = table.cutter.plan(Cut::at(Place::Before, is_other).nth(3));
    assert!(!replaced.wait());
    for n in 2..=4 {
        insert(&mut connection, n).await.unwrap();
        assert!(!planned.is_made());
    }
    insert(&mut connection, 5).await.expect_err("the connection was cut");
    assert!(planned.wait() && planned.is_made());
    let mut connection = table.connect().await;
    insert(&mut connection, 6).await.expect("only one connection was to be cut");
    drop(connection);
    assert_eq!(table.numbers().await, [1, 2, 3, 4, 6]);
}

#[test]
fn programs_that_ask_for_encryption_are_served_without() {
    let test = "a program through the proxy";
    let Some(table) = Table::create(test) else { return };
    let Some(installation) = Installation::find(test) else { return };
    table.database.execute("insert into t values (4711)");
    let mut dump = installation.command("pg_dump");
    dump.args(["--data-only", "--dbname", &table.database.url_at(table.cutter.addr())]).stderr(Stdio::inherit());
    let dump = String::from_utf8(dump.output().unwrap().stdout).unwrap();
    assert!(dump.contains("\n4711\n"), "{dump}");
    assert!(table.cutter.kinds().contains('Q'), "{}", table.cutter.kinds());
}
