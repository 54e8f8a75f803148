//! What the tests share: the service in this process or as a program, its clients, an oracle and a checker.

pub mod app;
pub mod authority;
pub mod browser;
pub mod client;
pub mod command;
pub mod cutter;
pub mod events;
pub mod explain;
pub mod fact;
pub mod faulty;
pub mod follower;
pub mod health;
pub mod http;
pub mod ledger;
pub mod ledger_file;
pub mod linear;
pub mod optional;
pub mod oracle;
pub mod patroni;
pub mod postgres;
pub mod process;
pub mod script;
pub mod seed;
pub mod store;
pub mod strace;
