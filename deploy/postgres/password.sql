-- Gives the role `wallet_app` the password that the wallets find in their password file: the fifth field of its first
-- line. compose.postgres.yaml runs this behind role.sql.

\set password `head -n 1 "$PGPASSFILE" | cut -d : -f 5`
-- Nothing is done without a password, and the wallets are then refused.
select format('alter role wallet_app password %L', :'password') where :'password' <> '' \gexec
