//! The two APIs. Each parses bytes into commands, submits them to the engine, and renders the outcome.

pub mod feed;
mod group;
pub mod grpc;
mod note;
pub mod reason;
pub mod rest;
mod trace;
