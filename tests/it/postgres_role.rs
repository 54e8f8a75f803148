//! The role that the wallet serves with on PostgreSQL: `deploy/postgres/role.sql` gives it what it needs, and no more.

use std::fs::File;
use std::process::{Output, Stdio};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, raw_sql};

use crate::parity;
use crate::support::client::{Client, Protocol, Reply};
use crate::support::command::PlainCommand;
use crate::support::postgres::{Database, Installation, Server};
use crate::support::process::{Process, database_url, run, wallet};

const ROLE_SQL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/postgres/role.sql");

/// A database of an owner who is no superuser, on a server of its own: roles belong to a server.
struct Deployed {
    installation: Installation,
    database: Database,
    // Last, so that it outlives its database.
    _server: Server,
}

impl Deployed {
    /// With no tables. `None`, after saying so, if PostgreSQL is missing.
    fn empty(test: &str) -> Option<Self> {
        let installation = Installation::find(test)?;
        let server = Server::start_own(test, &[])?;
        let database = server.database(test);
        database.execute("create role wallet_owner login createrole");
        database.execute(&format!("alter database \"{}\" owner to wallet_owner", database.name()));
        Some(Self { installation, database, _server: server })
    }

    /// With the tables and the role, made as the operator makes them.
    fn start(test: &str) -> Option<Self> {
        let deployed = Self::empty(test)?;
        deployed.init();
        deployed.apply(&[]);
        Some(deployed)
    }

    /// The URL for a role.
    fn url(&self, role: &str) -> String {
        self.database.url().replacen("postgres://postgres@", &format!("postgres://{role}@"), 1)
    }

