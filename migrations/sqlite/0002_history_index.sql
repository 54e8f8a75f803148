-- A sparse index of each wallet's history: every 64th entry of a wallet, by its time. It is derived from the entries,
-- and makes a read of the past as short in a wallet of a million entries as in one of a hundred. A whole index would
-- cost every commit a page for each of its wallets.
create table history_index (
    user_id    integer not null,
    created_at integer not null,
    entry_id   integer not null references entry,
    primary key (user_id, created_at, entry_id)
) strict, without rowid;

insert into history_index (user_id, created_at, entry_id)
select user_id, created_at, entry_id from entry where sequence % 64 = 0 order by user_id, created_at, entry_id;
