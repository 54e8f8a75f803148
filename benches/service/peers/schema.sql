-- What a charge needs of a ledger. Run by psql with the variables `users` and `opening`.
create table wallet (
    user_id bigint primary key,
    balance bigint not null check (balance >= 0)
);

create table entry (
    entry_id      bigint generated always as identity primary key,
    user_id       bigint not null,
    kind          smallint not null,
    event_id      bigint not null,
    amount        bigint not null,
    balance_after bigint not null,
    created_at    timestamptz not null default now(),
    unique (event_id, user_id, kind)
);

insert into wallet select user_id, :opening from generate_series(0, :users - 1) as user_id;
vacuum analyze wallet;

create function charge(charged bigint, event bigint) returns bigint language plpgsql as $$
declare
    left_over bigint;
begin
    select balance - 1 into left_over from wallet where user_id = charged for update;
    insert into entry (user_id, kind, event_id, amount, balance_after) values (charged, 2, event, 1, left_over);
    update wallet set balance = left_over where user_id = charged;
    return left_over;
end $$;
