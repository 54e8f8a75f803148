//! A PostgreSQL for the tests: one server that they share, with a database for each test, and servers of a test's own.
//!
//! `WALLET_TEST_POSTGRES_URL` is the server to share, as the URL of a superuser: `postgres://user@host:port/postgres`.
//! Without it, the programs on this machine are started; `WALLET_TEST_POSTGRES_BIN` is their folder.

mod database;
mod installation;
mod pair;
mod processes;
mod reaper;
mod server;

pub use database::{Database, URL};
pub use installation::Installation;
pub use pair::Pair;
pub use server::{Server, Stop};
