//! wallet.
pub mod api;
pub mod engine;
pub mod ledger;
pub mod store;
