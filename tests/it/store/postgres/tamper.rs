//! A ledger that a superuser altered in every way that somebody may think of: the audit finds each, and says where.

use wallet::ledger::{Annotations, Caller, Command, EntryId, Note, Place, RoundId, UserId};
use wallet::store::StoreError;

use super::audit::audit;
use super::{open_shards, three_shards, transact};
use crate::support::postgres::Database;
use crate::support::store::{at, charge, close, event, open, user};

/// What is done, and what is found where, in the ledger of one shard.
const ALTERATIONS: &[(&str, &str)] = &[
    // Each column of an entry.
    ("update entry set entry_id = 1000 where entry_id = 4", "ENTRY_ORDER EntryId 5"),
    ("update entry set user_id = 1 where entry_id = 4", "SEQUENCE EntryId 4 UserId 1"),
    ("update entry set user_id = 77 where entry_id = 4", "OPENING EntryId 4 UserId 77"),
    ("update entry set sequence = 4 where entry_id = 4", "SEQUENCE EntryId 4 UserId 2"),
    ("update entry set kind = 2, event_id = 2 where entry_id = 4", "BALANCE EntryId 4 UserId 2"),
    ("update entry set kind = 5 where entry_id = 4", "COMMIT_HASH CommitId 3"),
    ("update entry set kind = 99 where entry_id = 4", "CORRUPT entry.kind 4"),
    ("update entry set event_id = 5 where entry_id = 4", "COMMIT_HASH CommitId 3"),
    ("update entry set event_id = 5 where entry_id = 3", "COMMIT_HASH CommitId 2"),
    ("update entry set event_id = 5 where entry_id = 5", "ROLLBACK EntryId 5 UserId 2"),
    ("update entry set amount = 6 where entry_id = 4", "BALANCE EntryId 4 UserId 2"),
    ("update entry set balance_after = balance_after + 1 where entry_id = 4", "BALANCE EntryId 4 UserId 2"),
    ("update entry set amount = 6, balance_after = balance_after + 1 where entry_id = 4", "COMMIT_HASH CommitId 3"),
    ("update entry set previous_entry_id = 2 where entry_id = 4", "PREVIOUS_ENTRY EntryId 4 UserId 2"),
    ("update entry set previous_entry_id = null where entry_id = 4", "PREVIOUS_ENTRY EntryId 4 UserId 2"),
    ("update entry set created_at = created_at + 1 where entry_id = 4", "COMMIT_TIME CommitId 3"),
    ("update entry set created_at = 0 where entry_id = 4", "ENTRY_TIME EntryId 4"),
    ("update entry set round_id = 8 where entry_id = 4", "COMMIT_HASH CommitId 3"),
    ("update entry set round_id = null where entry_id = 4", "COMMIT_HASH CommitId 3"),
    ("update entry set caller = 'engine-1' where entry_id = 4", "COMMIT_HASH CommitId 3"),
    ("update entry set caller = null where entry_id = 4", "COMMIT_HASH CommitId 3"),
    ("update entry set caller = '' where entry_id = 4", "CORRUPT entry.caller 4"),
    ("update entry set note = 'by bank  transfer' where entry_id = 6", "COMMIT_HASH CommitId 5"),
    ("update entry set note = chr(7) where entry_id = 6", "CORRUPT entry.note 6"),
    ("update entry set note = 'psst' where entry_id = 4", "COMMIT_HASH CommitId 3"),
    // Entries removed, added and swapped.
    ("delete from entry where entry_id = 1", "ENTRY_ORDER EntryId 2"),
    ("delete from entry where entry_id = 50", "ENTRY_ORDER EntryId 51"),
    ("delete from entry where entry_id = 108", "COMMIT_ENTRIES CommitId 16"),
    ("delete from entry where entry_id > 98", "COMMIT_EMPTY CommitId 16"),
    ("delete from entry", "COMMIT_EMPTY CommitId 1"),
    ("truncate entry", "COMMIT_EMPTY CommitId 1"),
    (
        "insert into entry (shard_id, entry_id, user_id, sequence, kind, event_id, amount, balance_after,
             previous_entry_id, created_at)
         select 0, 109, 2, sequence + 1, 3, 7, 0, balance_after, 108, created_at from entry where entry_id = 108",
        "UNCOMMITTED EntryId 109",
    ),
    (
        "update entry set entry_id = 1000 where entry_id = 7; update entry set entry_id = 7 where entry_id = 8;
         update entry set entry_id = 8 where entry_id = 1000",
        "COMMIT_HASH CommitId 6",
    ),
    // Commits.
    ("delete from ledger_commit where commit_id = 1", "COMMIT_ORDER CommitId 2"),
    ("delete from ledger_commit where commit_id = 5", "COMMIT_ORDER CommitId 6"),
    ("delete from ledger_commit where commit_id = 16", "UNCOMMITTED EntryId 99"),
    ("delete from ledger_commit", "UNCOMMITTED EntryId 1"),
    ("update ledger_commit set commit_id = 99 where commit_id = 16", "COMMIT_ORDER CommitId 99"),
    ("update ledger_commit set form = 2 where commit_id = 3", "CORRUPT ledger_commit.form 3"),
    ("update ledger_commit set last_entry_id = 3 where commit_id = 3", "COMMIT_ENTRIES CommitId 3"),
    ("update ledger_commit set last_entry_id = 5 where commit_id = 3", "COMMIT_TIME CommitId 3"),
    ("update ledger_commit set last_entry_id = 1::bigint << 62 where commit_id = 3", "COMMIT_ENTRIES CommitId 3"),
    ("update ledger_commit set hash = decode(repeat('00', 32), 'hex') where commit_id = 3", "COMMIT_HASH CommitId 3"),
    ("update ledger_commit set created_at = created_at + 1 where commit_id = 3", "COMMIT_TIME CommitId 3"),
    (
        "update ledger_commit set commit_id = 1000 where commit_id = 3;
         update ledger_commit set commit_id = 3 where commit_id = 4;
         update ledger_commit set commit_id = 4 where commit_id = 1000",
        "COMMIT_HASH CommitId 3",
    ),
    // Wallets and users.
    ("update wallet set balance = balance + 1 where user_id = 2", "WALLET_STATE UserId 2"),
    ("update wallet set sequence = sequence + 1 where user_id = 2", "WALLET_STATE UserId 2"),
    ("update wallet set last_entry_id = 107 where user_id = 2", "WALLET_STATE UserId 2"),
    ("update wallet set frozen = true where user_id = 2", "WALLET_STATE UserId 2"),
    ("update wallet set user_id = 3 where user_id = 2", "USER_MISSING UserId 3"),
    ("delete from wallet where user_id = 1", "USER_MISSING UserId 1"),
    ("delete from account where user_id = 1", "CORRUPT account.wallet_id 1"),
    ("insert into wallet values (0, 9, 1000, 1, 1, false)", "USER_MISSING UserId 9"),
    ("insert into account values (0, 9, gen_random_uuid(), 10)", "USER_MISSING UserId 9"),
    (
        "insert into wallet values (0, 9, 1000, 1, 1, false);
         insert into account values (0, 9, gen_random_uuid(), 10)",
        "WALLET_WITHOUT_ENTRIES UserId 9",
    ),
    ("update account set wallet_id = gen_random_uuid() where user_id = 1", "COMMIT_HASH CommitId 1"),
    ("update account set created_at = 0 where user_id = 1", "USER_TIME UserId 1"),
    // What was decided when the ledger was made.
    ("update setting set value = 'USD' where name = 'currency'", "CURRENCY"),
    ("update setting set value = 'XXX' where name = 'currency'", "CHANGED"),
    ("update setting set value = '0' where name = 'shards'", "CHANGED"),
    ("update setting set value = '2' where name = 'shards'", "CHANGED"),
    ("update setting set value = '2' where name = 'shards'; insert into shard values (1)", "SHARD EntryId 1 UserId 1"),
    ("insert into setting values ('anchor', repeat('ab', 32))", "COMMIT_HASH CommitId 1"),
    ("insert into setting values ('anchor', 'ab')", "CHANGED"),
    ("delete from setting where name = 'currency'", "CHANGED"),
    ("delete from setting where name = 'shards'", "CHANGED"),
    ("delete from setting", "CHANGED"),
    // Shards that the ledger does not have.
    ("delete from shard", "CHANGED"),
    ("insert into shard values (7)", "FOREIGN"),
    ("insert into ledger_commit select 1, 1, 1, 1, 7, 1, hash from ledger_commit where commit_id = 1", "FOREIGN"),
    ("update ledger_commit set shard_id = -1 where commit_id = 16", "FOREIGN"),
    ("update entry set shard_id = 7 where entry_id = 50", "FOREIGN"),
    ("update wallet set shard_id = 7 where user_id = 1", "FOREIGN"),
    ("update account set shard_id = 7 where user_id = 1", "FOREIGN"),
    // What the program makes.
    ("drop trigger entry_is_written_once on entry", "CHANGED"),
    ("alter table ledger_commit disable trigger ledger_commit_is_written_once", "CHANGED"),
    ("alter table ledger_commit enable replica trigger ledger_commit_is_written_once", "CHANGED"),
    (
        "create or replace function refuse_change() returns trigger language plpgsql as 'begin return null; end'",
        "CHANGED",
    ),
    ("alter table entry drop constraint entry_shard_id_event_id_user_id_kind_key", "CHANGED"),
    ("alter table ledger_commit drop constraint ledger_commit_pkey", "CHANGED"),
    (
        "alter table entry drop constraint entry_amount_check; update entry set amount = -5 where entry_id = 4",
        "CHANGED",
    ),
    ("update pg_index set indisvalid = false where indexrelid = 'entry_pkey'::regclass", "CHANGED"),
    ("drop index entry_history", "CHANGED"),
    ("alter table wallet drop column frozen", "CHANGED"),
    ("alter table wallet alter column frozen drop not null", "CHANGED"),
    ("alter table entry set unlogged", "CHANGED"),
    ("alter table entry enable row level security", "CHANGED"),
    ("drop table ledger_commit", "CHANGED"),
    ("update _sqlx_migrations set checksum = '\\x00' where version = 1", "CHANGED"),
    ("delete from _sqlx_migrations", "CHANGED"),
    ("drop table _sqlx_migrations", "CHANGED"),
    ("alter table wallet add column more int", "FOREIGN"),
    ("create index more on entry (user_id)", "FOREIGN"),
    ("create rule more as on insert to entry do instead nothing", "FOREIGN"),
    ("create trigger more before insert on wallet for each row execute function refuse_change()", "FOREIGN"),
];

