//! Fail-over for real: the primary of a PostgreSQL cluster dies, stops, vanishes or is switched over under load.

mod books;
mod cluster;
mod fault;
mod load;
mod table;
mod wallets;
mod writers;
