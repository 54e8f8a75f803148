//! Stores, below the engine: what every store must do, and what is each one's own.

#[macro_use]
mod contract;
mod postgres;
mod sqlite;
