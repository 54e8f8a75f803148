//! The two APIs. Each parses bytes into commands, submits them to the engine, and renders the outcome.

mod actor;
pub mod audit;
mod event;
pub mod feed;
mod group;
pub mod grpc;
mod note;
mod opening;
mod page;
pub mod peer;
pub mod reason;
pub mod rest;
mod trace;
