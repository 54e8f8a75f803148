//! The service from outside, in one binary.

mod app;
mod cli;
mod clients;
mod crash;
mod disk;
mod faulty;
mod grpc;
mod model;
mod openapi;
mod optional;
mod overload;
mod parity;
mod process;
mod readme;
mod rest;
mod rude;
mod script;
mod step;
mod stop;
mod store;
mod strace;
mod stumble;
mod tidy;
mod tls;
mod unfit;