/// The same in a ledger of three shards.
const ALTERATIONS_OF_SHARDS: &[(&str, &str)] = &[
    (
        "update entry set shard_id = 3 where shard_id = 0; update entry set shard_id = 0 where shard_id = 1;
         update entry set shard_id = 1 where shard_id = 3",
        "CORRUPT account.wallet_id 1",
    ),
    (
        "update entry set shard_id = shard_id + 10, entry_id = entry_id + (1 - 2 * shard_id) * (1::bigint << 45),
             previous_entry_id = previous_entry_id + (1 - 2 * shard_id) * (1::bigint << 45) where shard_id < 2;
         update entry set shard_id = 11 - shard_id where shard_id >= 10;
         update ledger_commit set shard_id = shard_id + 10,
             last_entry_id = last_entry_id + (1 - 2 * shard_id) * (1::bigint << 45) where shard_id < 2;
         update ledger_commit set shard_id = 11 - shard_id where shard_id >= 10;
         update wallet set shard_id = 1 - shard_id,
             last_entry_id = last_entry_id + (1 - 2 * shard_id) * (1::bigint << 45) where shard_id < 2;
         update account set shard_id = 1 - shard_id where shard_id < 2",
        "SHARD",
    ),
    ("delete from wallet where shard_id = 2", "USER_MISSING"),
    ("delete from entry where shard_id = 1", "COMMIT_EMPTY CommitId 1"),
    ("delete from ledger_commit where shard_id = 2", "UNCOMMITTED"),
    ("delete from shard where shard_id = 1", "CHANGED"),
    (
        "insert into ledger_commit select 20, 1, 1, 1, 7, 1, hash from ledger_commit where commit_id = 1 limit 1",
        "FOREIGN",
    ),
    (
        "insert into ledger_commit select 20, 1, 1, 1, 2, 1, hash from ledger_commit where commit_id = 1 limit 1",
        "COMMIT_EMPTY CommitId 20",
    ),
    ("update setting set value = '4' where name = 'shards'", "CHANGED"),
    ("update setting set value = '2' where name = 'shards'", "FOREIGN"),
];

