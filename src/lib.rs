//! The ledger that game engines charge and pay into.
//!
//! One ledger core stands behind two doors in one process: the JSON REST API that legacy engines speak, and a typed
//! gRPC service for new ones. Money is exact, moves once however often a command is retried, and is on disk before
//! anyone is told.
//!
//! # The map
//! Imports point down only: `server → api → engine → store → ledger`.
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | every setting, once |
//! | [`telemetry`] | logs |
//! | [`server`] | binds both doors, wires, serves, shuts down |
//! | [`cli::healthcheck`] | asks a running service whether it is up |
//! | [`cli::maintenance`] | verifies, backs up and restores a ledger |
//! | [`api`] | the doors: **parse** bytes into commands, render outcomes |
//! | [`engine`] | group commit: **submit** a command, get its outcome when it is on disk |
//! | [`store`] | SQLite: **transact** a batch, read what was committed |
//! | [`ledger`] | the rules, pure: **decide** |
//!
//! # The life of a charge
//! A door parses bytes into a [`Command`](ledger::Command), so that whatever is malformed or negative ends there. The
//! [`Engine`](engine::Engine) queues it; the queue is bounded, and full means `BUSY`. The engine's one worker thread
//! takes everything that waits and hands it to the store's [`Writer`](store::Writer), which begins one `IMMEDIATE`
//! transaction, lays the wallets and entries that the batch touches into a [`Book`](ledger::Book), lets the book decide
//! each command in order (a later one sees what an earlier one did), writes the new entries, balances and one link of
//! the hash chain, and commits. Only then is each caller answered. So every read and write of a call is in one
//! immediate transaction, one disk flush is shared by all who wait for it, and a caller that hangs up cannot cancel a
//! commit.

pub mod api;
pub mod cli;
pub mod config;
pub mod engine;
pub mod ledger;
pub mod server;
pub mod store;
pub mod telemetry;
