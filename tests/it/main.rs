//! The service from outside, in one binary.

mod app;
mod cli;
mod crash;
mod grpc;
mod model;
mod openapi;
mod parity;
mod process;
mod rest;
mod store;
mod tidy;