/// What has rows.
const TABLES: [&str; 7] = ["account", "entry", "ledger_commit", "setting", "shard", "wallet", "_sqlx_migrations"];

/// Lets a session alter what triggers and the server itself protect.
const UNGUARDED: &str = "set session_replication_role = replica; set allow_system_table_mods = on; ";

/// A ledger with everything that an entry can have. The table says what its entries are:
///
/// | commit | entries |
/// |---|---|
/// | 1 | 1: open of user 1, 10.00; 2: open of user 2, 10 000.00 |
/// | 2 | 3: charge of user 2, event 1, 0.10, round 7, by engine-1 |
/// | 3 | 4: win of user 2, event 1, 0.05, round 7, by engine-2 |
/// | 4 | 5: rollback of user 2, event 1 |
/// | 5 | 6: deposit of user 1, event 1, 5.00, by cashier, with a note |
/// | 6 | 7: charge of user 1, event 9, 0.03; 8: charge of user 2, event 10, 0.04 |
/// | 7 to 16 | 9 to 108: charges of user 2, events 100 to 199, 0.01 |
async fn ledger(database: &Database) {
    let mut store = open_shards(database, 1).await;
    let by = |caller, round, note: Option<&str>| Annotations {
        round_id: RoundId::new(round),
        note: note.and_then(Note::new),
        caller: Caller::new(caller),
    };
    let win = Command::win(user(2), event(1), 5).unwrap().with_annotations(by("engine-2", 7, None));
    let deposit = Command::deposit(user(1), event(1), 500).unwrap();
    let mut commits = vec![
        vec![open(1, 1_000), open(2, 1_000_000)],
        vec![charge(2, 1, 10).with_annotations(by("engine-1", 7, None))],
        vec![win],
        vec![Command::rollback(user(2), event(1))],
        vec![deposit.with_annotations(by("cashier", 8, Some("by bank transfer")))],
        vec![charge(1, 9, 3), charge(2, 10, 4)],
    ];
    commits.extend((0..10).map(|commit| (0..10).map(|number| charge(2, 100 + commit * 10 + number, 1)).collect()));
    for (number, commit) in (1..).zip(&commits) {
        transact(&mut store, commit, at(number * 10));
    }
    close(store).await;
}