    /// Makes the tables as their owner.
    fn init(&self) {
        let (printed, stderr, code) = run(&["init", "--database-url", &self.url("wallet_owner"), "--shards", "1"]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        assert!(printed.ends_with("is ready: EUR, 1 shard\n"), "{printed}");
    }

    /// Runs `role.sql` as the owner, by `psql` as its first lines say, with more flags.
    fn psql(&self, flags: &[&str]) -> Output {
        let mut psql = self.installation.command("psql");
        // By standard input: the user that the programs run as may not be able to read the file.
        psql.args(["--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1"]).args(flags).args(["-f", "-"]);
        psql.arg(self.url("wallet_owner")).stdin(Stdio::from(File::open(ROLE_SQL).unwrap())).output().unwrap()
    }

    fn apply(&self, flags: &[&str]) {
        let Output { status, stdout, stderr } = self.psql(flags);
        let [out, err] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(status.success() && out.is_empty() && err.is_empty(), "{out}{err}");
    }

    async fn connect(&self, role: &str) -> PgConnection {
        PgConnection::connect(&self.url(role)).await.unwrap()
    }
}

/// The SQLSTATE with which a statement is refused; none if it is not.
async fn refusal(connection: &mut PgConnection, sql: &str) -> Option<String> {
    let error = raw_sql(AssertSqlSafe(sql)).execute(connection).await.err()?;
    Some(error.as_database_error()?.code()?.into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_wallets_serve_everything_with_the_least_rights() {
    let Some(deployed) = Deployed::start("the wallet's role on PostgreSQL") else { return };
    let url = deployed.url("wallet_app");
    let processes = [(); 2].map(|()| Process::serve(wallet(), &url, &[]));
    let clients = [processes[0].client().await, processes[1].client().await];
    parity::an_event_sent_to_one_api_is_known_to_the_other(&clients[0]).await;

    // Both at once, on the same wallets; and the operator may apply the file again meanwhile.
    clients[0].create_wallet(7_001, 1_000_000).await;
    clients[1].create_wallet(7_002, 1_000_000).await;
    let (first, second, ()) = tokio::join!(charges(&clients[0], 0), charges(&clients[1], 1), async {
        tokio::task::block_in_place(|| deployed.apply(&[]));
    });
    assert_eq!(first + second, 400);
    for user in [7_001, 7_002] {
        assert_eq!(clients[0].balance(user).await, 1_000_000 - 200, "user {user}");
    }
    let frozen = clients[1].send(Protocol::Rest, PlainCommand::freeze(7_001, 1)).await;
    assert_eq!(frozen.balance(), 1_000_000 - 200);
    let unfrozen = clients[0].send(Protocol::Grpc, PlainCommand::unfreeze(7_001, 2)).await;
    assert_eq!(unfrozen.balance(), 1_000_000 - 200);
    let rolled_back = clients[0].send(Protocol::Grpc, PlainCommand::rollback(7_001, 0)).await;
    assert_eq!(rolled_back, Reply::done(1_000_000 - 199));
    every_read_is_answered(&clients[1]).await;
    for process in processes {
        let log = process.terminate_and_log();
        assert!(!log.contains("permission denied"), "{log}");
    }
}

/// Charges both users, with events that no other sender of another parity has; how many were done.
async fn charges(client: &Client, parity: i64) -> usize {
    let mut done = 0;
    for number in 0..100 {
        for user in [7_001, 7_002] {
            let reply = client.send(Protocol::Grpc, PlainCommand::charge(user, 2 * number + parity, 1)).await;
            done += usize::from(matches!(reply, Reply::Done { replayed: false, .. }));
        }
    }
    done
}

async fn every_read_is_answered(client: &Client) {
    for path in [
        "healthcheck",
        "users/7001",
        "users/7001?at=2020-01-01T00:00:00Z",
        "users/7001/entries?limit=1000",
        "users/7001/events/0",
        "ledger/entries?limit=1000",
        "ledger/checkpoint",
    ] {
        let reply = client.http.get(&format!("/api/v1/{path}")).await;
        // A user of today is unknown in the past.
        let expected = if path.contains("at=") { 404 } else { 200 };
        assert_eq!(reply.status, expected, "{path}: {}", reply.text());
    }
    let entries = client.http.get("/api/v1/users/7001/entries?limit=1000").await.json();
    // The opening, the charges, the freezing, its end and the rollback.
    assert_eq!(entries["Entries"].as_array().map(Vec::len), Some(204), "{entries}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_can_neither_alter_history_nor_make_anything() {
    let Some(deployed) = Deployed::start("the wallet's role on PostgreSQL and what it may not") else { return };
    let process = Process::serve(wallet(), &deployed.url("wallet_app"), &[]);
    process.client().await.create_wallet(1, 1_000).await;
    process.terminate();
    let mut connection = deployed.connect("wallet_app").await;
    for table in ["entry", "ledger_commit", "setting", "account", "wallet", "shard", "_sqlx_migrations"] {
        for sql in [
            format!("delete from {table}"),
            format!("truncate {table} cascade"),
            format!("drop table {table} cascade"),
            format!("alter table {table} disable trigger all"),
            format!("create index on {table} ((1))"),
            format!("create trigger mine after insert on {table} for each row execute function refuse_change()"),
            format!("lock table {table} in access exclusive mode"),
        ] {
            // Outside of a transaction a lock is refused for another reason.
            let sql = if sql.starts_with("lock") { format!("begin; {sql}") } else { sql };
            assert_eq!(refusal(&mut connection, &sql).await.as_deref(), Some("42501"), "{sql}");
            raw_sql("rollback").execute(&mut connection).await.unwrap();
        }
    }
    for sql in [
        "update entry set amount = amount",
        "update entry set note = 'x'",
        "update ledger_commit set hash = hash",
        "update ledger_commit set writer = writer",
        "update setting set value = 'JPY' where name = 'currency'",
        "insert into setting (name, value) values ('x', 'y')",
        "update account set created_at = 0",
        "update wallet set user_id = 2",
        "update wallet set shard_id = 1",
        "update _sqlx_migrations set success = false",
        "insert into shard (shard_id) values (9)",
        "create table mine (x int)",
        "create temporary table mine (x int)",
        "create schema mine",
        "create function mine() returns int language sql as 'select 1'",
        "create or replace function refuse_change() returns trigger language plpgsql as 'begin return null; end'",
        "drop function refuse_change() cascade",
        "alter role wallet_app superuser",
        "create role mine",
        "set role wallet_owner",
        "set session_replication_role = replica",
        "copy entry to program 'true'",
    ] {
        assert_eq!(refusal(&mut connection, sql).await.as_deref(), Some("42501"), "{sql}");
    }
    // The right that a lock takes gives an update as well, which a trigger refuses: everybody, the owner included.
    for role in ["wallet_app", "wallet_owner"] {
        let mut connection = deployed.connect(role).await;
        let refused = refusal(&mut connection, "update shard set shard_id = shard_id + 1").await;
        assert_eq!(refused.as_deref(), Some("P0001"), "{role}");
    }
    let mut owner = deployed.connect("wallet_owner").await;
    for table in ["entry", "ledger_commit", "shard"] {
        for sql in [format!("delete from {table}"), format!("truncate {table}")] {
            assert_eq!(refusal(&mut owner, &sql).await.as_deref(), Some("P0001"), "{sql}");
        }
    }
    assert_eq!(refusal(&mut connection, "select user_id from wallet for update").await, None, "it does its work");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_tables_or_rights_says_what_to_do() {
    let Some(deployed) = Deployed::empty("a role without rights on PostgreSQL") else { return };
    deployed.database.execute("create role wallet_app login; revoke create on schema public from public");
    let url = deployed.url("wallet_app");
    let refused = |what: &str| {
        let (out, stderr, code) =
            run(&["serve", "--database-url", &url, "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"]);
        assert_eq!((out.as_str(), code), ("", Some(1)), "{what}: {stderr}");
        let expected = "run `wallet init` of this version as their owner, and then deploy/postgres/role.sql";
        assert!(stderr.contains(expected) && stderr.contains("permission denied for"), "{what}: {stderr}");
    };
    refused("no tables");
    deployed.init();
    refused("no rights");
    deployed.apply(&[]);
    // As behind an update of the wallet that alters the tables.
    deployed.database.execute("create table kept as select * from _sqlx_migrations; delete from _sqlx_migrations");
    refused("older tables");
    deployed.database.execute("insert into _sqlx_migrations select * from kept");
    Process::serve(wallet(), &url, &[]).terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_as_a_role_that_may_not_mark_it_is_refused_with_what_helps() {
    let Some(deployed) = Deployed::start("a copy by the wrong role") else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("wallet.db");
    let process = Process::start(&source);
    process.client().await.create_wallet(1, 100).await;
    process.terminate();
    let from = database_url(&source);
    let migrate = |role| run(&["migrate", "--from", &from, "--to", &deployed.url(role)]);
    let (out, stderr, code) = migrate("wallet_app");
    assert_eq!((out.as_str(), code), ("", Some(1)), "{stderr}");
    assert!(stderr.contains("nothing was written to postgres://wallet_app@"), "{stderr}");
    assert!(stderr.contains("run this as the owner of its tables"), "{stderr}");
    assert_eq!(stderr.matches("permission denied").count(), 1, "{stderr}");
    assert_eq!(deployed.database.value::<i64>("select count(*) from entry"), 0);
    let (_, stderr, code) = migrate("wallet_owner");
    assert_eq!(code, Some(0), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_has_the_name_that_is_given_and_not_more_rights_than_it_is_granted() {
    let Some(deployed) = Deployed::start("other roles on PostgreSQL") else { return };
    deployed.apply(&["-v", "role=Other wallet"]);
    Process::serve(wallet(), &deployed.url("Other%20wallet"), &[]).terminate();

    deployed.database.execute("create role mighty superuser login; create role heir login in role wallet_owner");
    for role in ["mighty", "heir", "wallet_owner"] {
        let Output { status, stderr, .. } = deployed.psql(&["-v", &format!("role={role}")]);
        let stderr = String::from_utf8(stderr).unwrap();
        assert!(!status.success() && stderr.contains("has more rights than this file grants"), "{role}: {stderr}");
    }
    // It was all or nothing: the owner has its rights still.
    assert!(deployed.database.value::<bool>("select has_table_privilege('wallet_owner', 'entry', 'select')"));
}
