-- The ledger. Layout decides throughput: a commit must append, not scatter, so entries lie in commit order, a wallet's
-- history is a walk back along previous_entry_id, and events are unique by (event, user, kind), because engines number
-- events upwards. Money is in minor units, times are microseconds since 1970-01-01T00:00:00Z.

-- What was decided when the database was made.
create table setting (
    name  text primary key,
    value text not null
) strict, without rowid;

-- Who there is. What is seldom read stays out of the hot row.
create table user (
    user_id    integer primary key check (user_id >= 0),
    wallet_id  blob    not null unique check (length(wallet_id) = 16),
    created_at integer not null
) strict;

-- Where each wallet stands: the hot row, as narrow as can be.
create table wallet (
    user_id       integer primary key check (user_id >= 0),
    balance       integer not null check (balance between 0 and 9007199254740991),
    sequence      integer not null check (sequence > 0),
    last_entry_id integer not null check (last_entry_id > 0)
) strict;

-- Every movement of money there ever was, in commit order.
create table entry (
    entry_id          integer primary key check (entry_id > 0),
    user_id           integer not null,
    sequence          integer not null check (sequence > 0),
    kind              integer not null check (kind between 1 and 6),
    event_id          integer not null check (event_id >= 0),
    amount            integer not null check (amount >= 0),
    balance_after     integer not null check (balance_after between 0 and 9007199254740991),
    previous_entry_id integer          check (previous_entry_id < entry_id),
    created_at        integer not null,
    unique (event_id, user_id, kind)
) strict;

-- The chain: one row a commit.
create table ledger_commit (
    commit_id     integer primary key check (commit_id > 0),
    last_entry_id integer not null check (last_entry_id > 0),
    hash          blob    not null check (length(hash) = 32),
    created_at    integer not null
) strict;

-- History is written once.
create trigger entry_is_never_updated before update on entry
begin select raise(abort, 'an entry is never updated'); end;

create trigger entry_is_never_deleted before delete on entry
begin select raise(abort, 'an entry is never deleted'); end;

create trigger ledger_commit_is_never_updated before update on ledger_commit
begin select raise(abort, 'a commit is never updated'); end;

create trigger ledger_commit_is_never_deleted before delete on ledger_commit
begin select raise(abort, 'a commit is never deleted'); end;
