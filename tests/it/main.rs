//! The service from outside, in one binary.

mod app;
mod cli;
mod clients;
mod crash;
mod grpc;
mod model;
mod openapi;
mod optional;
mod parity;
mod process;
mod readme;
mod rest;
mod script;
mod store;
mod strace;
mod tidy;
mod tls;
