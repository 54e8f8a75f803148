//! The one statement that writes a batch.

use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::shard_id;
use crate::ledger::{Changes, Commit, Entry, EntryId, RoundId, Shard, WalletState};

/// The beginning of the statement: locks the shard, and writes the commit if its number is still free. All that follows
/// writes only if the commit was written. The lock costs nothing that can be measured; without it, those who wait for
/// it would starve.
///
/// Wallets are found by keys that hold the shard as well. Were the shard compared by itself, a server that knows
/// nothing yet of a new table would look through the whole shard, because it takes a shard for a few rows.
macro_rules! with_commit {
    () => {
        "with held as (select shard_id from shard where shard_id = $1 for no key update),
         link as (
             insert into ledger_commit (shard_id, commit_id, form, last_entry_id, hash, created_at, writer)
             select shard_id, $2, $3, $4, $5, $6, $7 from held
             on conflict do nothing
             returning shard_id
         ),
         written as (
             insert into entry (shard_id, entry_id, user_id, sequence, kind, event_id, amount, balance_after,
                 previous_entry_id, created_at, round_id, caller, note)
             select link.shard_id, $8 + new.place, new.user_id, new.sequence, new.kind, new.event_id, new.amount,
                 new.balance_after, nullif(new.previous_entry_id, 0), coalesce(new.created_at, $6), new.round_id,
                 new.caller, new.note
             from link, unnest($9::bigint[], $10::bigint[], $11::smallint[], $12::bigint[], $13::bigint[],
                 $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[], $18::text[], $19::text[])
                 with ordinality as new (user_id, sequence, kind, event_id, amount, balance_after, previous_entry_id,
                     created_at, round_id, caller, note, place)
         ),
         moved as (
             update wallet set balance = new.balance, sequence = new.sequence, last_entry_id = new.last_entry_id,
                 frozen = new.frozen
             from link, unnest($20::bigint[], $21::bigint[], $22::bigint[], $23::bigint[], $24::boolean[],
                 array_fill($1::smallint, array[cardinality($20::bigint[])]))
                 as new (user_id, balance, sequence, last_entry_id, frozen, shard_id)
             where wallet.shard_id = new.shard_id and wallet.user_id = new.user_id
             returning 1
         )"
    };
}

/// The end of the statement: whether the commit was written. If it was, and a wallet that it moves is not there, it is
/// divided by zero, and nothing is written.
macro_rules! result {
    () => {
        " select links.count, 1 / (case when links.count = 1 and moves.count <> coalesce(cardinality($20::bigint[]), 0)
             then 0 else 1 end)
         from (select count(*) from link) as links, (select count(*) from moved) as moves"
    };
}

const WRITE: &str = concat!(with_commit!(), result!());

/// The same for a batch that also opens wallets.
const WRITE_AND_OPEN: &str = concat!(
    with_commit!(),
    ", users as (
         insert into account (shard_id, user_id, wallet_id, created_at)
         select link.shard_id, new.user_id, new.wallet_id, new.created_at
         from link, unnest($25::bigint[], $26::uuid[], $27::bigint[]) as new (user_id, wallet_id, created_at)
     ),
     opened as (
         insert into wallet (shard_id, user_id, balance, sequence, last_entry_id, frozen)
         select link.shard_id, new.user_id, new.balance, new.sequence, new.last_entry_id, new.frozen
         from link, unnest($25::bigint[], $28::bigint[], $29::bigint[], $30::bigint[], $31::boolean[])
             as new (user_id, balance, sequence, last_entry_id, frozen)
     )",
    result!()
);

/// Writes commits of a ledger that is copied. Their entries follow.
const WRITE_COMMITS: &str = "insert into ledger_commit
         (shard_id, commit_id, form, last_entry_id, hash, created_at, writer)
     select $1, new.commit_id, new.form, new.last_entry_id, new.hash, new.created_at, $2
     from unnest($3::bigint[], $4::smallint[], $5::bigint[], $6::bytea[], $7::bigint[])
         as new (commit_id, form, last_entry_id, hash, created_at)";

