-- Wallets can be frozen. The column is part of the hot row: the rules ask for it with each command.
alter table wallet add column frozen integer not null default 0 check (frozen in (0, 1));

-- The freezings and unfreezings of a user, to tell whether a wallet was frozen at a moment. Entries of other kinds are
-- not in it, and cost nothing. The kinds are those of the program: freeze and unfreeze.
create index entry_freezing on entry (user_id, entry_id) where kind in (8, 9);
