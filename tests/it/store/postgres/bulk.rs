//! A ledger that is read as a whole.

use wallet::ledger::{EntryFilter, EntryKey, Kind, Shard, Span};
use wallet::store::{ScanLimits, StoreError, postgres};

use super::{open_shards, three_shards};
use crate::support::postgres::Database;
use crate::support::store::{at, close, event, user};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_are_read_as_the_reader_reads_them() {
    let Some(database) = Database::create("bulk reads") else { return };
    three_shards(&database).await;
    let mut bulk = postgres::bulk_reader(&database.url().parse().unwrap()).unwrap();
    let store = open_shards(&database, 3).await;
    assert_eq!(bulk.genesis(), store.genesis);
    let heads = bulk.heads().unwrap();
    assert_eq!(heads, store.reader.heads().await.unwrap());
    let all = bulk.ranges(Span { from: None, to: None }, &heads).unwrap();
    for range in &all {
        let entries = bulk.entries(range.clone(), &EntryFilter::default()).unwrap();
        let (limits, shard) = (ScanLimits { entries_max: 1_000, rows_max: 1_000 }, Shard::of_entry(range.start));
        let scan = store.reader.scan(shard, shard.base(), &EntryFilter::default(), limits).await.unwrap();
        assert_eq!(entries, scan.entries);
        let missing = bulk.entries(range.start..range.end.next(), &EntryFilter::default());
        assert!(matches!(missing, Err(StoreError::Corrupt { table: "entry", .. })), "{missing:?}");
    }
    let some = bulk.ranges(Span { from: Some(at(5)), to: Some(at(7)) }, &heads).unwrap();
    let times = some.iter().flat_map(|range| bulk.entries(range.clone(), &EntryFilter::default()).unwrap());
    let times: Vec<i64> = times.map(|entry| entry.created_at.microseconds()).collect();
    assert_eq!((times.len(), times.iter().min(), times.iter().max()), (10, Some(&5), Some(&6)));

    let key = |number, kind, event_number| EntryKey { user_id: user(number), kind, event_id: event(event_number) };
    let keys = [key(4, Kind::Charge, 7), key(4, Kind::Win, 7), key(1, Kind::Open, 0), key(4, Kind::Charge, 7)];
    let found = bulk.find(&keys).unwrap();
    let found: Vec<Option<EntryKey>> = found.iter().map(|entry| entry.as_ref().map(|entry| entry.key())).collect();
    assert_eq!(found, [Some(keys[0]), None, Some(keys[2]), Some(keys[0])]);

    let wallets = bulk.wallets(&[user(5), user(77), user(1)]).unwrap();
    let expected = [5, 77, 1].map(|number| store.reader.wallet(user(number), None));
    for (wallet, expected) in wallets.iter().zip(expected) {
        assert_eq!(wallet.map(|wallet| wallet.wallet), expected.await.unwrap());
    }
    for (shard, head) in heads.iter() {
        let commits = bulk.commits(shard, 0, 1_000).unwrap();
        assert_eq!((commits.len(), commits.last()), (19, Some(head)));
        assert_eq!(bulk.commits(shard, 17, 1).unwrap(), commits[17..18]);
    }
    close(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_names_an_entry_that_is_not_there_is_found() {
    let Some(database) = Database::create("a head beyond the end") else { return };
    three_shards(&database).await;
    database.execute(
        "set session_replication_role = replica;
         update ledger_commit set last_entry_id = 1 << 44 where shard_id = 0 and commit_id = 19",
    );
    let heads = postgres::bulk_reader(&database.url().parse().unwrap()).unwrap().heads();
    assert!(matches!(heads, Err(StoreError::Corrupt { table: "entry", .. })), "{heads:?}");
}

#[test]
fn where_there_is_no_ledger_none_is_made() {
    let Some(database) = Database::create("no ledger") else { return };
    let url = database.url().parse().unwrap();
    let read = postgres::bulk_reader(&url).map(drop);
    let audited = postgres::audit(&url, None, &mut |_| ()).map(drop);
    for result in [read, audited] {
        let Err(StoreError::Incompatible(why)) = result else { panic!("{result:?}") };
        assert!(why.starts_with("there is no ledger in postgres://"), "{why}");
    }
    assert_eq!(database.value::<i64>("select count(*) from pg_tables where schemaname = 'public'"), 0);
}
