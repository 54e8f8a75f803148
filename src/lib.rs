//! The ledger that game engines charge and pay into.
//!
//! One ledger core stands behind two APIs in one process: the JSON REST API that legacy engines speak, and a typed
//! gRPC service for new ones. Money is exact, moves once however often a command is retried, and is on disk before
//! anyone is answered.
//!
//! # The map
//! Imports point down only: `cli → server → api → engine → store → ledger`.
//!
//! | module | what it does |
//! |---|---|
//! | [`cli`] | runs each subcommand |
//! | [`server`] | listens for both APIs, serves, shuts down |
//! | [`api`] | **parses** bytes into commands, renders outcomes |
//! | [`engine`] | group commit: **submits** a command, answers when its outcome is on disk |
//! | [`store`] | SQLite, PostgreSQL: **fetches** what a batch must see, **commits** what it did, reads commits |
//! | [`ledger`] | the rules, pure: **decides** |
//! | [`access`] | who may call: tokens, scopes, failed attempts |
//! | [`config`] | every setting, once |
//! | [`telemetry`] | logs |
//!
//! # The life of a charge
//! A handler parses bytes into a [`Command`](ledger::Command); a request that is malformed or negative ends there. It
//! submits the command to the [`Ledger`](engine::Ledger), which puts it into a bounded queue; a full queue answers
//! `BUSY`. The worker thread of the user's shard takes everything that waits and runs it through
//! [`transact`](engine::transact). That begins one [`Transaction`](store::Transaction). It asks the ledger what the
//! batch must see ([`prefetch`](ledger::prefetch)), and the store fetches that. A [`Batch`](ledger::Batch) decides each
//! command in order; a later one sees the effect of an earlier one. The store writes the new entries, the wallets and
//! one link of the hash chain, and commits. Only then is each caller answered. One disk flush serves all who wait for
//! it, and a caller that hangs up cannot cancel a commit.
//!
//! No decision is made on an old state. On SQLite the transaction holds the write lock from its beginning. On
//! PostgreSQL it may have no lock, and then it commits only if nobody else has committed since it began. What the
//! engine's cache remembers is used only if the transaction sees the version of the ledger that the cache is of.

pub mod access;
pub mod api;
pub mod cli;
pub mod config;
pub mod engine;
pub mod ledger;
pub mod server;
pub mod store;
pub mod telemetry;