/// What the audit finds in a ledger that was altered behind the back of its triggers, in one line.
fn found(database: &Database, sql: &str) -> String {
    let copy;
    // Rows are put back behind it. Other parts are altered in a copy of the database, which takes a second to make.
    let altered = if ["alter ", "create ", "drop ", "pg_index"].iter().any(|word| sql.contains(word)) {
        copy = database.copy("an altered ledger");
        &copy
    } else {
        database
    };
    altered.execute(&format!("{UNGUARDED}{sql}"));
    let found = match audit(altered, None) {
        Ok(Ok(_)) => "nothing".to_owned(),
        Ok(Err(finding)) => {
            let Place { commit_id, entry_id, user_id } = finding.place();
            let of = |name, number: Option<i64>| number.map_or(String::new(), |number| format!(" {name} {number}"));
            let (entry_id, user_id) = (entry_id.map(EntryId::get), user_id.map(UserId::get));
            let place = [of("CommitId", commit_id), of("EntryId", entry_id), of("UserId", user_id)].concat();
            format!("{}{place}", finding.name())
        }
        Err(StoreError::Corrupt { table, column, row, .. }) => format!("CORRUPT {table}.{column} {row}"),
        Err(error) => format!("{error:?}"),
    };
    let put_back = |table| format!("delete from {table}; insert into {table} table kept.{table};");
    database.execute(&format!("{UNGUARDED}{}", TABLES.map(put_back).concat()));
    found
}

/// Fails with every alteration that is not found as expected.
fn check(database: &Database, alterations: &[(&str, &str)], is_expected: fn(&str, &str) -> bool) {
    let keep = |table| format!("create table kept.{table} as table {table};");
    database.execute(&format!("create schema kept; {}", TABLES.map(keep).concat()));
    assert_eq!(found(database, ""), "nothing");
    let wrong = alterations.iter().filter_map(|(sql, expected)| {
        let found = found(database, sql);
        (!is_expected(&found, expected)).then(|| format!("{sql}\n    must be {expected}, is {found}"))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(found(database, ""), "nothing");
    println!("{} alterations: each found", alterations.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_alteration_is_found_and_its_place_is_named() {
    let Some(database) = Database::create("alterations") else { return };
    ledger(&database).await;
    check(&database, ALTERATIONS, |found, expected| found == expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_alteration_of_shards_is_found() {
    let Some(database) = Database::create("alterations of shards") else { return };
    three_shards(&database).await;
    // Whoever is in which shard decides who is named.
    check(&database, ALTERATIONS_OF_SHARDS, |found, expected| found.starts_with(expected));
}
