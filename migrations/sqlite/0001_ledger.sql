-- The ledger. Layout decides throughput: a commit must append, not scatter. So entries lie in commit order, a wallet's
-- history is a walk back along previous_entry_id, and events are unique by (event, user, kind), because engines number
-- events upwards. Money is in minor units, times are microseconds since 1970-01-01T00:00:00Z.

-- What was decided when the database was made.
create table setting (
    name  text primary key,
    value text not null
) strict, without rowid;

-- Users. Columns that are seldom read stay out of the hot row.
create table user (
    user_id    integer primary key check (user_id >= 0),
    wallet_id  blob    not null unique check (length(wallet_id) = 16),
    created_at integer not null
) strict;

-- The state of each wallet: the hot row, as narrow as possible.
create table wallet (
    user_id       integer primary key check (user_id >= 0),
    balance       integer not null check (balance between 0 and 9007199254740991),
    sequence      integer not null check (sequence > 0),
    last_entry_id integer not null check (last_entry_id > 0)
) strict;

-- Every entry, in commit order. SQLite cannot alter a check, so none names the kinds: the program knows them.
create table entry (
    entry_id          integer primary key check (entry_id > 0),
    user_id           integer not null,
    sequence          integer not null check (sequence > 0),
    kind              integer not null check (kind > 0),
    event_id          integer not null check (event_id >= 0),
    amount            integer not null check (amount >= 0),
    balance_after     integer not null check (balance_after between 0 and 9007199254740991),
    previous_entry_id integer          check (previous_entry_id < entry_id),
    created_at        integer not null,
    round_id          integer          check (round_id >= 0),
    caller_id         integer references caller,
    unique (event_id, user_id, kind)
) strict;

-- Who sends commands, by name.
create table caller (
    caller_id integer primary key,
    name      text not null unique
) strict;

-- What operators wrote about entries.
create table entry_note (
    entry_id integer primary key references entry,
    note     text not null
) strict;

-- The chain: one row a commit. `form` is the version of the form in which its entries are hashed.
create table ledger_commit (
    commit_id     integer primary key check (commit_id > 0),
    form          integer not null check (form > 0),
    last_entry_id integer not null check (last_entry_id > 0),
    hash          blob    not null check (length(hash) = 32),
    created_at    integer not null
) strict;

-- History is written once.
create trigger entry_is_never_updated before update on entry
begin select raise(abort, 'an entry is never updated'); end;

create trigger entry_is_never_deleted before delete on entry
begin select raise(abort, 'an entry is never deleted'); end;

create trigger caller_is_never_updated before update on caller
begin select raise(abort, 'a caller is never updated'); end;

create trigger caller_is_never_deleted before delete on caller
begin select raise(abort, 'a caller is never deleted'); end;

create trigger entry_note_is_never_updated before update on entry_note
begin select raise(abort, 'a note is never updated'); end;

create trigger entry_note_is_never_deleted before delete on entry_note
begin select raise(abort, 'a note is never deleted'); end;

create trigger ledger_commit_is_never_updated before update on ledger_commit
begin select raise(abort, 'a commit is never updated'); end;

create trigger ledger_commit_is_never_deleted before delete on ledger_commit
begin select raise(abort, 'a commit is never deleted'); end;