/// Writes `changes`, which have a commit. Returns false, and has written nothing, if there is a commit of this number
/// already. `writer` is the random number by which the commit will be known.
pub(super) async fn write(
    connection: &mut PgConnection,
    shard: Shard,
    changes: &Changes,
    commit: &Commit,
    writer: i64,
) -> Result<bool, sqlx::Error> {
    let Changes { entries, opened, updated, .. } = changes;
    let sql = if opened.is_empty() { WRITE } else { WRITE_AND_OPEN };
    let Commit { commit_id, form, last_entry_id, hash, created_at } = commit;
    let first = entries.first().map_or(*last_entry_id, |entry| entry.entry_id);
    let numbers = |of: fn(&Entry) -> i64| entries.iter().map(of).collect::<Vec<i64>>();
    // A column of which there is nothing is not sent: what is missing in it is null.
    let times = if entries.iter().all(|entry| entry.created_at == *created_at) {
        Vec::new()
    } else {
        numbers(|entry| entry.created_at.microseconds())
    };
    let mut query = sqlx::query(sql)
        .bind(shard_id(shard))
        .bind(commit_id)
        .bind(i16::from(form.code()))
        .bind(last_entry_id.get())
        .bind(&hash.0[..])
        .bind(created_at.microseconds())
        .bind(writer)
        .bind(first.get() - 1)
        .bind(numbers(|entry| entry.user_id.get()))
        .bind(numbers(|entry| entry.sequence))
        .bind(entries.iter().map(|entry| i16::from(entry.kind.code())).collect::<Vec<i16>>())
        .bind(numbers(|entry| entry.event_id.get()))
        .bind(numbers(|entry| entry.amount.minor()))
        .bind(numbers(|entry| entry.balance_after.minor()))
        .bind(numbers(|entry| entry.previous_entry_id.unwrap_or(EntryId::ZERO).get()))
        .bind(times)
        .bind(sparse(entries, |entry| entry.annotations.round_id.map(RoundId::get)))
        .bind(sparse(entries, |entry| entry.annotations.caller.as_deref()))
        .bind(sparse(entries, |entry| entry.annotations.note.as_deref()));
    let updated_ids = updated.iter().map(|(user_id, _)| user_id.get()).collect::<Vec<i64>>();
    let states = States::new(updated.iter().map(|(_, state)| state));
    query = query.bind(updated_ids).bind(states.balances).bind(states.sequences);
    query = query.bind(states.last_entry_ids).bind(states.frozen);
    if !opened.is_empty() {
        let opened_ids = opened.iter().map(|(user_id, ..)| user_id.get()).collect::<Vec<i64>>();
        let wallet_ids = opened.iter().map(|(_, wallet_id, _)| Uuid::from_bytes(*wallet_id.as_bytes()));
        let created = entries.iter().filter(|entry| entry.wallet_id.is_some());
        let mut created: Vec<(i64, i64)> =
            created.map(|entry| (entry.user_id.get(), entry.created_at.microseconds())).collect();
        created.sort_unstable();
        let states = States::new(opened.iter().map(|(_, _, state)| state));
        query = query.bind(opened_ids).bind(wallet_ids.collect::<Vec<Uuid>>());
        query = query.bind(created.into_iter().map(|(_, time)| time).collect::<Vec<i64>>());
        query = query.bind(states.balances).bind(states.sequences).bind(states.last_entry_ids).bind(states.frozen);
    }
    let row = query.fetch_one(connection).await?;
    Ok(row.try_get::<i64, _>(0)? == 1)
}

/// Writes the rows of commits alone, while the lock on the shard is held.
pub(super) async fn write_commits(
    connection: &mut PgConnection,
    shard: Shard,
    commits: &[Commit],
    writer: i64,
) -> Result<(), sqlx::Error> {
    let numbers = |of: fn(&Commit) -> i64| commits.iter().map(of).collect::<Vec<i64>>();
    let query = sqlx::query(WRITE_COMMITS)
        .bind(shard_id(shard))
        .bind(writer)
        .bind(numbers(|commit| commit.commit_id))
        .bind(commits.iter().map(|commit| i16::from(commit.form.code())).collect::<Vec<i16>>())
        .bind(numbers(|commit| commit.last_entry_id.get()))
        .bind(commits.iter().map(|commit| commit.hash.0.to_vec()).collect::<Vec<_>>())
        .bind(numbers(|commit| commit.created_at.microseconds()));
    query.execute(connection).await.map(drop)
}

/// A column of entries that is mostly null: empty if it is null of all.
fn sparse<'e, T>(entries: &'e [Entry], of: impl Fn(&'e Entry) -> Option<T>) -> Vec<Option<T>> {
    if entries.iter().all(|entry| of(entry).is_none()) { Vec::new() } else { entries.iter().map(of).collect() }
}

/// The columns of wallets.
#[derive(Default)]
struct States {
    balances: Vec<i64>,
    sequences: Vec<i64>,
    last_entry_ids: Vec<i64>,
    frozen: Vec<bool>,
}

impl States {
    fn new<'s>(wallets: impl Iterator<Item = &'s WalletState>) -> Self {
        let mut states = Self::default();
        for WalletState { balance, sequence, last_entry_id, frozen } in wallets {
            states.balances.push(balance.minor());
            states.sequences.push(*sequence);
            states.last_entry_ids.push(last_entry_id.get());
            states.frozen.push(*frozen);
        }
        states
    }
}
