//! The doors. Each parses bytes into commands, submits them to the engine, and renders the outcome.

pub mod code;
pub mod grpc;
pub mod rest;
mod trace;
