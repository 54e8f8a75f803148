//! All integration tests, in one binary.

mod support;

mod backup;
mod bad_database;
mod cli;
mod clients;
mod crash;
mod disk;
mod displaced;
mod export;
mod faults;
mod grpc;
mod hostile_clients;
mod idle;
mod linearizability;
mod litestream;
mod log;
mod model;
mod openapi;
mod overload;
mod parity;
mod parsers;
mod readme;
mod reconcile;
mod rest;
mod schemathesis;
mod settings;
mod simulation;
mod start;
mod stop;
mod store;
mod tidy;
mod tls;
mod unread;
mod wal;
