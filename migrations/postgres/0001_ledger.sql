-- The ledger. Users are spread over shards, each of which is a ledger of its own: its entries are numbered without
-- gaps, and its commits are a chain. `shard_id` leads every key, so that shards can lie on different disks or servers.
-- Layout decides throughput: a commit must append, not scatter. So entries lie in commit order, a wallet's history is a
-- walk back along previous_entry_id, and events are unique by (event, user, kind), because engines number events
-- upwards. Money is in minor units, times are microseconds since 1970-01-01T00:00:00Z.
--
-- The server checks money, keys and what is missing. It compiles each check anew for each statement, so further checks
-- of what batches write would slow them down (docs/performance.md). `wallet verify` makes them.

-- What was decided when the ledger was made.
create table setting (
    name  text primary key,
    value text not null
);

-- One row a shard. It is only ever locked, never updated: it is what writers wait for, and a row that is updated with
-- each commit would slow down as long as anybody reads the ledger in one snapshot.
create table shard (
    shard_id smallint primary key check (shard_id between 0 and 255)
);

-- Users. Columns that are seldom read stay out of the hot row.
create table account (
    shard_id   smallint not null,
    user_id    bigint   not null check (user_id >= 0),
    wallet_id  uuid     not null,
    created_at bigint   not null,
    primary key (shard_id, user_id),
    unique (shard_id, wallet_id)
);

-- The state of each wallet: the hot row, as narrow as possible. Half of each page is left free, so that a new version
-- of a row finds room beside the old one, and no index has to be touched.
create table wallet (
    shard_id      smallint not null,
    user_id       bigint   not null,
    balance       bigint   not null check (balance between 0 and 9007199254740991),
    sequence      bigint   not null,
    last_entry_id bigint   not null,
    frozen        boolean  not null,
    primary key (shard_id, user_id)
) with (fillfactor = 50);

-- Every entry, in commit order. No check names the kinds: the program knows them. Fixed columns come before texts, and
-- wide ones before narrow ones, so that rows have no padding.
create table entry (
    entry_id          bigint   not null,
    user_id           bigint   not null,
    sequence          bigint   not null,
    event_id          bigint   not null,
    amount            bigint   not null check (amount >= 0),
    balance_after     bigint   not null check (balance_after between 0 and 9007199254740991),
    previous_entry_id bigint,
    created_at        bigint   not null,
    round_id          bigint,
    shard_id          smallint not null,
    kind              smallint not null,
    caller            text,
    note              text,
    primary key (shard_id, entry_id),
    unique (shard_id, event_id, user_id, kind)
);

-- A sparse index of each wallet's history: every 64th entry of a wallet, by its time. It makes a read of the past as
-- short in a wallet of a million entries as in one of a hundred. A whole index would cost every commit a page for each
-- of its wallets.
create index entry_history on entry (shard_id, user_id, created_at, entry_id) where sequence % 64 = 0;

-- The freezings and unfreezings of a user, to tell whether a wallet was frozen at a moment. The kinds are those of the
-- program: freeze and unfreeze.
create index entry_freezing on entry (shard_id, user_id, entry_id) where kind in (8, 9);

-- The chain: one row a commit. Its key is the fence: of two writers that believe in the same head, one writes the next
-- number, and the other writes nothing. `form` is the version of the form in which the entries are hashed, `writer` a
-- random number by which whoever wrote it knows it again; that is not hashed.
create table ledger_commit (
    commit_id     bigint   not null,
    last_entry_id bigint   not null,
    created_at    bigint   not null,
    writer        bigint   not null,
    shard_id      smallint not null,
    form          smallint not null,
    hash          bytea    not null,
    primary key (shard_id, commit_id)
);

-- History is written once. The right to update or delete is also withheld from the role that the wallet serves with:
-- see deploy/postgres/role.sql.
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'the table % is written once: its rows are never updated or deleted', tg_table_name;
end $$;

create trigger entry_is_written_once before update or delete or truncate on entry
    for each statement execute function refuse_change();

create trigger ledger_commit_is_written_once before update or delete or truncate on ledger_commit
    for each statement execute function refuse_change();

-- Whoever locks a row must have the right to update it. This takes back what that right gives besides; a lock fires no
-- trigger.
create trigger shard_is_only_locked before update or delete or truncate on shard
    for each statement execute function refuse_change();
