//! Stores, below the engine: what every store must do, and what is SQLite's own.

#[macro_use]
mod contract;
mod sqlite;
