-- The role that the wallet serves with: it has the least rights with which it can.
--
-- The owner of the tables runs this, once `wallet init` has made them as the owner, and again after each new version of
-- the wallet. To run it again does no harm, also while the wallet serves. `-v role=NAME` gives the role another name.
--
--     psql -v ON_ERROR_STOP=1 -f role.sql postgres://wallet_owner@db/ledger
--
-- Whoever may not make roles has an administrator make it first. The role has no password: give it one with
-- `\password wallet_app`.

\set ON_ERROR_STOP on
\if :{?role}
\else
    \set role wallet_app
\endif
select current_database() as database, current_schema() as schema \gset

-- All or nothing, so that a wallet that serves meanwhile is never without its rights.
begin;

select format('create role %I login', :'role') where not exists (select from pg_roles where rolname = :'role') \gexec

-- What it was granted before, by this file or another.
revoke all on setting, shard, account, wallet, entry, ledger_commit, _sqlx_migrations from :"role";
revoke all on schema :"schema" from :"role";
revoke all on database :"database" from :"role";
-- What everybody may do, and the wallet needs not: tables of one's own, temporary ones too.
revoke create on schema :"schema" from public;
revoke create, temporary on database :"database" from public;

grant connect on database :"database" to :"role";
grant usage on schema :"schema" to :"role";

-- It reads everything: the last two say whether the tables are those that this version knows.
grant select on shard, account, wallet, entry, ledger_commit, setting, _sqlx_migrations to :"role";
-- It adds users, entries and commits. That is all it may do with these: history is written once.
grant insert on account, wallet, entry, ledger_commit to :"role";
-- It moves wallets. It can neither remove one nor give it to another user.
grant update (balance, sequence, last_entry_id, frozen) on wallet to :"role";
-- It locks a shard's row, which takes the right to update it. A trigger refuses the update itself.
grant update (shard_id) on shard to :"role";

-- A role may have more rights than it was granted here: as a superuser, as the owner, or by way of another role.
select set_config('wallet.role', :'role', true) as role_to_check \gset
do $$
declare
    role name := current_setting('wallet.role');
begin
    if exists (
            select from unnest(array['setting', 'account', 'entry', 'ledger_commit', '_sqlx_migrations']) as history
            where has_any_column_privilege(role, history, 'update')
        )
        or exists (
            select from unnest(array['setting', 'shard', 'account', 'wallet', 'entry', 'ledger_commit']) as name
            where has_table_privilege(role, name, 'delete, truncate, trigger')
        )
        or has_any_column_privilege(role, 'setting', 'insert')
        or has_schema_privilege(role, current_schema(), 'create')
    then
        raise exception 'the role % has more rights than this file grants', role
            using hint = 'It may be a superuser, the owner, or a member of another role. Take another one.';
    end if;
end $$;

commit;
