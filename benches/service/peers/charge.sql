-- One charge as a transaction of statements. Run by pgbench with the variables `users`, `clients`, `base` (another
-- each time) and `n` = 0; the events rise, as they do for the wallet.
\set user random(0, :users - 1)
\set n :n + 1
\set event :base + :n * :clients + :client_id
begin;
select balance - 1 as balance_after from wallet where user_id = :user for update \gset
insert into entry (user_id, kind, event_id, amount, balance_after) values (:user, 2, :event, 1, :balance_after);
update wallet set balance = :balance_after where user_id = :user;
commit;
