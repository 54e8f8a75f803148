-- One charge as one call of a function on the server. Run by pgbench with the variables of charge.sql.
\set user random(0, :users - 1)
\set n :n + 1
\set event :base + :n * :clients + :client_id
select charge(:user::bigint, :event::bigint);
