//! Fail-over for real: the primary of a PostgreSQL cluster dies, stops, vanishes or is switched over under load.

mod cluster;
mod fault;
mod wallets;
mod writers;
