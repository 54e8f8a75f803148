//! What only a ledger on PostgreSQL can meet: several processes that write it, lost connections, a standby.

mod cuts;
mod processes;
mod standby;
