//! The two APIs. Each parses bytes into commands, submits them to the engine, and renders the outcome.

pub mod feed;
pub mod grpc;
pub mod reason;
pub mod rest;
mod trace;
